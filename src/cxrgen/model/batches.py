"""Conversations to batches: token ids, labels, masks, images.

Order: samples are shuffled, then grouped by length within stretches of many batches, so that batches hold little
padding and the order stays random. It depends on the seed and the epoch alone, never on workers or processes.
Packing puts the samples of a batch behind each other in one row without any padding. Each sees itself only, by an
explicit 4-D block mask, or under flash attention by positions that start anew, which its kernels for rows of several
lengths read: the mask grows with the square of the row, and only kernels without one gain from packing on a GPU.

Shapes: B samples, L tokens of the longest (padded) or of all together (packed), N images.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from cxrgen.core.records import Turn

IGNORE = -100
_A_TOKEN = (
    "input_ids",
    "attention_mask",
    "labels",
    "weights",
)  # inputs with a value a token, beside those named ..._type_ids
BUCKET_BATCHES = 50  # batches whose samples are sorted by length together


@dataclass(frozen=True, slots=True)
class Sample:
    """One encoded conversation. `labels` is IGNORE where nothing is learnt; `images` in the order of their tokens.

    Half a million of them are held at once, so the numbers come as `array("i")`, four bytes each.
    """

    id: str
    input_ids: Sequence[int]
    labels: Sequence[int]
    images: tuple[str, ...]
    turns: tuple[Turn, ...] = ()  # where the model's own processor makes the batches
    weights: Sequence[float] = ()  # of the tokens in the loss, where they differ


def without_loss(sample: Sample) -> Sample:
    """The same sample without labels: what a process computes that has no sample of its own in a step."""
    return replace(sample, labels=(IGNORE,) * len(sample.labels))


def batch_order(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices of each batch of one epoch; the last batch may be smaller."""
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths)).tolist()
    batches: list[list[int]] = []
    for start in range(0, len(order), batch_size * BUCKET_BATCHES):
        stretch = sorted(order[start : start + batch_size * BUCKET_BATCHES], key=lambda index: lengths[index])
        batches += [stretch[first : first + batch_size] for first in range(0, len(stretch), batch_size)]
    return [batches[index] for index in generator.permutation(len(batches)).tolist()]


def collate(
    samples: Sequence[Sample], pad: int, image_of: Callable[[str], torch.Tensor], left: bool = False
) -> dict[str, Any]:
    """B samples to `input_ids`, `attention_mask`, `labels` (B, L) and `pixel_values` (N images, ...), plus `ids`.

    Training pads on the right, generation on the left. Without any image there is no `pixel_values`.
    """
    length = max(len(sample.input_ids) for sample in samples)
    ids = torch.full((len(samples), length), pad, dtype=torch.long)  # (B, L)
    labels = torch.full((len(samples), length), IGNORE, dtype=torch.long)  # (B, L)
    mask = torch.zeros((len(samples), length), dtype=torch.long)  # (B, L)
    for row, sample in enumerate(samples):
        count = len(sample.input_ids)
        columns = slice(length - count, length) if left else slice(0, count)
        ids[row, columns] = torch.tensor(sample.input_ids)
        mask[row, columns] = 1
        if sample.labels:
            labels[row, columns] = torch.tensor(sample.labels)
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    if samples[0].weights:
        batch["weights"] = torch.zeros((len(samples), length))  # (B, L)
        for row, sample in enumerate(samples):
            batch["weights"][row, : len(sample.weights)] = torch.tensor(sample.weights)
    return _with_images(samples, image_of, batch)


def pack(
    samples: Sequence[Sample], pad: int, image_of: Callable[[str], torch.Tensor], masked: bool = True
) -> dict[str, Any]:
    """B samples in one row of their total length L: `input_ids`, `labels`, `position_ids` (1, L), and a mask.

    `attention_mask` is bool (1, 1, L, L): True where a position may look, which is at its own sample up to itself. It
    is left out unless `masked`.
    There is nothing to fill with `pad`; it is taken so that packing and padding can stand for each other.
    """
    lengths = [len(sample.input_ids) for sample in samples]
    batch = {
        "input_ids": torch.tensor([[token for sample in samples for token in sample.input_ids]]),
        "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
        # Nothing before a sample predicts its first token.
        "labels": torch.tensor([[label for each in samples for label in (IGNORE, *each.labels[1:])]]),
    }
    if masked:
        sample_of = torch.repeat_interleave(torch.arange(len(samples)), torch.tensor(lengths))  # (L,)
        batch["attention_mask"] = (sample_of[:, None] == sample_of[None, :]).tril()[None, None]
    if samples[0].weights:
        batch["weights"] = torch.tensor([[weight for each in samples for weight in each.weights]])
    return _with_images(samples, image_of, batch)


def merge_inputs(rows: Sequence[Mapping[str, torch.Tensor]], pad: int, left: bool = False) -> dict[str, torch.Tensor]:
    """Inputs of single samples, as processors give them, as one batch.

    What has a value a token (B, L) is padded to the longest. All else (pixels, grids, sizes: one row an image, a patch
    or a sample) stands one behind the other; where rows differ in shape, such as numbers of crops, they are filled up
    with zeros, which these classes read as nothing.
    """
    length = max(row["input_ids"].shape[1] for row in rows)
    batch = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row[name] for row in rows if name in row]
        if name in _A_TOKEN or name.endswith("type_ids"):
            filling = {"input_ids": pad, "labels": IGNORE}.get(name, 0)
            batch[name] = torch.cat([_padded(value, length, filling, left) for value in values])
        else:
            widest = [max(sizes) for sizes in zip(*(value.shape[1:] for value in values))]
            batch[name] = torch.cat([_filled_up(value, widest) for value in values])
    return batch


def answer_ids(answer: Sequence[int], special: Collection[int], pad: int) -> tuple[list[int], list[int]]:
    """Input ids and labels of an answer as a model wrote it, up to its first special token.

    That token is learnt and never an input: it may be one that stands for an image, and behind it nothing is learnt.
    """
    end = next((place + 1 for place, token in enumerate(answer) if token in special), len(answer))
    labels = list(answer[:end])
    return [pad if token in special else token for token in labels], labels


def with_answer(inputs: Mapping[str, torch.Tensor], answer: Sequence[int]) -> dict[str, torch.Tensor]:
    """Inputs of one prompt, as a processor gives them, with the tokens of an answer behind it."""
    tokens = torch.tensor([list(answer)], dtype=torch.long)  # (1, A)
    follows = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    return {
        name: torch.cat([value, follows.get(name, torch.zeros_like(tokens)).to(value.dtype)], dim=1)
        if name in _A_TOKEN or name.endswith("type_ids")
        else value
        for name, value in inputs.items()
    }


def _padded(value: torch.Tensor, length: int, filling: int, left: bool) -> torch.Tensor:
    missing = length - value.shape[1]
    return torch.nn.functional.pad(value, (missing, 0) if left else (0, missing), value=filling)


def _filled_up(value: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    missing = [want - has for want, has in zip(shape, value.shape[1:])]
    return torch.nn.functional.pad(value, [n for count in reversed(missing) for n in (0, count)])


def _with_images(
    samples: Sequence[Sample], image_of: Callable[[str], torch.Tensor], batch: dict[str, Any]
) -> dict[str, Any]:
    batch["ids"] = [sample.id for sample in samples]
    images = [image_of(image) for sample in samples for image in sample.images]
    if images:
        batch["pixel_values"] = torch.stack(images)
    return batch
