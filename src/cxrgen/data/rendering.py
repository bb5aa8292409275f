"""A DICOM's stored values to 8-bit grey.

The same film looks different by the way its values become grey, and a model trained on one way sees the other badly, so
the way has a name that is recorded: `window` takes the window or lookup table that the film brings, `percentile` the
range of 99 % of the values, `mimic` does what made MIMIC-CXR's JPEGs (whole range, then equalised). What is no single
grey radiograph is refused. Sizes are looked at before anything is unpacked.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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

from cxrgen.data.images import FilmReject, full_scale, too_large

RADIOGRAPHS = frozenset({"CR", "DX", "RG", "OT"})
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_OTHER_THAN_PIXELS = 64 << 20  # bytes that a file may hold beside its pixels
_Array = NDArray[Any]


def render(path: Path, rendering: str, max_pixels: int) -> tuple[NDArray[np.uint8], list[str]]:
    """Grey pixels (H, W) and notes of a DICOM file. `rendering` is window, percentile or mimic. Raises FilmReject."""
    notes: list[str] = []
    try:
        with _quiet():
            allowed = 2 * max_pixels + _OTHER_THAN_PIXELS
            if path.stat().st_size > allowed:
                raise FilmReject("too-large", f"more than {allowed >> 20} MB; raise the limit if the film is real")
            dataset = _dataset(path, allowed)
            _refuse_others(dataset, max_pixels)
            values = _decoded(dataset)
            _note_what_is_unusual(dataset, notes)
            return _RENDERINGS[rendering](values, dataset, notes), notes
    except FilmReject:
        raise
    except InvalidDicomError:
        raise FilmReject("not-an-image", "the name says DICOM, the content does not") from None
    except MemoryError:
        raise FilmReject("too-large", "it does not fit into memory") from None
    except Exception as error:  # damaged files make pydicom and its decoders raise anything
        words = "it ends early or is damaged; export it again"
        raise FilmReject("image-truncated", f"{words} ({type(error).__name__})") from None


def read_tags(path: Path, keywords: Sequence[str]) -> dict[str, str]:
    """Keyword -> text of these tags, as far as they are there; of a sequence the meaning of its first code.

    Pixels are not read. Raises FilmReject for a file that is no DICOM file or is damaged.
    """
    try:
        with _quiet():
            dataset = _dataset(path, _OTHER_THAN_PIXELS, list(keywords))
            return {keyword: _tag_text(dataset, keyword) for keyword in keywords if keyword in dataset}
    except FilmReject:
        raise
    except InvalidDicomError:
        raise FilmReject("not-an-image", "the name says DICOM, the content does not") from None
    except Exception as error:
        raise FilmReject(
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
        raise FilmReject("too-large", f"unpacks to more than {allowed >> 20} MB; raise the limit if the film is real")
    dataset = read_dataset(io.BytesIO(plain), False, True)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    return dataset


def _refuse_others(dataset: pydicom.Dataset, max_pixels: int) -> None:
    modality = str(dataset.get("Modality", "")).strip()
    if modality and modality not in RADIOGRAPHS:
        said = modality if modality.isalnum() and len(modality) <= 4 else "unknown"
        raise FilmReject("not-a-radiograph", f"its modality is {said}; CR, DX, RG and OT are read")
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise FilmReject("float-image", "floating point pixels; export it as integers")
    if not dataset.get("PixelData") or "Rows" not in dataset or "Columns" not in dataset:
        raise FilmReject("no-pixels", "a DICOM without an image, a report or a presentation state perhaps")
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    if rows * columns > max_pixels:
        raise too_large(columns, rows, max_pixels)
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise FilmReject("multi-frame", "it holds several frames; export the one that is the film")
    if int(dataset.get("SamplesPerPixel", 1)) != 1 or dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        raise FilmReject("colour-dicom", "it is in colour, a screen shot perhaps; export the grey film")
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        _refuse_undecodable(syntax)
        frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
        width, height = _coded_size(frame) or (columns, rows)
        if width * height > max_pixels:
            raise too_large(width, height, max_pixels)
        raw = rows * columns * 2
        if syntax == RLELossless and len(frame) > 2 * raw + 4096:  # run lengths unpack to 64 times their size at most
            raise FilmReject("too-large", "more packed bytes than its rows and columns can need")


def _refuse_undecodable(syntax: UID) -> None:
    name = syntax.name if syntax.name != syntax else "an unknown transfer syntax"
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise FilmReject("unknown-syntax", f"{name} is no way a film is stored; export it uncompressed") from None
    if not decoder.is_available:
        package = next((each for start, each in _DECODERS if str(syntax).startswith(start)), "a decoder")
        raise FilmReject("no-decoder", f"{name} needs {package}; pip install 'cxrgen[dicom]'")


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


def _decoded(dataset: pydicom.Dataset) -> _Array:
    values: _Array = dataset.pixel_array
    if values.ndim != 2:
        raise FilmReject("multi-frame", f"its pixels have {values.ndim} dimensions; a film has rows and columns")
    return values


def _note_what_is_unusual(dataset: pydicom.Dataset, notes: list[str]) -> None:
    if str(dataset.get("BurnedInAnnotation", "")).upper() == "YES":
        notes.append("burned-in: the file says that text is part of the picture; it may name the patient")
    if dataset.get("SOPClassUID") == SECONDARY_CAPTURE:
        notes.append("secondary-capture: a picture of a picture; text may be part of it")


# --- the three ways from values to grey ---


def _window(values: _Array, dataset: pydicom.Dataset, notes: list[str]) -> NDArray[np.uint8]:
    """VOI lookup table, else the first window (DICOM PS3.3 C.11.2), else as `percentile`."""
    shown = apply_modality_lut(values, dataset)
    if dataset.get("VOILUTSequence"):
        table = apply_voi(np.rint(shown).astype(np.int32), dataset)
        white = 2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1
        highest = int(table.max())
        return _finished(table / (full_scale(highest) if white > 4 * highest else white), values, dataset)
    centre, width = (_first(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    if centre is None or width is None or width < (1 if function == "LINEAR" else 1e-6):
        notes.append("no-window: the file has none that can be used; percentiles are")
        return _percentile(values, dataset, notes)
    if function == "SIGMOID":
        grey = 1 / (1 + np.exp(-4 * (shown - centre) / width))
    elif function == "LINEAR_EXACT":
        grey = (shown - centre) / width + 0.5
    elif width == 1:
        grey = (shown > centre - 0.5).astype(np.float64)
    else:
        grey = (shown - (centre - 0.5)) / (width - 1) + 0.5
    return _finished(grey, values, dataset)


def _first(value: Any) -> float | None:
    """The first of the values of a window tag, None if it is no number."""
    try:
        number = float(value[0] if isinstance(value, MultiValue) else value)
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) else None


def _percentile(values: _Array, dataset: pydicom.Dataset, notes: list[str]) -> NDArray[np.uint8]:
    """From the 0.5th to the 99.5th percentile of the middle 90 % of rows and columns, without padding."""
    shown = apply_modality_lut(values, dataset)
    rows, columns = shown.shape
    middle = (slice(rows // 20, rows - rows // 20), slice(columns // 20, columns - columns // 20))
    real = shown[middle]
    padding = _padding(values, dataset)
    if padding is not None and not padding[middle].all():
        real = real[~padding[middle]]
    lowest, highest = np.percentile(real, [0.5, 99.5])
    if lowest == highest:
        lowest, highest = shown.min(), max(shown.max(), shown.min() + 1)
    return _finished((shown - lowest) / (highest - lowest), values, dataset)


def _mimic(values: _Array, dataset: pydicom.Dataset, notes: list[str]) -> NDArray[np.uint8]:
    """As MIMIC-CXR's JPEGs were made: stored values from lowest to highest, cut to 8 bits, inverted, equalised."""
    raised = values.astype(np.float64) - values.min()
    grey = (raised / max(raised.max(), 1) * 255).astype(np.uint8)
    return equalised(255 - grey if _is_inverted(dataset) else grey)


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


def _finished(grey: _Array, values: _Array, dataset: pydicom.Dataset) -> NDArray[np.uint8]:
    """Grey in 0..1 to 8 bits, inverted where the file counts from white, padding black."""
    eight_bits: NDArray[np.uint8] = np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)
    if _is_inverted(dataset):
        eight_bits = np.bitwise_not(eight_bits)
    padding = _padding(values, dataset)
    if padding is not None:
        eight_bits[padding] = 0
    return eight_bits


def _is_inverted(dataset: pydicom.Dataset) -> bool:
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        return True
    return str(dataset.get("PresentationLUTShape", "")).upper() == "INVERSE"


def _padding(values: _Array, dataset: pydicom.Dataset) -> NDArray[np.bool_] | None:
    padding = dataset.get("PixelPaddingValue")
    if padding is None:
        return None
    limit = dataset.get("PixelPaddingRangeLimit", padding)
    mask: NDArray[np.bool_] = (values >= min(padding, limit)) & (values <= max(padding, limit))
    return None if mask.all() or not mask.any() else mask


_RENDERINGS: dict[str, Callable[[_Array, pydicom.Dataset, list[str]], NDArray[np.uint8]]] = {
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
