"""Token vectors of report texts kept on disk, so that a test set's references are encoded once and for all.

A store is a folder of safetensors files that are written once and never changed: each run adds one file with what it
had to encode. A text is found by the hash of its token ids; the texts themselves are not stored. Vectors say much about
a text all the same, so the files are readable by their owner only.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cxrgen.core.files import replacing
from cxrgen.core.progress import say

if TYPE_CHECKING:
    import torch

Row = tuple[int, ...]


@dataclass(frozen=True)
class Vectors:
    """The vectors that one encoder, named by `key` (its weights and layer), left in `folder`."""

    folder: Path
    key: str

    def read(self, rows: Sequence[Row]) -> dict[Row, torch.Tensor]:
        """The (T, D) float32 vectors of those of `rows` that are stored; a damaged file is left out and named."""
        from safetensors.torch import load_file

        wanted = {_digest(row): row for row in rows}
        found = {}
        for file in sorted(Path(self.folder).glob(f"{self.key}-*.safetensors")):
            try:
                tensors = load_file(file)
                hashes, ends, vectors = (tensors[name] for name in ("hashes", "ends", "vectors"))
            except Exception as error:  # the library has no common error class for a file that was cut short
                say(f"{file}: damaged ({type(error).__name__}), left out; its texts are encoded again")
                continue
            starts = [0, *ends[:-1].tolist()]
            for digest, start, end in zip(hashes.numpy(), starts, ends.tolist()):
                row = wanted.get(digest.tobytes())
                if row is not None and end - start == len(row):
                    found[row] = vectors[start:end]
        return found

    def write(self, vectors: Mapping[Row, torch.Tensor]) -> None:
        """Add one file with these; nothing is written for none."""
        import torch
        from safetensors.torch import save

        if not vectors:
            return
        digests = [_digest(row) for row in vectors]
        tensors = {
            "hashes": torch.from_numpy(np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 32).copy()),
            "ends": torch.tensor([len(row) for row in vectors]).cumsum(0),
            "vectors": torch.cat(list(vectors.values())),
        }
        name = hashlib.sha256(b"".join(sorted(digests))).hexdigest()[:16]
        with replacing(Path(self.folder) / f"{self.key}-{name}.safetensors") as temporary:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(handle, "wb") as file:
                file.write(save(tensors))


def _digest(row: Row) -> bytes:
    return hashlib.sha256(np.array(row, dtype=np.int64).tobytes()).digest()
