"""Small made-up DICOM images for tests."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

SHAPE = (96, 80)


def values(bits: int = 12) -> np.ndarray:
    """Stored values (96, 80) uint16 that use the whole range of `bits`, dark upper corners."""
    rows, columns = np.mgrid[0 : 1 : SHAPE[0] * 1j, 0 : 1 : SHAPE[1] * 1j]
    smooth = rows * (1 - (2 * columns - 1) ** 2)
    return np.rint(smooth / smooth.max() * (2**bits - 1)).astype(np.uint16)


def image(pixels: np.ndarray | None = None, bits: int = 12, **tags: Any) -> pydicom.Dataset:
    """A DX image of these stored values; further tags by their keyword, None deletes a tag."""
    pixels = values(bits) if pixels is None else pixels
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(tags)])
    dataset.Modality = "DX"
    dataset.PatientID, dataset.PatientName = "HOSPITAL-77", "Doe^Jane"
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for keyword, value in tags.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def saved(dataset: pydicom.Dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def as_bytes(dataset: pydicom.Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
