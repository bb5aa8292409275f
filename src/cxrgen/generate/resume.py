"""Finished reports in `P.csv.partial.jsonl`: what an interrupted run has done is never done again.

The file is a journal: append-only, a line for each report, whole up to its last line feed wherever the run ended. Its
first line is the run's identity, what reports depend on by content: checkpoint, questions, options. A run that differs
in any of it is refused, because half of its reports would be another model's, and so is a line that is not as it was
written. A report whose images have changed since is written again. Each of several processes has its own file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cxrgen.core.errors import InputError
from cxrgen.core.files import make_folder, sha256_file
from cxrgen.core.journal import Journal, Record, read_journal
from cxrgen.core.records import Conversation, Prediction
from cxrgen.core.tables import read_json

Identity = Mapping[str, Any]  # what the reports depend on
_MODEL_FILES = (".safetensors", ".bin", ".json", ".model", ".txt", ".jinja")
_BEGIN_AGAIN = "choose another --answers-file-pred, or give --restart to begin again"


def partial_path(predictions: Path, rank: int) -> Path:
    """The file of process `rank` beside the CSV that is to come."""
    number = f".{rank}" if rank else ""
    return predictions.with_name(f"{predictions.name}.partial{number}.jsonl")


def partial_paths(predictions: Path) -> list[Path]:
    """The partial files that exist, of however many processes."""
    return sorted(predictions.parent.glob(f"{_literal(predictions.name)}.partial*.jsonl"))


def remove_partial(path: Path) -> None:
    """Remove a partial file and its lock."""
    path.unlink(missing_ok=True)
    _lock_path(path).unlink(missing_ok=True)


def checkpoint_digest(folder: Path) -> str:
    """A digest of the contents of a checkpoint's files, and of its base's where it is an adapter.

    Neither times nor places count: a copy of a checkpoint is the same checkpoint.
    """
    from cxrgen.model.locate import ADAPTER_CONFIG, base_of  # brings torch

    digest = sha256()
    base = base_of(folder)
    if base is not None:
        digest.update(checkpoint_digest(base).encode())
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in _MODEL_FILES)

    def content(path: Path) -> str:
        if path.name != ADAPTER_CONFIG:
            return sha256_file(path)
        config = {name: value for name, value in read_json(path).items() if name != "base_model_name_or_path"}
        return sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()

    with ThreadPoolExecutor() as pool:  # shards of many gigabytes at the same time
        for path, state in zip(files, pool.map(content, files)):
            digest.update(f"{path.name}\0{state}\0".encode())
    return digest.hexdigest()[:16]


def images_digest(folder: Path, images: Sequence[str]) -> str:
    """A digest of the contents of a study's image files; a file that cannot be read counts as empty."""
    digest = sha256()
    for name in images:
        path = folder / name
        digest.update((sha256_file(path) if path.is_file() else "").encode() + b"\0")
    return digest.hexdigest()[:16]


def read_finished(
    predictions: Path, identity: Identity, conversations: Sequence[Conversation], folder: Path | None = None
) -> dict[int, Prediction]:
    """Question number to report, from all processes' files.

    With the images' `folder`, reports whose images have changed since are left out. Raises InputError for a file that
    was begun with something else than `identity`, and for one whose lines are not as they were written.
    """
    finished: dict[int, Prediction] = {}
    digest = cache(images_digest)  # samples of a study have the same images
    for path in partial_paths(predictions):
        header, *records = read_journal(path) or [{}]
        if not records:  # no report in it, so nothing that could be another model's
            continue
        _check_identity(path, header, identity)
        for record in records:
            number = _number(path, record, identity, conversations)
            if folder is None or record["images"] == digest(folder, conversations[number].images):
                finished[number] = Prediction(record["study_id"], record["report"], record.get("log_probability"))
    return finished


def _check_identity(path: Path, header: Record, identity: Identity) -> None:
    for key in sorted({*header, *identity}):
        if header.get(key) != identity.get(key):
            raise InputError(
                f"{path}: begun with {key} {header.get(key)!r}, now {identity.get(key)!r}; "
                f"go on as it was begun, {_BEGIN_AGAIN}"
            )


def _number(path: Path, record: Record, identity: Identity, conversations: Sequence[Conversation]) -> int:
    """The question's number. Raises InputError for a line that this run cannot have written."""
    number = record.get("n")
    if isinstance(number, int) and 0 <= number < len(conversations):
        same_id = record.get("study_id") == conversations[number].id
        if same_id and record.get("check") == _check(record, identity):
            return number
    raise InputError(f"{path}: a line is not as it was written; {_BEGIN_AGAIN}")


def _check(record: Mapping[str, Any], identity: Identity) -> str:
    """A checksum over a line and the identity of its run."""
    content = {name: value for name, value in record.items() if name != "check"}
    return sha256(json.dumps([content, dict(identity)], sort_keys=True).encode()).hexdigest()[:16]


class Partial:
    """The file of one process, open for appending; only its owner may read it, and no second run may write it."""

    def __init__(self, path: Path, identity: Identity) -> None:
        self.path, self.identity = path, identity
        make_folder(path.parent)
        self._lock = FileLock(str(_lock_path(path)), mode=0o600)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"{path}: another run is writing it; wait for that one, or end it") from None
        except (OSError, NotImplementedError):  # a file system without locks
            pass
        try:
            if len(read_journal(path)) < 2:  # without a report it begins anew
                path.unlink(missing_ok=True)
            empty = not path.exists()
            self._journal = Journal(path)
            if empty:
                self._journal.add(identity)
        except BaseException:
            self._lock.release()
            raise

    def add(self, number: int, prediction: Prediction, images: str) -> None:
        """One report and the digest of its images. Raises InputError when it cannot be written."""
        record = {"n": number, "study_id": prediction.study_id, "report": prediction.report, "images": images}
        if prediction.log_probability is not None:
            record["log_probability"] = prediction.log_probability
        self._journal.add({**record, "check": _check(record, self.identity)})

    def close(self) -> None:
        self._journal.close()
        self._lock.release()


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _literal(name: str) -> str:
    """For glob: file names may hold brackets."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
