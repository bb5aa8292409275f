"""Reports as they are finished, in `P.csv.partial.jsonl`: what an interrupted run has done is never done again.

The file is only ever appended to, one line a report, so it is whole up to its last line feed wherever the run was
ended. Its first line says what the reports depend on: checkpoint, questions, options. A run that differs in any of it
is refused, because half of its reports would be another model's. Of several processes each has a file of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError
from cxrgen.core.files import sha256_file
from cxrgen.core.records import Prediction
from cxrgen.model.locate import base_of

try:
    import fcntl
except ImportError:  # Windows: two runs on one output are then the user's business
    fcntl = None  # type: ignore[assignment]

Identity = Mapping[str, Any]  # what the reports depend on


def partial_path(predictions: Path, rank: int) -> Path:
    """The file of process `rank` beside the CSV that is to come."""
    number = f".{rank}" if rank else ""
    return predictions.with_name(f"{predictions.name}.partial{number}.jsonl")


def partial_paths(predictions: Path) -> list[Path]:
    """The files that are there, of however many processes."""
    return sorted(predictions.parent.glob(f"{_literal(predictions.name)}.partial*.jsonl"))


def checkpoint_digest(folder: Path) -> str:
    """Of the small files' contents and of the weights' sizes and times: reading 14 GB twice would take minutes.

    Of an adapter, its base counts as well.
    """
    digest = sha256()
    base = base_of(folder)
    if base is not None:
        digest.update(checkpoint_digest(base).encode())
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        if path.suffix == ".json":
            state = sha256_file(path)
        else:
            state = f"{path.stat().st_size} {path.stat().st_mtime_ns}"
        digest.update(f"{path.name}\0{state}\0".encode())
    return digest.hexdigest()[:16]


def read_finished(predictions: Path, identity: Identity) -> dict[int, Prediction]:
    """Question number to report, from all processes' files. A line that was cut off at the end is no report.

    Raises InputError when a file was begun with something else than `identity`.
    """
    finished: dict[int, Prediction] = {}
    for path in partial_paths(predictions):
        lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line feed was cut off
        if len(lines) < 2:  # no report in it, so nothing that could be of another model
            continue
        try:
            begun = json.loads(lines[0])
            records = [json.loads(line) for line in lines[1:]]
            finished.update({int(each["n"]): Prediction(each["study_id"], each["report"]) for each in records})
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path}: damaged; remove it, or give --restart to begin again") from None
        for key in sorted({*begun, *identity}):
            if begun.get(key) != identity.get(key):
                raise InputError(
                    f"{path}: begun with {key} {begun.get(key)!r}, now {identity.get(key)!r}; "
                    "go on as it was begun, choose another --answers-file-pred, or give --restart to begin again"
                )
    return finished


class Partial:
    """The file of one process, open for appending; only its owner may read it, and no second run may write it."""

    def __init__(self, path: Path, identity: Identity) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from None
        self._lock()
        written = path.read_bytes()
        whole = written.rfind(b"\n") + 1 if written.count(b"\n") > 1 else 0  # without a report it begins anew
        if whole < len(written):
            os.ftruncate(self.file, whole)
        if not whole:
            self._append(dict(identity))

    def add(self, number: int, prediction: Prediction) -> None:
        """One report. Raises InputError when it cannot be written, for lack of space, say."""
        self._append({"n": number, "study_id": prediction.study_id, "report": prediction.report})

    def close(self) -> None:
        os.close(self.file)

    def _append(self, record: dict[str, Any]) -> None:
        line = json.dumps(record, ensure_ascii=True).encode() + b"\n"
        try:
            while line:  # a full disk may take a part of it; the rest then fails
                line = line[os.write(self.file, line) :]
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be written ({error.strerror}); what is in it stays: make room and run again"
            ) from None

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self.file)
            raise InputError(f"{self.path}: another run is writing it; wait for that one, or end it") from None
        except OSError:  # a file system without locks
            pass


def _literal(name: str) -> str:
    """For glob: file names may hold brackets."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
