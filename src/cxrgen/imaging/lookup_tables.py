"""DICOM's modality and VOI lookup tables, as devices write them.

The standard knows tables of 8 and 16 bits. Devices write 10 and 12 bits, 8-bit entries in bytes or in words, depths
that do not fit the entries, first values of the other sign, and sequences without content. A table is used when its
entries can be read; otherwise the caller takes the next source of grey.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pydicom
from numpy.typing import NDArray

from cxrgen.imaging.rejects import full_scale
from cxrgen.imaging.tags import items_of, numbers_of, value_of

_LEVELS = 1 << 16


@dataclass(frozen=True)
class LookupTable:
    """Entries (N,) int64; the value `first` maps to the first of them, what lies outside to the nearest."""

    first: int
    entries: NDArray[np.int64]
    bits: int  # of an entry, as the file says

    def of(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The entry of each value, the same shape."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1).astype(np.int64)
        found: NDArray[np.float64] = self.entries[index].astype(np.float64)
        return found

    @property
    def white(self) -> int:
        """The entry that means white: by the depth that the file says, where the entries agree with it."""
        highest = int(self.entries.max())
        said = 2**self.bits - 1 if 1 <= self.bits <= 16 else 0
        return said if highest <= said < 4 * (highest + 1) else full_scale(highest)


def read_tables(
    dataset: pydicom.Dataset, keyword: str, values: NDArray[np.float64], big_endian: bool
) -> list[LookupTable]:
    """The usable tables of a sequence, for values of this range."""
    found = (_table(item, values, big_endian) for item in items_of(dataset, keyword))
    return [table for table in found if table is not None]


def _table(item: pydicom.Dataset, values: NDArray[np.float64], big_endian: bool) -> LookupTable | None:
    descriptor = [int(number) for number in numbers_of(item, "LUTDescriptor")]
    if len(descriptor) != 3:
        return None
    count, first, bits = descriptor
    entries = _entries(item, count % _LEVELS or _LEVELS, bits, big_endian)
    if entries is None or entries.min() == entries.max():
        return None
    return LookupTable(_first(first, len(entries), values), entries, bits)


def _entries(item: pydicom.Dataset, count: int, bits: int, big_endian: bool) -> NDArray[np.int64] | None:
    data = value_of(item, "LUTData")
    if not isinstance(data, bytes):  # already numbers, of one or of two entries
        words = np.array([int(number) % _LEVELS for number in numbers_of(item, "LUTData")], np.uint16)
        data = words.astype("<u2").tobytes()
        big_endian = False
    if len(data) in (2 * count, 2 * count + 1, 2 * count + 2):
        return np.frombuffer(data, ">u2" if big_endian else "<u2", count).astype(np.int64)
    if bits <= 8 and len(data) in (count, count + 1):  # two entries in a word
        packed = np.frombuffer(data, np.uint8)
        if big_endian and len(packed) % 2 == 0:
            packed = packed.reshape(-1, 2)[:, ::-1].ravel()
        return packed[:count].astype(np.int64)
    return None


def _first(first: int, count: int, values: NDArray[np.float64]) -> int:
    """The first value, read with the sign by which the table covers more of the image's values."""
    lowest, highest = float(values.min()), float(values.max())

    def covered(start: int) -> float:
        return min(highest, start + count - 1) - max(lowest, start)

    other = first - _LEVELS if first >= _LEVELS // 2 else first + _LEVELS if first < 0 else first
    return other if covered(other) > covered(first) else first
