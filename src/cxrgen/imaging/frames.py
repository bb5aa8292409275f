"""The stored values of a DICOM's one frame: decoded whole, and only the bits that belong to the picture.

Decoders return pixels for frames that end early and leave what lies in unused bits, an overlay for instance, in the
values; tags claim depths that the values contradict. Here a frame has to hold its end mark and all its rows, and the
bits are those of the picture: by the tags, unless the values show that the tags are wrong, which is noted.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_decoder
from pydicom.uid import (
    UID,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from cxrgen.imaging.jpeg import coded_size, stops_early, with_more
from cxrgen.imaging.rejects import ImageReject, too_large
from cxrgen.imaging.tags import text_of, value_of, whole_of

_DECODERS = (
    ("1.2.840.10008.1.2.4.8", "pyjpegls"),
    ("1.2.840.10008.1.2.4.9", "pylibjpeg-openjpeg"),
    ("1.2.840.10008.1.2.4.20", "pylibjpeg-openjpeg"),
    ("1.2.840.10008.1.2.4", "pylibjpeg-libjpeg"),
)
# Decoders whose way with a frame that ends early is known: an error, or plain grey that `jpeg` looks for.
_PREFERRED = {JPEGBaseline8Bit: "pillow", JPEGLSLossless: "pyjpegls", JPEGLSNearLossless: "pyjpegls"}
# Those that are decoded by a library which fills in rows that it does not find; see `jpeg.with_more`.
_FILLING = {JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1}
_ITEM = b"\xfe\xff\x00\xe0"  # an encapsulated frame begins with it
_NOISE = 0.5  # mean step between neighbours, in standard deviations, from which values are no picture
_Array = NDArray[Any]


@dataclass(frozen=True)
class PixelLayout:
    """How a value stands in its bits: `stored` bits of `allocated`, the highest of them being bit `high`."""

    rows: int
    columns: int
    allocated: int
    stored: int
    high: int
    signed: bool

    @property
    def lowest(self) -> int:
        """The smallest value that the depth can hold."""
        return -(1 << (self.stored - 1)) if self.signed else 0


def read_layout(dataset: pydicom.Dataset) -> PixelLayout:
    """The layout by the tags; what is absent or cannot be follows from the others."""
    rows, columns = whole_of(dataset, "Rows", 0), whole_of(dataset, "Columns", 0)
    data = value_of(dataset, "PixelData") or b""
    allocated = whole_of(dataset, "BitsAllocated", 8 if len(data) <= rows * columns + 1 else 16)
    stored = whole_of(dataset, "BitsStored", allocated)
    stored = stored if 1 <= stored <= allocated else allocated
    high = whole_of(dataset, "HighBit", stored - 1)
    high = high if stored - 1 <= high < allocated else stored - 1
    return PixelLayout(rows, columns, allocated, stored, high, whole_of(dataset, "PixelRepresentation", 0) == 1)


def check_frame(dataset: pydicom.Dataset, layout: PixelLayout, max_pixels: int) -> None:
    """Raise ImageReject for pixel data that cannot be decoded, or that would unpack to more than is allowed."""
    syntax = dataset.file_meta.TransferSyntaxUID
    data = bytes(dataset.PixelData)
    if not syntax.is_encapsulated:
        if data.startswith(_ITEM):
            raise ImageReject("unknown-syntax", "compressed, and its tags say that it is not; export it again")
        needed = layout.rows * layout.columns * layout.allocated // 8
        if len(data) < needed:
            raise ImageReject("image-truncated", f"{len(data)} bytes of pixels, {needed} are needed; export it again")
        return
    _refuse_undecodable(syntax)
    frame = _frame(data)
    width, height = coded_size(frame) or (layout.columns, layout.rows)
    if width * height > max_pixels:
        raise too_large(width, height, max_pixels)
    if (width, height) != (layout.columns, layout.rows):
        said = f"{layout.columns} x {layout.rows}"
        raise ImageReject("size-conflict", f"the tags say {said} pixels, the picture itself {width} x {height}")
    if syntax == RLELossless and len(frame) > 4 * layout.rows * layout.columns + 4096:  # at most 64 times their size
        raise ImageReject("too-large", "more packed bytes than its rows and columns can need")


def _frame(data: bytes) -> bytes:
    try:
        return bytes(next(generate_frames(data, number_of_frames=1)))
    except (StopIteration, ValueError, struct.error):
        raise ImageReject("image-truncated", "its compressed pixels end early; export it again") from None


def _refuse_undecodable(syntax: UID) -> None:
    name = syntax.name if syntax.name != syntax else "an unknown transfer syntax"
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise ImageReject("unknown-syntax", f"{name} is no way an image is stored; export it uncompressed") from None
    if not decoder.is_available:
        package = next((each for start, each in _DECODERS if str(syntax).startswith(start)), "a decoder")
        raise ImageReject("no-decoder", f"{name} needs {package}; pip install 'cxrgen[dicom]'")


def stored_values(dataset: pydicom.Dataset, layout: PixelLayout, notes: list[str]) -> NDArray[np.int32]:
    """The values (H, W) of the frame. Raises ImageReject for pixels that are not all there."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        raw = _decompressed(dataset, layout)
    else:
        raw = _native(dataset, layout, "<" if syntax.is_little_endian else ">")
    return _meant_bits(raw, layout, notes)


def _native(dataset: pydicom.Dataset, layout: PixelLayout, order: str) -> _Array:
    count = layout.rows * layout.columns
    data = bytes(dataset.PixelData)
    if layout.allocated == 8:
        if order == ">" and dataset["PixelData"].VR == "OW" and len(data) % 2 == 0:
            data = np.frombuffer(data, ">u2").astype("<u2").tobytes()
        values: _Array = np.frombuffer(data, np.uint8, count)
    else:
        values = np.frombuffer(data, f"{order}u2", count).astype(np.uint16)
    return values.reshape(layout.rows, layout.columns)


def _decompressed(dataset: pydicom.Dataset, layout: PixelLayout) -> _Array:
    syntax, frame = dataset.file_meta.TransferSyntaxUID, _frame(bytes(dataset.PixelData))
    early = ImageReject("image-truncated", "its compressed pixels end early; export it again")
    if stops_early(frame):
        raise early
    values = _decode(frame, syntax, layout)
    may_be_filled = syntax in _FILLING and (syntax == JPEGExtended12Bit or np.ptp(values[-1]) == 0)
    if stops_early(frame, values) or (may_be_filled and np.any(_decode(with_more(frame), syntax, layout) != values)):
        raise early
    unsigned: _Array = values.view(f"u{values.dtype.itemsize}")
    return unsigned


def _decode(frame: bytes, syntax: UID, layout: PixelLayout) -> _Array:
    decoder, plugin = get_decoder(syntax), _PREFERRED.get(syntax, "")
    values: _Array
    values, _ = decoder.as_array(
        encapsulate([frame]),
        index=0,
        raw=True,
        decoding_plugin=plugin if plugin in decoder.available_plugins else "",
        correct_unused_bits=False,
        rows=layout.rows,
        columns=layout.columns,
        samples_per_pixel=1,
        number_of_frames=1,
        bits_allocated=layout.allocated,
        bits_stored=layout.stored,
        pixel_representation=int(layout.signed),
        photometric_interpretation="MONOCHROME2",
        pixel_keyword="PixelData",
    )
    return values


def _meant_bits(raw: _Array, layout: PixelLayout, notes: list[str]) -> NDArray[np.int32]:
    """The values of unsigned containers (H, W) without the bits that belong to something else."""
    used = int(np.bitwise_or.reduce(raw, axis=None))
    shift = layout.high + 1 - layout.stored
    if shift and used < 1 << layout.stored and used & ((1 << shift) - 1):
        notes.append("high-bit: the tags say that values stand in the upper bits, they stand in the lower")
        shift = 0
    values = raw.astype(np.int32) >> shift
    mask = (1 << layout.stored) - 1
    inside = _with_sign(values & mask, layout.stored, layout.signed)
    if used >> shift <= mask:
        return inside
    whole = _with_sign(values, layout.allocated - shift, layout.signed)
    if not _is_smoother(whole, inside):  # an overlay, or what an earlier image left there
        return inside
    notes.append(f"deeper: values use more bits than the {layout.stored} that the tags say")
    return whole


def _with_sign(values: NDArray[np.int32], bits: int, signed: bool) -> NDArray[np.int32]:
    half = 1 << (bits - 1)
    return (values ^ half) - half if signed else values


def _is_smoother(whole: NDArray[np.int32], inside: NDArray[np.int32]) -> bool:
    """Whether the whole values (H, W) make a picture and those cut to fewer bits do not.

    What is added to or cut off a value makes larger steps between neighbours; where so much is cut off that nothing but
    noise is left, the steps are small and yet as large as the values themselves.
    """
    steps = [float(np.abs(np.diff(values, axis=1)).mean()) for values in (whole, inside)]
    rough = [step / max(1e-9, float(values.std())) for step, values in zip(steps, (whole, inside))]
    return steps[0] < steps[1] or (rough[1] > _NOISE and rough[0] < rough[1] / 2)


def photometric_of(dataset: pydicom.Dataset) -> str:
    """The photometric interpretation in capitals, "" where there is none."""
    return text_of(dataset, "PhotometricInterpretation").upper()
