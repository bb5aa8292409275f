"""Names that flags and checks share; apart from the readers, so that help needs neither numpy nor Pillow."""

from __future__ import annotations

RENDERINGS = ("window", "percentile", "mimic")  # how DICOM values become grey; `imaging.rendering` holds each
DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})  # where nothing in the file says what it is
