"""The training loop: batches in, one optimiser step after another, the loss of each step out.

A narrow loop on accelerate instead of a general trainer: what happens to a batch can be read here from top to bottom.
The language-model head runs only at supervised positions (`logits_to_keep`), which is exact and saves most of the
logits. Under rule `tokens` every supervised token of a global batch weighs the same, however it was cut into
micro-batches; rule `micro` is the mean of micro-batch means, as older trainers did.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator

from cxrgen.errors import InputError

IGNORE = -100
Batch = Mapping[str, Any]


@dataclass(frozen=True)
class FitSettings:
    """What the loop needs to know; `steps` counts optimiser steps, each of `accumulation` batches."""

    steps: int
    learning_rate: float
    warmup_steps: int = 0
    schedule: str = "cosine"  # cosine | linear | constant
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = 1.0
    accumulation: int = 1
    loss_rule: str = "tokens"  # tokens | micro
    train: tuple[str, ...] = ("",)  # parameter-name prefixes; "" = everything
    bf16: bool = False


def learning_rate_share(step: int, settings: FitSettings) -> float:
    """Share of the peak learning rate at `step` (from 0): linear warm-up from 0, then the schedule down to 0."""
    if step < settings.warmup_steps:
        return step / settings.warmup_steps
    progress = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    if settings.schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
    return 1.0 - progress if settings.schedule == "linear" else 1.0


def supervised_loss(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Summed cross entropy over a batch's supervised tokens, and their number.

    `labels` (B, L) int64 hold IGNORE where nothing is to be learnt; position p predicts the token at p + 1.
    """
    targets = batch["labels"][:, 1:]
    keep = (targets != IGNORE).any(dim=0).nonzero().squeeze(1)
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "ids")}
    logits = model(**inputs, logits_to_keep=keep, use_cache=False).logits
    kept = targets[:, keep]
    loss = torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1), kept.flatten(), ignore_index=IGNORE, reduction="sum"
    )
    return loss, (kept != IGNORE).sum()


def fit(
    model: Any,
    batches: Iterable[Batch],
    settings: FitSettings,
    report: Callable[[int, float, float], None] | None = None,
) -> list[float]:
    """Train `model` in place on `batches` (each a dict of tensors as the model takes them, plus `labels`).

    Returns the loss of each step. `report(step, loss, learning_rate)` is called after every step. Raises InputError
    when the batches run out early, when a step has nothing to learn from, or when the loss is no number.
    """
    accelerator = Accelerator(mixed_precision="bf16" if settings.bf16 else "no")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(settings.train))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.0, betas=settings.betas, weight_decay=settings.weight_decay)
    model, optimizer = accelerator.prepare(model, optimizer)
    model.train()
    for module in model.modules():  # what is frozen keeps its running statistics too
        if not any(parameter.requires_grad for parameter in module.parameters()):
            module.eval()
    stream = iter(batches)
    history = []
    for step in range(settings.steps):
        rate = settings.learning_rate * learning_rate_share(step, settings)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = _step_loss(accelerator, model, _take(stream, settings.accumulation, step), settings)
        if not math.isfinite(loss):
            raise InputError(
                f"step {step + 1}: the loss is {loss}; lower the learning rate or look at this step's data"
            )
        accelerator.clip_grad_norm_(trained, settings.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        history.append(loss)
        if report is not None:
            report(step, loss, rate)
    return history


def _take(stream: Iterator[Batch], count: int, step: int) -> list[Batch]:
    taken = [batch for _, batch in zip(range(count), stream)]
    if len(taken) < count:
        raise InputError(f"the batches ran out at step {step + 1}; give more data or fewer steps")
    return taken


def _step_loss(accelerator: Accelerator, model: Any, batches: list[Batch], settings: FitSettings) -> float:
    """Gradients of one optimiser step; returns its loss, equal on all processes."""
    moved = [{name: _to(value, accelerator.device) for name, value in batch.items()} for batch in batches]
    tokens = torch.tensor(sum(int((batch["labels"][:, 1:] != IGNORE).sum()) for batch in moved))
    tokens = accelerator.reduce(tokens.to(accelerator.device), "sum")
    if tokens.item() == 0:
        raise InputError("a step without any supervised token; are the answers cut off by the length limit?")
    total = torch.zeros((), device=accelerator.device)
    for number, batch in enumerate(moved):
        last = number == len(moved) - 1
        with accelerator.autocast(), _nothing(accelerator, model, last):
            loss, count = supervised_loss(model, batch)
            if settings.loss_rule == "tokens":
                loss = loss * accelerator.num_processes / tokens  # gradients are averaged over processes
            else:
                loss = loss / count / len(moved)
            accelerator.backward(loss)
        total += loss.detach()
    return float(accelerator.reduce(total, "mean").item())


def _nothing(accelerator: Accelerator, model: Any, last: bool) -> Any:
    """Gradients travel between processes only with a step's last batch."""
    return torch.enable_grad() if last else accelerator.no_sync(model)


def _to(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, torch.Tensor) else value
