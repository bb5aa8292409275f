"""Packed tar archives that may be built to do harm, read as they stream by: little memory, an end, nothing written.

A few megabytes can unpack to terabytes, and a header can announce a name of gigabytes, which tarfile would read into
memory whole. So what comes out is counted: above a stated size it may be no more than 200 times what went in, which
images, texts and tables never are and blanks are five times over.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from cxrgen.core.errors import InputError

_MAX_RATIO = 200  # times as large as it is packed
_LARGEST_NAME = 1 << 20
_NAMES = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
DAMAGE = (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, ValueError, OverflowError)


class HostileArchive(InputError):
    """An archive that unpacks to far more than it can hold; the message says what it does."""


@contextmanager
def open_archive(packed: IO[bytes], believed: int, most: int) -> Iterator[tarfile.TarFile]:
    """The members of a tar, gzipped or not, in their order, each to be read when it comes.

    From `believed` unpacked bytes on the ratio is looked at; `most` is never passed. Raises HostileArchive for what
    goes beyond, and one of `DAMAGE` for what is no whole archive.
    """
    unpacked = _Unpacked(packed, believed, most)
    with tarfile.open(fileobj=unpacked, mode="r|", tarinfo=_Header) as archive:  # type: ignore[call-overload]
        yield archive


class _Packed:
    """The packed bytes, counted; `start` are the first two, which are given again."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.count = stream, 0
        self.start = self._waiting = stream.read(2)

    def read(self, size: int = -1) -> bytes:
        data, self._waiting = self._waiting or self.stream.read(size), b""
        self.count += len(data)
        return data


class _Unpacked:
    """What the packed bytes hold, counted and limited; browsers unpack a .tgz now and then, so it may be plain."""

    def __init__(self, stream: IO[bytes], believed: int, most: int) -> None:
        packed: Any = _Packed(stream)
        self.packed = packed
        self.unpacked: Any = gzip.GzipFile(fileobj=packed) if packed.start == b"\x1f\x8b" else packed
        self.believed, self.most, self.count = believed, most, 0

    def read(self, size: int) -> bytes:
        data: bytes = self.unpacked.read(size)
        self.count += len(data)
        if self.count > self.most:
            raise HostileArchive(f"larger than {self.most / 1e9:.2g} GB unpacked; the archive is refused")
        if self.count > max(self.believed, _MAX_RATIO * self.packed.count):
            raise HostileArchive(f"unpacks to more than {_MAX_RATIO} times its size; the archive is refused")
        return data


class _Header(tarfile.TarInfo):
    """A header that is refused when it announces a name of absurd length."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        header = super().frombuf(buf, encoding, errors)
        if header.type in _NAMES and header.size > _LARGEST_NAME:
            raise HostileArchive("a member's name is longer than 1 MiB; the archive is refused")
        return header
