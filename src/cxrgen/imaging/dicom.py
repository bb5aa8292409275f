"""A DICOM's stored values to 8-bit grey.

The same image looks different by the way its values become grey, and a model trained on one sees the other badly,
so the way has a name that is recorded: `window` takes the window or lookup table that the image brings, `percentile`
the range of 99 % of the values, `mimic` does what made MIMIC-CXR's JPEGs (whole range, then equalised). What is no
single grey radiograph is refused. Sizes are looked at before anything is unpacked.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.config import disable_value_validation
from pydicom.encaps import generate_frames
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_file_meta_info
from pydicom.multival import MultiValue
from pydicom.pixels import apply_modality_lut, apply_voi, get_decoder
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from cxrgen.imaging.rejects import ImageReject, full_scale, too_large

RADIOGRAPHS = frozenset({"CR", "DX", "RG", "OT"})
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_OTHER_THAN_PIXELS = 64 << 20  # bytes that a file may hold beside its pixels
_Array = NDArray[Any]


def render(path: Path, rendering: str, max_pixels: int) -> tuple[NDArray[np.uint8], list[str], tuple[str, int]]:
    """Grey pixels (H, W), notes and (photometric interpretation, bits stored) of a DICOM file.

    `rendering` is window, percentile or mimic. Raises ImageReject.
    """
    notes: list[str] = []
    try:
        with _quiet():
            allowed = 2 * max_pixels + _OTHER_THAN_PIXELS
            if path.stat().st_size > allowed:
                raise ImageReject("too-large", f"more than {allowed >> 20} MB; raise the limit if the image is real")
            dataset = _dataset(path, allowed)
            _refuse_others(dataset, max_pixels)
            stored = _decoded(dataset)
            _note_what_is_unusual(dataset, notes)
            return _RENDERINGS[rendering](stored, notes), notes, _held(dataset)
    except ImageReject:
        raise
    except InvalidDicomError:
        raise ImageReject("not-an-image", "the name says DICOM, the content does not") from None
    except MemoryError:
        raise ImageReject("too-large", "it does not fit into memory") from None
    except Exception as error:  # damaged files make pydicom and its decoders raise anything
        words = "it ends early or is damaged; export it again"
        raise ImageReject("image-truncated", f"{words} ({type(error).__name__})") from None


def read_tags(path: Path, keywords: Sequence[str]) -> dict[str, str]:
    """Keyword -> text of these tags, as far as they are there; of a sequence the meaning of its first code.

    Pixels are not read. Raises ImageReject for a file that is no DICOM file or is damaged.
    """
    try:
        with _quiet():
            dataset = _dataset(path, _OTHER_THAN_PIXELS, list(keywords))
            return {keyword: _tag_text(dataset, keyword) for keyword in keywords if keyword in dataset}
    except ImageReject:
        raise
    except InvalidDicomError:
        raise ImageReject("not-an-image", "the name says DICOM, the content does not") from None
    except Exception as error:
        raise ImageReject(
            "image-truncated", f"its tags cannot be read; export it again ({type(error).__name__})"
        ) from None


def _tag_text(dataset: pydicom.Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    if isinstance(value, pydicom.Sequence):
        value = value[0].get("CodeMeaning") if len(value) else None
    return "" if value is None else str(value).strip()


@contextmanager
def _quiet() -> Iterator[None]:
    """pydicom warns of odd tags and quotes their values, which may be a patient's: neither warnings nor log lines."""
    with warnings.catch_warnings(), disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def _dataset(path: Path, allowed: int, keywords: list[str] | None = None) -> pydicom.Dataset:
    """The dataset of a file, or these of its tags; a deflated one is unpacked no further than `allowed` bytes."""
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
    if packed.unconsumed_tail:
        raise ImageReject("too-large", f"unpacks to more than {allowed >> 20} MB; raise the limit if the image is real")
    dataset = read_dataset(io.BytesIO(plain), False, True)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    return dataset


def _refuse_others(dataset: pydicom.Dataset, max_pixels: int) -> None:
    modality = str(dataset.get("Modality", "")).strip()
    if modality and modality not in RADIOGRAPHS:
        said = modality if modality.isalnum() and len(modality) <= 4 else "unknown"
        raise ImageReject("not-a-radiograph", f"its modality is {said}; CR, DX, RG and OT are read")
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise ImageReject("float-image", "floating point pixels; export it as integers")
    if not dataset.get("PixelData") or "Rows" not in dataset or "Columns" not in dataset:
        raise ImageReject("no-pixels", "a DICOM without an image, a report or a presentation state perhaps")
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    if rows * columns > max_pixels:
        raise too_large(columns, rows, max_pixels)
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise ImageReject("multi-frame", "it holds several frames; export the one that is the image")
    if int(dataset.get("SamplesPerPixel", 1)) != 1 or dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        raise ImageReject("colour-dicom", "it is in colour, a screen shot perhaps; export the grey image")
    if int(dataset.get("BitsAllocated", 16)) > 16:
        raise ImageReject("integer-range", f"{dataset.BitsAllocated} bits a pixel; images of 8 and 16 bits are read")
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        _refuse_undecodable(syntax)
        frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
        width, height = _coded_size(frame) or (columns, rows)
        if width * height > max_pixels:
            raise too_large(width, height, max_pixels)
        raw = rows * columns * 2
        if syntax == RLELossless and len(frame) > 2 * raw + 4096:  # run lengths unpack to 64 times their size at most
            raise ImageReject("too-large", "more packed bytes than its rows and columns can need")


def _refuse_undecodable(syntax: UID) -> None:
    name = syntax.name if syntax.name != syntax else "an unknown transfer syntax"
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise ImageReject("unknown-syntax", f"{name} is no way an image is stored; export it uncompressed") from None
    if not decoder.is_available:
        package = next((each for start, each in _DECODERS if str(syntax).startswith(start)), "a decoder")
        raise ImageReject("no-decoder", f"{name} needs {package}; pip install 'cxrgen[dicom]'")


def _coded_size(frame: bytes) -> tuple[int, int] | None:
    """(width, height) as a JPEG, JPEG-LS or JPEG 2000 stream itself says, which may be more than the tags say."""
    size = frame.find(b"\xff\x4f\xff\x51", 0, 4096)
    if size >= 0:  # JPEG 2000: extent of the reference grid
        width, height = struct.unpack_from(">II", frame, size + 8)
        return width, height
    place = 2
    while frame[:2] == b"\xff\xd8" and place + 9 <= len(frame) and frame[place] == 0xFF:
        kind, length = frame[place + 1], int.from_bytes(frame[place + 2 : place + 4], "big")
        if kind == 0xF7 or (0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC)):
            height, width = struct.unpack_from(">HH", frame, place + 5)
            return width, height
        place += 1 if kind == 0xFF else 2 + length
    return None


@dataclass(frozen=True)
class _Stored:
    """An image as stored. Every rendering maps a stored value to a grey level, so it is computed once a level."""

    dataset: pydicom.Dataset
    places: NDArray[np.int32]  # (H, W), where in `levels` a pixel's value stands
    levels: _Array  # all values from the lowest to the highest

    def shown(self, table: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Pixels from the grey of each level."""
        pixels: NDArray[np.uint8] = table[self.places]
        return pixels


def _decoded(dataset: pydicom.Dataset) -> _Stored:
    values: _Array = dataset.pixel_array
    if values.ndim != 2:
        raise ImageReject("multi-frame", f"its pixels have {values.ndim} dimensions; an image has rows and columns")
    lowest, highest = int(values.min()), int(values.max())
    return _Stored(dataset, values.astype(np.int32) - lowest, np.arange(lowest, highest + 1, dtype=values.dtype))


def _held(dataset: pydicom.Dataset) -> tuple[str, int]:
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    bits = int(dataset.get("BitsStored") or dataset.get("BitsAllocated") or 16)
    return photometric if photometric in ("MONOCHROME1", "MONOCHROME2") else "DICOM, other", bits


def _note_what_is_unusual(dataset: pydicom.Dataset, notes: list[str]) -> None:
    if str(dataset.get("BurnedInAnnotation", "")).upper() == "YES":
        notes.append("burned-in: the file says that text is part of the picture; it may name the patient")
    if dataset.get("SOPClassUID") == SECONDARY_CAPTURE:
        notes.append("secondary-capture: a picture of a picture; text may be part of it")


# --- the three ways from values to grey ---


def _window(stored: _Stored, notes: list[str]) -> NDArray[np.uint8]:
    """VOI lookup table, else the first window (DICOM PS3.3 C.11.2), else as `percentile`."""
    dataset = stored.dataset
    levels = apply_modality_lut(stored.levels, dataset)
    if dataset.get("VOILUTSequence"):
        entries, first, bits = (int(value) for value in dataset.VOILUTSequence[0].LUTDescriptor)
        highest = int(apply_voi(np.arange(first, first + (entries or 1 << 16)), dataset).max())
        white = 2**bits - 1 if 2**bits <= 4 * (highest + 1) else full_scale(highest)  # some claim 16 bits and have 12
        return _finished(apply_voi(np.rint(levels).astype(np.int32), dataset) / white, stored)
    centre, width = (_first(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    if centre is None or width is None or width < (1 if function == "LINEAR" else 1e-6):
        notes.append("no-window: the file has none that can be used; percentiles are")
        return _percentile(stored, notes)
    if function == "SIGMOID":
        grey = 1 / (1 + np.exp(-4 * (levels - centre) / width))
    elif function == "LINEAR_EXACT":
        grey = (levels - centre) / width + 0.5
    elif width == 1:
        grey = (levels > centre - 0.5).astype(np.float64)
    else:
        grey = (levels - (centre - 0.5)) / (width - 1) + 0.5
    return _finished(grey, stored)


def _first(value: Any) -> float | None:
    """The first of the values of a window tag, None if it is no number."""
    try:
        number = float(value[0] if isinstance(value, MultiValue) else value)
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) else None


def _percentile(stored: _Stored, notes: list[str]) -> NDArray[np.uint8]:
    """From the 0.5th to the 99.5th percentile of the middle 90 % of rows and columns, without padding."""
    levels = apply_modality_lut(stored.levels, stored.dataset).astype(np.float64)
    rows, columns = stored.places.shape
    middle = stored.places[rows // 20 : rows - rows // 20, columns // 20 : columns - columns // 20]
    counts = np.bincount(middle.ravel(), minlength=len(levels))
    padding = _padding(stored)
    if counts[~padding].any():
        counts[padding] = 0
    lowest, highest = (_quantile(levels, counts, share) for share in (0.005, 0.995))
    if lowest == highest:
        lowest, highest = levels.min(), max(levels.max(), levels.min() + 1)
    return _finished((levels - lowest) / (highest - lowest), stored)


def _quantile(levels: NDArray[np.float64], counts: NDArray[np.int64], share: float) -> float:
    """The quantile, as numpy's, of values of which each level occurs `counts` times."""
    order = np.argsort(levels)
    reached = np.cumsum(counts[order])
    place = share * (reached[-1] - 1)
    below, above = levels[order[np.searchsorted(reached, [np.floor(place), np.ceil(place)], side="right")]]
    return float(below + (above - below) * (place - np.floor(place)))


def _mimic(stored: _Stored, notes: list[str]) -> NDArray[np.uint8]:
    """As MIMIC-CXR's JPEGs were made: stored values from lowest to highest, cut to 8 bits, inverted, equalised."""
    raised = np.arange(len(stored.levels), dtype=np.float64)
    grey = (raised / max(raised[-1], 1) * 255).astype(np.uint8)
    return equalised(stored.shown(np.bitwise_not(grey) if _is_inverted(stored.dataset) else grey))


def equalised(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Global histogram equalisation of 8-bit grey, as OpenCV computes it (single precision, halves to even)."""
    counts = np.bincount(pixels.ravel(), minlength=256)
    lowest = int(np.flatnonzero(counts)[0])
    if counts[lowest] == pixels.size:
        return pixels
    scale = np.float32(255) / np.float32(pixels.size - counts[lowest])
    above = np.cumsum(counts) - counts[: lowest + 1].sum()
    table = np.rint(np.maximum(above, 0).astype(np.float32) * scale)
    grey: NDArray[np.uint8] = np.clip(table, 0, 255).astype(np.uint8)[pixels]
    return grey


def _finished(grey: _Array, stored: _Stored) -> NDArray[np.uint8]:
    """Grey in 0..1 of each level to 8-bit pixels, inverted where the file counts from white, padding black."""
    table: NDArray[np.uint8] = np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)
    if _is_inverted(stored.dataset):
        table = np.bitwise_not(table)
    padding = _padding(stored)
    if not padding.all():
        table[padding] = 0
    return stored.shown(table)


def _is_inverted(dataset: pydicom.Dataset) -> bool:
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        return True
    return str(dataset.get("PresentationLUTShape", "")).upper() == "INVERSE"


def _padding(stored: _Stored) -> NDArray[np.bool_]:
    """Which levels are no part of the image."""
    padding = stored.dataset.get("PixelPaddingValue")
    limit = stored.dataset.get("PixelPaddingRangeLimit", padding)
    if padding is None or limit is None:
        return np.zeros(len(stored.levels), np.bool_)
    mask: NDArray[np.bool_] = (stored.levels >= min(padding, limit)) & (stored.levels <= max(padding, limit))
    return mask


_RENDERINGS: dict[str, Callable[[_Stored, list[str]], NDArray[np.uint8]]] = {
    "window": _window,
    "percentile": _percentile,
    "mimic": _mimic,
}
_DECODERS = (
    ("1.2.840.10008.1.2.4.8", "pyjpegls"),
    ("1.2.840.10008.1.2.4.9", "pylibjpeg-openjpeg"),
    ("1.2.840.10008.1.2.4.20", "pylibjpeg-openjpeg"),
    ("1.2.840.10008.1.2.4", "pylibjpeg-libjpeg"),
)
