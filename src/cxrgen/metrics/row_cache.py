"""Rows of counts kept on disk, so that a costly metric computes each pair of reports once and for all.

A store is a folder of files that are written once and never changed; each group of pairs that was computed adds one, so
a run that is stopped goes on where it was. A row is found by the hash of the metric's signature and of the texts: other
weights, another version or another setting is another key. The files hold hashes and numbers, no text; every row ends
with a check, and one that does not agree is computed again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrgen.core.files import replacing
from cxrgen.core.progress import say, track
from cxrgen.metrics import Floats, Option

Item = tuple[str, ...]  # the texts that a row is of: a prediction and its reference, or one text
CACHE = Option(
    "--cache", "cache", "keep here what metrics with weights computed; with text vectors of BERTScore", "DIR"
)
_DIGEST = 32
_CHECK = 8


def kept_rows(
    items: Sequence[Item],
    compute: Callable[[list[Item]], Floats],
    width: int,
    signature: str,
    folder: Path | None = None,
    at_once: int = 256,
) -> Floats:
    """The rows of N items, (N, width), each different one looked up in `folder` or computed, `at_once` at a time.

    `compute` gives the rows (n, width) of n items. `signature` is all that a row depends on besides its texts.
    """
    different = list(dict.fromkeys(items))
    store = _Store(folder, signature, width) if folder is not None else None
    known = store.read(different) if store else {}
    new = [item for item in different if item not in known]
    groups = [new[start : start + at_once] for start in range(0, len(new), at_once)]
    name = signature.partition("|")[0]
    if new:
        say(f"{name}: {len(new)} to compute, {len(known)} kept from before")
    for group in track(groups, f"{name}: groups of {at_once}", len(groups)) if len(groups) > 1 else groups:
        rows = dict(zip(group, compute(group), strict=True))
        known |= rows
        if store:
            store.write(rows)
    return np.array([known[item] for item in items], dtype=np.float64).reshape(len(items), width)


@dataclass(frozen=True)
class _Store:
    """The rows that one metric with one signature left in `folder`."""

    folder: Path
    signature: str
    width: int

    def read(self, items: Sequence[Item]) -> dict[Item, Floats]:
        """The rows of those of `items` that are stored; damaged ones are left out and said."""
        wanted = {self._digest(item): item for item in items}
        size = _DIGEST + 8 * self.width + _CHECK
        found = {}
        for file in sorted(Path(self.folder).glob(f"{self._key()}-*.rows")):
            content = file.read_bytes()
            records = [content[start : start + size] for start in range(0, len(content), size)]
            whole = [record for record in records if _check(record[:-_CHECK]) == record[-_CHECK:]]
            if len(whole) < len(records):
                say(f"{file}: {len(records) - len(whole)} damaged rows left out; they are computed again")
            for record in whole:
                if item := wanted.get(record[:_DIGEST]):
                    found[item] = np.frombuffer(record[_DIGEST:-_CHECK], dtype="<f8")
        return found

    def write(self, rows: Mapping[Item, Floats]) -> None:
        """Add one file with these."""
        bodies = [self._digest(item) + np.asarray(row, dtype="<f8").tobytes() for item, row in rows.items()]
        content = b"".join(body + _check(body) for body in bodies)
        if not Path(self.folder).exists():
            Path(self.folder).mkdir(mode=0o700, parents=True)
        name = hashlib.sha256(content).hexdigest()[:16]
        with replacing(Path(self.folder) / f"{self._key()}-{name}.rows") as temporary:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(handle, "wb") as file:
                file.write(content)

    def _key(self) -> str:
        return hashlib.sha256(f"{self.width}|{self.signature}".encode()).hexdigest()[:16]

    def _digest(self, item: Item) -> bytes:
        lengths = ",".join(str(len(text)) for text in item)
        return hashlib.sha256("\0".join([self.signature, lengths, *item]).encode("utf-8", "surrogatepass")).digest()


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECK]
