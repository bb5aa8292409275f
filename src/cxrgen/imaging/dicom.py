"""A DICOM file to 8-bit grey pixels, or a reject code that names the true cause; and the texts of its tags.

Sizes are looked at before anything is unpacked. What is no single grey radiograph of a chest is refused. A tag that is
odd never costs the image: see `tags`. Reading goes dataset -> `purpose` (what is it for) -> `frames` (stored values) ->
`rendering` (grey).
"""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.config import disable_value_validation
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from cxrgen.imaging.frames import PixelLayout, check_frame, photometric_of, read_layout, stored_values
from cxrgen.imaging.purpose import PURPOSE_TAGS, refusal, remarks
from cxrgen.imaging.rejects import ImageReject, too_large
from cxrgen.imaging.rendering import RENDERINGS, stored_image
from cxrgen.imaging.tags import text_of, value_of, whole_of

_OTHER_THAN_PIXELS = 64 << 20  # bytes that a file may hold beside its pixels


def render(path: Path, rendering: str, max_pixels: int) -> tuple[NDArray[np.uint8], list[str], tuple[str, int]]:
    """Grey pixels (H, W), notes and (photometric interpretation, bits stored) of a DICOM file.

    `rendering` is window, percentile or mimic. Raises ImageReject.
    """
    with _quiet(), _named_faults():
        dataset = _opened(path, 2 * max_pixels + _OTHER_THAN_PIXELS)
        notes = _check_purpose(dataset)
        layout = _check_pixels(dataset, max_pixels)
        values = _decoded(dataset, layout, notes)
        stored = stored_image(dataset, layout, values, notes)
        pixels = RENDERINGS[rendering](stored)
        photometric = photometric_of(dataset)
        mode = photometric if photometric in ("MONOCHROME1", "MONOCHROME2") else "DICOM, other"
        return pixels, notes, (mode, layout.stored)


def read_tags(path: Path, keywords: Sequence[str]) -> dict[str, str]:
    """Keyword -> text of these tags, as far as they are there; see `tags.text_of`.

    Pixels are not read. Raises ImageReject for a file that is no DICOM file or is damaged.
    """
    with _quiet(), _named_faults():
        dataset = _opened(path, _OTHER_THAN_PIXELS, list(keywords))
        return {keyword: text_of(dataset, keyword) for keyword in keywords if keyword in dataset}


@contextmanager
def _named_faults() -> Iterator[None]:
    try:
        yield
    except ImageReject:
        raise
    except InvalidDicomError:
        raise ImageReject("not-an-image", "the name says DICOM, the content does not") from None
    except MemoryError:
        raise ImageReject("too-large", "it does not fit into memory") from None
    except OSError as error:
        raise ImageReject("image-unreadable", f"the system refuses to read it ({type(error).__name__})") from None
    except Exception as error:  # pydicom raises anything on files that are no longer DICOM
        words = "its tags cannot be read; export it again"
        raise ImageReject("dicom-damaged", f"{words} ({type(error).__name__})") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """pydicom warns of odd tags and quotes their values, which may be a patient's: neither warnings nor log lines."""
    with warnings.catch_warnings(), disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def _opened(path: Path, allowed: int, keywords: list[str] | None = None) -> pydicom.Dataset:
    """The dataset of a file, or these of its tags; a deflated one is unpacked no further than `allowed` bytes."""
    if not path.is_file():
        raise ImageReject("not-an-image", "a folder or a device, not a file")
    if keywords is None and path.stat().st_size > allowed:
        raise ImageReject("too-large", f"more than {allowed >> 20} MB; raise the limit if the image is real")
    with open(path, "rb") as file:
        is_marked = file.read(132)[128:] == b"DICM"
    if is_marked:
        meta = read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            return _inflated(path.read_bytes(), meta, allowed)
    dataset = pydicom.dcmread(path, force=True, stop_before_pixels=keywords is not None, specific_tags=keywords)
    if not is_marked and "Rows" not in dataset and "SOPClassUID" not in dataset:
        raise InvalidDicomError
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return dataset


def _inflated(data: bytes, meta: pydicom.dataset.FileMetaDataset, allowed: int) -> pydicom.Dataset:
    """The dataset of a deflated file, unpacked no further than `allowed` bytes."""
    start = 144 + int(meta.FileMetaInformationGroupLength)  # preamble, "DICM" and the element that holds the length
    packed = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = packed.decompress(data[start:], allowed)
    if not packed.eof and not packed.unconsumed_tail:
        raise ImageReject("image-truncated", "its packed part ends early; export it again")
    if packed.unconsumed_tail:
        raise ImageReject("too-large", f"unpacks to more than {allowed >> 20} MB; raise the limit if the image is real")
    dataset = read_dataset(io.BytesIO(plain), False, True)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    return dataset


def _check_purpose(dataset: pydicom.Dataset) -> list[str]:
    """Notes on what the image is for. Raises ImageReject where it is none to be read."""
    tags = {keyword: text_of(dataset, keyword) for keyword in PURPOSE_TAGS}
    refused = refusal(tags)
    if refused:
        raise refused
    burned = text_of(dataset, "BurnedInAnnotation").upper() == "YES"
    words = "burned-in: the file says that text is part of the picture; it may name the patient"
    return [words] * burned + remarks(tags)


def _check_pixels(dataset: pydicom.Dataset, max_pixels: int) -> PixelLayout:
    """The layout of the one grey frame. Raises ImageReject for anything else, before pixels are decoded."""
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise ImageReject("float-image", "floating point pixels; export it as integers")
    layout = read_layout(dataset)
    if not value_of(dataset, "PixelData") or layout.rows < 1 or layout.columns < 1:
        raise ImageReject("no-pixels", "a DICOM without an image, a report or a presentation state perhaps")
    if layout.rows * layout.columns > max_pixels:
        raise too_large(layout.columns, layout.rows, max_pixels)
    if whole_of(dataset, "NumberOfFrames", 1) > 1:
        raise ImageReject("multi-frame", "it holds several frames; export the one that is the image")
    if whole_of(dataset, "SamplesPerPixel", 1) != 1 or photometric_of(dataset) == "PALETTE COLOR":
        raise ImageReject("colour-dicom", "it is in colour, a screen shot perhaps; export the grey image")
    if layout.allocated not in (8, 16):
        words = "black and white only" if layout.allocated == 1 else f"{layout.allocated} bits a pixel"
        raise ImageReject("integer-range", f"{words}; images of 8 and 16 bits are read")
    check_frame(dataset, layout, max_pixels)
    return layout


def _decoded(dataset: pydicom.Dataset, layout: PixelLayout, notes: list[str]) -> NDArray[np.int32]:
    try:
        return stored_values(dataset, layout, notes)
    except (ImageReject, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever they like; the pixels are not to be trusted then
        words = "its pixels end early or are damaged; export it again"
        raise ImageReject("image-truncated", f"{words} ({type(error).__name__})") from None
