"""Files that are either whole or not there: atomic writes, hashes, strict CSV and JSON readers.

Everything is written to a temporary name beside its target and renamed, so a crash or a full disk leaves the old file
as it was. Files that hold report text or images are made readable by their owner only (mode 600).
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from cxrgen.core.errors import InputError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def disk_is_full(error: BaseException) -> bool:
    """Whether a write found no room; safetensors, tokenizers and torch say so in words of their own only."""
    known = isinstance(error, OSError) and error.errno in NO_ROOM
    words = r"os error (27|28|122)\b|No space left|StorageFull|FileTooLarge|PytorchStreamWriter failed|unexpected pos"
    return known or bool(re.search(words, str(error)))


def make_folder(path: Path) -> None:
    """Make a folder and those above it as needed; raises InputError where that, or writing there, cannot be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be made a folder ({error.strerror}); choose another place") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise InputError(f"{path}: nothing can be written there; change its permissions or choose another place")


def is_file(path: Path) -> bool:
    """Whether a regular file is at a path that may be anything: too long, of other bytes, a loop of links, a pipe."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path in `path`'s folder; on leaving without an error it is renamed to `path`."""
    path = Path(path)
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is None and error.errno in NO_ROOM:
            error.filename = str(path)  # a write that fails does not say where
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def private_file(path: Path) -> Iterator[BinaryIO]:
    """A new file of mode 600 that no other process writes, also on another machine; it is renamed to `path` when whole.

    Raises InputError when the disk is full.
    """
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.replace(name, path)
    except OSError as error:
        if not disk_is_full(error):
            raise
        raise InputError(f"{path.parent}: the disk is full; make room") from None
    finally:
        Path(name).unlink(missing_ok=True)


def write_text(path: Path, text: str, private: bool = False) -> None:
    """Write UTF-8 text atomically; `private` (report text, patient data) sets mode 600."""
    opener = _private_opener if private else None
    with replacing(path) as temporary, _opened(temporary, opener) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _opened(path: Path, opener: Callable[[str, int], int] | None) -> TextIO:
    """Halves of surrogate pairs, as names on disk may hold them, become "?"."""
    return open(path, "w", encoding="utf-8", errors="replace", newline="", opener=opener)


def write_json(path: Path, value: Any, private: bool = False) -> None:
    """Write JSON with sorted keys, two spaces of indent and a final newline; the same value gives the same bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", private)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]], private: bool = False) -> None:
    """Write a UTF-8 CSV with one header and Unix line ends."""
    text = io.StringIO(newline="")
    plain = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in (columns, *rows):
        # A lone carriage return ends a row for readers, but the writer does not quote for it.
        (quoted if any("\r" in cell for cell in row) else plain).writerow(row)
    write_text(path, text.getvalue(), private)


def _private_opener(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
