"""What a compressed stream itself says: its size, and whether it holds all of its picture.

Decoders differ on streams that end early: some raise, some fill the rest with plain grey and stay silent. So the end
mark is demanded, parts have to be as long as they say, and a JPEG whose last block is the grey that decoders fill in is
decoded once more with bytes added at its end: where the picture was complete, they change nothing. What a progressive
JPEG lacks is no block but detail everywhere: its scans have to bring every coefficient down to its last bit.
"""

from __future__ import annotations

import io
import re
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_END = b"\xff\xd9"
_JPEG, _JPEG2000 = b"\xff\xd8", b"\xff\x4f\xff\x51"
_NEXT_MARK = re.compile(rb"\xff[^\0\xd0-\xd7\xff]")  # within coded values stand only zeros and restarts
_NOT_COME = 14  # a bit of a coefficient, above all that there are
_FILLED = 128  # the grey of blocks that a JPEG decoder did not find


def coded_size(frame: bytes) -> tuple[int, int] | None:
    """(width, height) as a JPEG, JPEG-LS or JPEG 2000 stream itself says, which may not be what the tags say."""
    size = frame.find(_JPEG2000, 0, 4096)
    if size >= 0 and size + 24 <= len(frame):  # extent and origin of the reference grid
        width, height, left, top = struct.unpack_from(">IIII", frame, size + 8)
        return width - left, height - top
    place = 2
    while frame[:2] == _JPEG and place + 9 <= len(frame) and frame[place] == 0xFF:
        kind, length = frame[place + 1], int.from_bytes(frame[place + 2 : place + 4], "big")
        if kind == 0xF7 or (0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC)):
            height, width = struct.unpack_from(">HH", frame, place + 5)
            return width, height
        place += 1 if kind == 0xFF else 2 + length
    return None


def stops_early(stream: bytes, pixels: NDArray[Any] | None = None) -> bool:
    """Whether a JPEG, JPEG-LS or JPEG 2000 stream lacks its end; with its pixels (H, W), whether it lacks blocks."""
    start = stream.find(_JPEG2000, 0, 4096)
    if start < 0 and not stream.startswith(_JPEG):
        return False
    whole = stream.rstrip(b"\0\xff")
    if not whole.endswith(_END):
        return True
    if start >= 0:
        return _lacks_tiles(whole[start:])
    return pixels is not None and lacks_blocks(whole, pixels)


def looks_filled_in(pixels: NDArray[Any]) -> bool:
    """Whether these pixels are the plain grey of a block that a decoder did not find."""
    return bool((pixels == _FILLED).all())


def lacks_blocks(stream: bytes, pixels: NDArray[Any]) -> bool:
    """Whether a JPEG with these pixels (H, W) ends before its last block, or scan."""
    picture, progressive, lowest = _scans(stream)
    if any(bit for bits in lowest for bit in bits):
        return True
    if not progressive and not looks_filled_in(pixels[_last_block(len(pixels)) :, _last_block(pixels.shape[1]) :]):
        return False
    stream = picture
    try:
        return bool(np.any(_decoded(with_more(stream)) != _decoded(stream)))
    except Exception:  # not a kind that Pillow reads: its own decoder has read it, and demands all blocks
        return False


def _last_block(length: int, block: int = 8) -> int:
    """Where the last block of a side begins."""
    return (length - 1) // block * block


def _scans(stream: bytes) -> tuple[bytes, bool, list[list[int]]]:
    """(The stream up to its end mark, whether it is progressive, each component's lowest bit of each coefficient).

    The last is empty for kinds whose values are no coefficients.
    """
    lowest: dict[int, list[int]] = {}
    progressive, place = False, 2
    while place + 4 <= len(stream) and stream[place] == 0xFF and stream[place + 1] != _END[1]:
        kind = stream[place + 1]
        if kind == 0xFF:  # a filling byte
            place += 1
            continue
        part = stream[place + 4 : place + 2 + int.from_bytes(stream[place + 2 : place + 4], "big")]
        place += 4 + len(part)
        if kind in (0xC0, 0xC1, 0xC2) and len(part) > 5:
            progressive = kind == 0xC2
            lowest = {component: [_NOT_COME] * 64 for component in part[6 : 6 + 3 * part[5] : 3]}
        elif kind == 0xDA and part and len(part) >= 4 + 2 * part[0]:
            first, last, bits = part[1 + 2 * part[0] : 4 + 2 * part[0]]
            for component in part[1 : 1 + 2 * part[0] : 2]:
                lowest.get(component, [])[first : last + 1] = [bits & 15] * (last + 1 - first)
            mark = _NEXT_MARK.search(stream, place)
            place = mark.start() if mark else len(stream)
    return stream[:place] + _END, progressive, [bits[:64] for bits in lowest.values()]


def with_more(stream: bytes) -> bytes:
    """The JPEG with bytes before its end mark: nothing where the picture is whole, picture where it ends early."""
    end = stream.rfind(_END)
    return stream[:end] + b"\x55" * 64 + _END


def _lacks_tiles(stream: bytes) -> bool:
    """Whether the tile-parts of a JPEG 2000 stream are not as long as their headers say."""
    place = 2
    while stream[place : place + 2] not in (b"\xff\x90", _END, b""):  # the main header
        place += 2 + int.from_bytes(stream[place + 2 : place + 4], "big")
    while stream[place : place + 2] == b"\xff\x90":
        length = int.from_bytes(stream[place + 6 : place + 10], "big")
        if length == 0:  # up to the end
            return False
        place += max(length, 12)
    return stream[place:] != _END


def _decoded(stream: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(stream), formats=("JPEG",)) as image:
        return np.asarray(image.convert("L"))
