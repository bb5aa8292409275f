"""Conversations to batches: token ids, labels, masks, films.

Order: samples are shuffled, then grouped by length within stretches of many batches, so that batches hold little
padding and the order stays random. It depends on the seed and the epoch alone, never on workers or processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

IGNORE = -100
_STRETCH = 50  # batches that are sorted by length together


@dataclass(frozen=True)
class Sample:
    """One encoded conversation. `labels` is IGNORE where nothing is learnt; `images` in the order of their tokens."""

    id: str
    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    images: tuple[str, ...]


def batch_order(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices of each batch of one epoch; the last batch may be smaller."""
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths)).tolist()
    batches: list[list[int]] = []
    for start in range(0, len(order), batch_size * _STRETCH):
        stretch = sorted(order[start : start + batch_size * _STRETCH], key=lambda index: lengths[index])
        batches += [stretch[first : first + batch_size] for first in range(0, len(stretch), batch_size)]
    return [batches[index] for index in generator.permutation(len(batches)).tolist()]


def collate(
    samples: Sequence[Sample], pad: int, image_of: Callable[[str], torch.Tensor], left: bool = False
) -> dict[str, Any]:
    """B samples to `input_ids`, `attention_mask`, `labels` (B, L) and `pixel_values` (N images, ...), plus `ids`.

    Training pads on the right, generation on the left. Without any image there is no `pixel_values`.
    """
    length = max(len(sample.input_ids) for sample in samples)
    ids = torch.full((len(samples), length), pad, dtype=torch.long)
    labels = torch.full((len(samples), length), IGNORE, dtype=torch.long)
    mask = torch.zeros((len(samples), length), dtype=torch.long)
    for row, sample in enumerate(samples):
        count = len(sample.input_ids)
        place = slice(length - count, length) if left else slice(0, count)
        ids[row, place] = torch.tensor(sample.input_ids)
        mask[row, place] = 1
        if sample.labels:
            labels[row, place] = torch.tensor(sample.labels)
    batch: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    batch["ids"] = [sample.id for sample in samples]
    images = [image_of(image) for sample in samples for image in sample.images]
    if images:
        batch["pixel_values"] = torch.stack(images)
    return batch
