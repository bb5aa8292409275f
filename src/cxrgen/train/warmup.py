"""Warm-up of a weak vision encoder on labels, and the projector's start that fits it.

Images in, labels read from the training reports (or the data set's own) out, through a flat head over all tokens of all
views, which is dropped afterwards. Mean pooling would hide small findings and their side, and a language model trained
from the start learns the most frequent sentence long before it uses the image. The labels come from the same reports.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cxrgen.core.errors import InputError
from cxrgen.core.progress import track
from cxrgen.core.records import FRONTAL, LATERAL, Study
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.conversation import Format
from cxrgen.model.features import in_slices, tower_features
from cxrgen.model.pixels import grey_pixels, normalise
from cxrgen.train.config import WarmupConfig

SLOTS = (FRONTAL, LATERAL)  # the head reads one image of each
UNKNOWN_LABEL = -1.0
_SAMPLE = 1000  # images that the projector's initial weights are computed from
_EPSILON = 1e-4  # variance added to every direction, so that noise is not amplified without bound
_RISE = 30  # steps in which the learning rate rises
_WEIGHT_DECAY = 0.02
_SHIFT = 4  # pixels; images are moved by up to this much in each direction


def label_matrix(labels: Sequence[dict[str, int]], smallest_share: float = 0.01) -> tuple[list[str], torch.Tensor]:
    """Names and a float32 matrix (N, L) of 1 present, 0 absent or not mentioned, UNKNOWN_LABEL uncertain.

    Labels that are present in fewer than `smallest_share` of the studies, or in all, are left out.
    """
    present = Counter(name for study in labels for name, value in study.items() if value == 1)
    names = sorted(name for name, count in present.items() if smallest_share * len(labels) <= count < len(labels))
    rows = [
        [UNKNOWN_LABEL if study.get(name) == -1 else float(study.get(name) == 1) for name in names] for study in labels
    ]
    return names, torch.tensor(rows, dtype=torch.float32).reshape(len(labels), len(names))


class FlatHead(nn.Module):
    """Features (B, V, T, C) of V views to label logits (B, L): C -> 32 a token, then all tokens side by side."""

    def __init__(self, views: int, tokens: int, channels: int, labels: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(channels, 32)
        self.out = nn.Linear(views * tokens * 32, labels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.out(torch.relu(self.narrow(features)).flatten(1))
        return logits


def warm_up_tower(
    checkpoint: Checkpoint,
    studies: Sequence[Study],
    labels: Sequence[dict[str, int]],
    folder: Path,
    config: WarmupConfig,
    seed: int,
) -> list[float]:
    """Train the checkpoint's vision encoder in place; returns the loss of each step.

    Each study shows its first frontal and its first lateral; a view that it does not have is all zeros to the head.
    Raises InputError when no label is common enough to learn.
    """
    names, targets = label_matrix(labels)
    if not names:
        raise InputError(
            "--warmup_labels: no label is present in 1 % of the training studies; use --warmup_labels none"
        )
    image_processor = checkpoint.processor.image_processor
    images, view_index = _images(studies, folder, image_processor, checkpoint.format)
    tower = checkpoint.model.model.vision_tower
    first = tower_features(checkpoint.model, normalise(images[:1], image_processor))
    torch.manual_seed(seed)
    head = FlatHead(view_index.shape[1], first.shape[1], first.shape[2], targets.shape[1])
    parameters = [*tower.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=_WEIGHT_DECAY)
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.long)
    history: list[float] = []
    tower.train()
    stage = f"vision encoder on {len(names)} labels"
    note = lambda: f"loss {history[-1]:.3f}"  # noqa: E731
    for step in track(range(config.tower_steps), stage, config.tower_steps, note):
        if len(order) < config.tower_batch_size:
            order = torch.cat([order, torch.randperm(len(studies), generator=generator)])
        rows, order = order[: config.tower_batch_size], order[config.tower_batch_size :]
        for group in optimizer.param_groups:
            group["lr"] = config.tower_learning_rate * _rate_share(step, config.tower_steps)
        chosen = view_index[rows]
        given = chosen >= 0
        pixels = normalise(_shifted(images[chosen[given]], _SHIFT, generator), image_processor)
        features = tower_features(checkpoint.model, pixels)
        by_slot = features.new_zeros(*chosen.shape, *features.shape[1:])
        by_slot[given] = features
        known = targets[rows] != UNKNOWN_LABEL
        loss = nn.functional.binary_cross_entropy_with_logits(head(by_slot)[known], targets[rows][known])
        if not torch.isfinite(loss):
            ids = ", ".join(studies[row].study_id for row in rows[:20].tolist())
            raise InputError(
                f"warm-up step {step + 1}: the loss is {float(loss.detach())}; lower --tower_learning_rate or look at "
                "this step's studies, which --show-values names",
                detail=ids,
            )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        history.append(float(loss.detach()))
    tower.eval()
    whiten_projector_init(checkpoint, _sample_features(checkpoint, images, seed), seed)
    return history


def whiten_projector_init(checkpoint: Checkpoint, features: torch.Tensor, seed: int) -> None:
    """Initialise the projector so that all directions of the covariance of `features` (N, T, C) have equal variance.

    A warmed-up encoder has most variance in a few directions, and small findings in directions of little variance. The
    first layer becomes random directions of the whitened features (Bell and Sejnowski 1997). docs/results.md has the
    runs without it.
    """
    flat = features.flatten(0, 1).double()
    centred = flat - flat.mean(dim=0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(flat))
    whitening = vectors @ torch.diag((values.clamp(min=0) + _EPSILON).rsqrt()) @ vectors.T
    layer = checkpoint.model.model.multi_modal_projector.linear_1
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64) / math.sqrt(flat.shape[1])
    with torch.no_grad():
        layer.weight.copy_(directions @ whitening)
        if layer.bias is not None:
            layer.bias.copy_(-(directions @ whitening) @ flat.mean(dim=0))


def _sample_features(checkpoint: Checkpoint, images: torch.Tensor, seed: int) -> torch.Tensor:
    """The encoder's features of up to a thousand images, drawn by `seed`."""
    chosen = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:_SAMPLE]]
    batches = [chosen[start : start + 64] for start in range(0, len(chosen), 64)]
    with torch.no_grad():
        pixels = (normalise(batch, checkpoint.processor.image_processor) for batch in batches)
        return torch.cat([tower_features(checkpoint.model, each) for each in pixels])


def _rate_share(step: int, steps: int) -> float:
    """Linear rise, then a cosine down to 3 % of the peak."""
    if step < _RISE:
        return (step + 1) / (_RISE + 1)
    progress = (step - _RISE) / max(1, steps - _RISE)
    return 0.515 + 0.485 * math.cos(math.pi * progress)


def _images(
    studies: Sequence[Study], folder: Path, image_processor: Any, format: Format
) -> tuple[torch.Tensor, torch.Tensor]:
    """All first images (F, S, S) uint8 and each study's image per slot (N, 2) int64: frontal, lateral; -1 = none."""
    paths: list[Path] = []
    index = torch.full((len(studies), len(SLOTS)), -1, dtype=torch.long)
    for row, study in enumerate(studies):
        for slot, kind in enumerate(SLOTS):
            path = next((view.path for view in study.views if view.view == kind), None)
            if path is not None:
                index[row, slot] = len(paths)
                paths.append(folder / path)
    slices = list(in_slices(paths, 64))
    images = [grey_pixels(some, image_processor, format) for some in track(slices, "reading images", len(slices))]
    return torch.cat(images), index


def _shifted(images: torch.Tensor, most: int, generator: torch.Generator) -> torch.Tensor:
    """Each image moved by up to `most` pixels, its edge repeated."""
    if most == 0:
        return images
    side = images.shape[-1]
    padded = nn.functional.pad(images[:, None].float(), (most,) * 4, mode="replicate")[:, 0].to(images.dtype)
    corners = torch.randint(0, 2 * most + 1, (len(images), 2), generator=generator).tolist()
    return torch.stack([image[y : y + side, x : x + side] for image, (y, x) in zip(padded, corners)])
