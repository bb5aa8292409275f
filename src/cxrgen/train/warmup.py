"""Warm-ups for a weak tower and a new language model, before the two meet.

Tower: films in, labels read from the training reports (or the data set's own) out, through a flat head over all tokens
of all views, thrown away afterwards. Mean pooling would hide everything small and sided; a language model alone settles
on the usual sentence long before it looks at a nodule. The tower thus learns from the same reports, only sooner.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

UNKNOWN_LABEL = -1.0


@dataclass(frozen=True)
class WarmupSettings:
    steps: int
    batch_size: int = 32  # studies
    learning_rate: float = 1.5e-3
    warmup_steps: int = 30
    weight_decay: float = 0.02
    shift: int = 4  # pixels; films are moved by up to this much in each direction
    seed: int = 0


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
    """Tower features (B, V, T, C) of V views to label logits (B, L): C -> 32 a token, then all tokens side by side."""

    def __init__(self, views: int, tokens: int, channels: int, labels: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(channels, 32)
        self.out = nn.Linear(views * tokens * 32, labels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.out(torch.relu(self.narrow(features)).flatten(1))
        return logits


def warm_up_tower(
    features_of: Callable[[torch.Tensor], torch.Tensor],
    tower: nn.Module,
    films: torch.Tensor,
    view_index: torch.Tensor,
    targets: torch.Tensor,
    settings: WarmupSettings,
    prepare: Callable[[torch.Tensor], torch.Tensor],
    report: Callable[[int, float, float], None] | None = None,
) -> list[float]:
    """Train `tower` in place; returns the loss of each step.

    `films` (F, S, S) uint8; `view_index` (N, V) int64 gives each study's film per view slot, -1 = no such view;
    `targets` (N, L) from `label_matrix`; `prepare` turns uint8 films into pixel values; `features_of` pixel values
    (B, 3, S, S) into features (B, T, C).
    """
    generator = torch.Generator().manual_seed(settings.seed)
    studies, slots = view_index.shape
    sample = features_of(prepare(films[:1]))
    torch.manual_seed(settings.seed)
    head = FlatHead(slots, sample.shape[1], sample.shape[2], targets.shape[1])
    parameters = [*tower.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=settings.weight_decay)
    tower.train()
    order = torch.empty(0, dtype=torch.long)
    history = []
    for step in range(settings.steps):
        if len(order) < settings.batch_size:
            order = torch.cat([order, torch.randperm(studies, generator=generator)])
        rows, order = order[: settings.batch_size], order[settings.batch_size :]
        progress = max(0, step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
        rate = settings.learning_rate * min(
            (step + 1) / (settings.warmup_steps + 1), 0.515 + 0.485 * math.cos(math.pi * progress)
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        chosen = view_index[rows]
        given = chosen >= 0
        pixels = prepare(_shifted(films[chosen[given]], settings.shift, generator))
        features = features_of(pixels)
        by_slot = features.new_zeros(*chosen.shape, *features.shape[1:])
        by_slot[given] = features
        logits, wanted = head(by_slot), targets[rows]
        known = wanted != UNKNOWN_LABEL
        loss = nn.functional.binary_cross_entropy_with_logits(logits[known], wanted[known])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        history.append(float(loss.detach()))
        if report is not None:
            report(step, history[-1], rate)
    tower.eval()
    return history


def _shifted(films: torch.Tensor, most: int, generator: torch.Generator) -> torch.Tensor:
    """Each film moved by up to `most` pixels, its edge repeated."""
    if most == 0:
        return films
    side = films.shape[-1]
    padded = nn.functional.pad(films[:, None].float(), (most,) * 4, mode="replicate")[:, 0].to(films.dtype)
    corners = torch.randint(0, 2 * most + 1, (len(films), 2), generator=generator).tolist()
    return torch.stack([film[y : y + side, x : x + side] for film, (y, x) in zip(padded, corners)])
