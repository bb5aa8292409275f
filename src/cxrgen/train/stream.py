"""The order of samples, and their batches with films.

Order: a step's samples depend on the seed, the epoch and the global batch size alone, never on workers, processes or
how a step is cut into micro-batches. So one process and eight see the same steps, and a resumed run goes on from a step
number without any loader state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from cxrgen.errors import InputError
from cxrgen.model.batches import Sample, batch_order, collate, empty, pack

ImageOf = Callable[[str], torch.Tensor]


@dataclass(frozen=True)
class Order:
    """How a run walks through its samples; a step is `accumulation` micro-batches on each of `count` processes."""

    global_batch: int
    accumulation: int = 1
    seed: int = 0
    view_dropout: float = 0.0


def steps_in_epoch(samples: int, order: Order) -> int:
    return -(-samples // order.global_batch)


def micro_batches(
    samples: Sequence[Sequence[Sample]], order: Order, rank: int = 0, count: int = 1, first_step: int = 0
) -> Iterator[list[Sample]]:
    """One process's micro-batches for ever, epoch after epoch, from `first_step` on.

    `samples[i]` are the variants of item i: the first as asked for, the last shown under view dropout. The last step of
    an epoch may be smaller and is cut evenly; a piece without samples becomes one that teaches nothing.
    """
    epoch, skipped = divmod(first_step, steps_in_epoch(len(samples), order))
    parts = order.accumulation * count
    while True:
        generator = np.random.default_rng([order.seed, epoch, 1])
        fewer = generator.random(len(samples)) < order.view_dropout
        shown = [variants[-1] if drop else variants[0] for variants, drop in zip(samples, fewer)]
        lengths = [len(sample.input_ids) for sample in shown]
        for step in batch_order(lengths, order.global_batch, order.seed, epoch)[skipped:]:
            pieces = np.array_split(np.array(step), parts)
            for piece in pieces[rank::count]:
                yield [shown[index] for index in piece] or [empty(shown[step[0]])]
        epoch, skipped = epoch + 1, 0


class _Films(Dataset[Any]):
    """Micro-batches to batches; a film that cannot be read comes back as the error, which crosses processes whole."""

    def __init__(self, pad: int, image_of: ImageOf, packing: bool) -> None:
        self.pad, self.image_of, self.packing = pad, image_of, packing

    def __getitems__(self, samples: list[Sample]) -> Any:
        try:
            return (pack if self.packing else collate)(samples, self.pad, self.image_of)
        except InputError as error:
            return error


def with_films(
    micro: Iterable[list[Sample]], pad: int, image_of: ImageOf, packing: bool = False, workers: int = 0
) -> Iterator[dict[str, Any]]:
    """Batches as the model takes them, in order, read ahead by `workers` processes. Raises InputError for a film."""
    loader = DataLoader(
        _Films(pad, image_of, packing),
        batch_sampler=micro,
        num_workers=workers,
        collate_fn=lambda batch: batch,
        generator=torch.Generator(),  # torch's own random state must not depend on when a loader starts
        multiprocessing_context="fork" if workers else None,
    )
    for batch in loader:
        if isinstance(batch, InputError):
            raise batch
        yield batch
