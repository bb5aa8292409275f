"""Warm-up of a weak vision encoder on labels, and the projector's start that fits it.

Images in, labels read from the training reports (or the data sets' own) out, through a flat head over all tokens of all
views, which is dropped afterwards. Mean pooling would hide small findings and their side, and a language model trained
from the start learns the most frequent sentence long before it uses the image. The labels come from the same reports,
or from sets of labels alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cxrgen.core.errors import InputError
from cxrgen.core.folders import new_folder
from cxrgen.core.progress import track
from cxrgen.core.records import FRONTAL, LATERAL
from cxrgen.evaluate.label_scores import LabelScore, label_scores
from cxrgen.model.checkpoint import Checkpoint, quiet
from cxrgen.model.conversation import Format
from cxrgen.model.features import in_slices, tower_features
from cxrgen.model.pixels import grey_pixels, normalise
from cxrgen.train.augment import augmented, check_mirror
from cxrgen.train.config import WarmupConfig
from cxrgen.train.label_probe import solved_head
from cxrgen.train.label_sets import UNKNOWN_LABEL, LabelSet, label_matrix, matrix_of

VISION_TOWER = "vision_tower"  # folder of the encoder in a run's folder, as --vision_tower takes it
SLOTS = (FRONTAL, LATERAL)  # the head reads one image of each
_SAMPLE = 1000  # images that the projector's initial weights are computed from
_EPSILON = 1e-4  # variance added to every direction, so that noise is not amplified without bound
_RISE = 30  # steps in which the learning rate rises
_AT_ONCE = 64  # images in a forward pass that learns nothing


@dataclass(frozen=True)
class WarmUp:
    """What a warm-up of the encoder leaves besides its weights: (loss, learning rate) of each step, labels and head."""

    curve: list[tuple[float, float]]
    labels: list[str]
    shares: list[float]  # of the studies whose label is known, those that have it
    head: nn.Module


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
    checkpoint: Checkpoint, sets: Sequence[LabelSet], config: WarmupConfig, seed: int, bf16: bool = False
) -> WarmUp:
    """Train the checkpoint's vision encoder in place.

    Each study shows its first frontal and its first lateral; a view that it does not have is all zeros to the head.
    `bf16` computes encoder and head in bfloat16 by autocast; weights, gradients and loss stay in float32.
    Raises InputError when no label is common enough to learn.
    """
    names, targets = _common_labels(sets)
    check_mirror(config.tower_augment, names)
    studies = [study.study_id for each in sets for study in each.studies]
    image_processor, device = checkpoint.processor.image_processor, checkpoint.model.device
    images, view_index = _images(sets, image_processor, checkpoint.format)
    tower = checkpoint.model.model.vision_tower
    first = tower_features(checkpoint.model, normalise(images[:1], image_processor).to(device))
    torch.manual_seed(seed)
    head = FlatHead(view_index.shape[1], first.shape[1], first.shape[2], targets.shape[1]).to(device)
    parameters = [*tower.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=config.tower_weight_decay, fused=True)
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.long)
    curve: list[tuple[float, float]] = []
    tower.train()
    stage = f"vision encoder on {len(names)} labels"
    note = lambda: f"loss {curve[-1][0]:.3f}"  # noqa: E731
    for step in track(range(config.tower_steps), stage, config.tower_steps, note):
        if len(order) < config.tower_batch_size:
            order = torch.cat([order, torch.randperm(len(studies), generator=generator)])
        rows, order = order[: config.tower_batch_size], order[config.tower_batch_size :]
        rate = config.tower_learning_rate * _rate_share(step, config.tower_steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        chosen = view_index[rows]
        shown = augmented(images[chosen[chosen >= 0]], config.tower_augment, generator)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = head(_by_slot(checkpoint, normalise(shown, image_processor), chosen)).float()
        wanted = targets[rows].to(device)
        known = wanted != UNKNOWN_LABEL
        loss = nn.functional.binary_cross_entropy_with_logits(logits[known], wanted[known])
        if not known.any():  # nothing is known of these studies: nothing is learnt from them
            loss = 0.0 * logits.sum()
        if not torch.isfinite(loss):
            raise InputError(
                f"warm-up step {step + 1}: the loss is {float(loss.detach())}; lower --tower_learning_rate or look at "
                "this step's studies, which --show-values names",
                detail=", ".join(studies[row] for row in rows[:20].tolist()),
            )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        curve.append((float(loss.detach()), rate))
    tower.eval()
    whiten_projector_init(checkpoint, _sample_features(checkpoint, images, seed), seed)
    return WarmUp(curve, names, _shares(targets), head)


def probe_tower(checkpoint: Checkpoint, sets: Sequence[LabelSet], seed: int) -> WarmUp:
    """A head for the checkpoint's vision encoder, which stays as it is. Raises InputError as `warm_up_tower` does."""
    names, targets = _common_labels(sets)
    checkpoint.model.model.vision_tower.eval()
    images, view_index = _images(sets, checkpoint.processor.image_processor, checkpoint.format)
    with torch.no_grad():
        slices = torch.split(view_index, _AT_ONCE)
        shown = track(slices, "vision features", len(slices))
        features = torch.cat([_features_of(checkpoint, images, chosen).cpu() for chosen in shown])
    head = solved_head(features, targets).to(checkpoint.model.device)
    whiten_projector_init(checkpoint, _sample(features[view_index >= 0], seed), seed)
    return WarmUp([], names, _shares(targets), head)


def _common_labels(sets: Sequence[LabelSet]) -> tuple[list[str], torch.Tensor]:
    names, targets = label_matrix(sets)
    if not names:
        raise InputError(
            "--warmup_labels: no label is present in 1 % of the training studies; use --warmup_labels none"
        )
    return names, targets


def _shares(targets: torch.Tensor) -> list[float]:
    """Of the studies whose label is known, those that have it."""
    shares: list[float] = ((targets == 1).sum(0) / (targets != UNKNOWN_LABEL).sum(0)).tolist()
    return shares


def _features_of(checkpoint: Checkpoint, images: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Features (B, V, T, C) of the rows `chosen` (B, V) of `images`."""
    pixels = normalise(images[chosen[chosen >= 0]], checkpoint.processor.image_processor)
    return _by_slot(checkpoint, pixels, chosen)


def _by_slot(checkpoint: Checkpoint, pixels: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Features (B, V, T, C) of the images that `chosen` (B, V) has, in its order; zeros where it is -1."""
    features = tower_features(checkpoint.model, pixels.to(checkpoint.model.device))
    by_slot = features.new_zeros(*chosen.shape, *features.shape[1:])
    by_slot[chosen >= 0] = features
    return by_slot


def score_labels(checkpoint: Checkpoint, warm: WarmUp, sets: Sequence[LabelSet]) -> list[LabelScore]:
    """How well the warmed-up encoder and its head know the labels of other studies."""
    studies = [study for each in sets for study in each.studies]
    if not studies:
        return []
    images, view_index = _images(sets, checkpoint.processor.image_processor, checkpoint.format)
    logits = []
    with torch.no_grad():
        for chosen in torch.split(view_index, _AT_ONCE):
            logits.append(warm.head(_features_of(checkpoint, images, chosen)).float().cpu())
    subjects = [study.subject_id or study.study_id for study in studies]
    truth = matrix_of(warm.labels, sets)
    return label_scores(warm.labels, truth.numpy(), torch.cat(logits).numpy(), warm.shares, subjects)


def save_encoder(checkpoint: Checkpoint, out: Path) -> None:
    """The vision encoder with its image processor as a folder that --vision_tower loads."""
    with new_folder(out / VISION_TOWER, replace=True) as folder, quiet():
        checkpoint.model.model.vision_tower.save_pretrained(folder)
        checkpoint.processor.image_processor.save_pretrained(folder)


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
    chosen = _sample(images, seed)
    batches = [chosen[start : start + _AT_ONCE] for start in range(0, len(chosen), _AT_ONCE)]
    device = checkpoint.model.device
    with torch.no_grad():
        pixels = (normalise(batch, checkpoint.processor.image_processor) for batch in batches)
        return torch.cat([tower_features(checkpoint.model, each.to(device)).cpu() for each in pixels])


def _sample(rows: torch.Tensor, seed: int) -> torch.Tensor:
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:_SAMPLE]]


def _rate_share(step: int, steps: int) -> float:
    """Linear rise, then a cosine down to 3 % of the peak."""
    if step < _RISE:
        return (step + 1) / (_RISE + 1)
    progress = (step - _RISE) / max(1, steps - _RISE)
    return 0.515 + 0.485 * math.cos(math.pi * progress)


def _images(sets: Sequence[LabelSet], image_processor: Any, format: Format) -> tuple[torch.Tensor, torch.Tensor]:
    """All first images (F, S, S) uint8 and each study's image per slot (N, 2) int64: frontal, lateral; -1 = none."""
    paths: list[Path] = []
    placed = [(each.folder, study) for each in sets for study in each.studies]
    index = torch.full((len(placed), len(SLOTS)), -1, dtype=torch.long)
    for row, (folder, study) in enumerate(placed):
        for slot, kind in enumerate(SLOTS):
            path = next((view.path for view in study.views if view.view == kind), None)
            if path is not None:
                index[row, slot] = len(paths)
                paths.append(folder / path)
    if not paths:
        raise InputError("the vision encoder's studies have neither a frontal nor a lateral image to learn from")
    slices = list(in_slices(paths, _AT_ONCE))
    images = [grey_pixels(some, image_processor, format) for some in track(slices, "reading images", len(slices))]
    return torch.cat(images), index
