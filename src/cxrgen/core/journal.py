"""Append-only files of JSON lines: what a run has done survives its crash, and the next run goes on from it.

A line is one JSON object and ends with a line feed; what follows the last line feed was cut off by a crash and is no
line. Readers ignore it, and opening the file for appending cuts it off. Each line goes to the system in one write, so
a process that is killed leaves whole lines. What the lines mean, a header say, is the caller's; a file that changes as
a whole (sorted, cut back to a checkpoint) is replaced by `write_journal`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from cxrgen.core.errors import InputError
from cxrgen.core.files import replacing

Record = dict[str, Any]


def read_journal(path: Path) -> list[Record]:
    """The whole lines of a journal, none where there is no file. Raises InputError naming a damaged line."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    return [_record(line, path, number) for number, line in enumerate(lines, 1) if line.strip()]


def write_journal(path: Path, records: Iterable[Mapping[str, Any]], private: bool = True) -> None:
    """Replace a journal as a whole, atomically; `private` sets mode 600."""
    with replacing(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if private else 0o666)
        with open(descriptor, "wb") as file:
            for record in records:
                file.write(_line(record))
            file.flush()
            os.fsync(file.fileno())


class Journal:
    """A journal open for appending; a context manager. `private` makes a new file readable by its owner only."""

    def __init__(self, path: Path, private: bool = True) -> None:
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600 if private else 0o666)
            written = path.read_bytes()
            whole = written.rfind(b"\n") + 1
            if whole < len(written):
                os.ftruncate(self._file, whole)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from None

    def add(self, record: Mapping[str, Any]) -> None:
        """Append one line. Raises InputError where it cannot be written; the lines before it stay."""
        line = _line(record)
        try:
            while line:  # a full disk may take a part of it; the rest then fails
                line = line[os.write(self._file, line) :]
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be written ({error.strerror}); what is in it stays: make room and run again"
            ) from None

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record).encode("ascii") + b"\n"


def _record(line: bytes, path: Path, number: int) -> Record:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise InputError(f"{path}:{number}: damaged; remove the file to begin again")
    return record
