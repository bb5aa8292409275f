"""8-bit grey PNG files without compression, written byte by byte.

Libraries compress differently from version to version and platform to platform; stored, the same image is the same file
everywhere, takes no time to pack, and its size tells nothing of what it shows.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_LARGEST_BLOCK = 65_535  # of stored deflate data


def png_bytes(image: NDArray[np.uint8], promised: tuple[int, int] | None = None) -> bytes:
    """The file of an image, (height, width) uint8; its header may promise another (height, width)."""
    height, width = image.shape
    rows = np.zeros((height, width + 1), dtype=np.uint8)  # a zero before each row: no filter
    rows[:, 1:] = image
    data = rows.tobytes()
    stream = [b"\x78\x01"]
    for start in range(0, len(data), _LARGEST_BLOCK):
        block = data[start : start + _LARGEST_BLOCK]
        last = start + len(block) == len(data)
        stream += [struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block]
    stream.append(struct.pack(">I", zlib.adler32(data)))
    said_height, said_width = promised or image.shape
    header = struct.pack(">IIBBBBB", said_width, said_height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", b"".join(stream)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
