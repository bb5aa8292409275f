"""The training loop: batches in, one optimiser step after another, the loss of each step out.

A narrow loop instead of a general trainer: what happens to a batch can be read here from top to bottom. The
language-model head runs only at supervised positions (`logits_to_keep`), which is exact and saves most of the logits.
Under loss rule `tokens` every supervised token of a global batch weighs the same, however it was cut into micro-batches
and spread over processes; rule `original` is the mean of micro-batch means, as LLaVA-Med's trainer had it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from cxrgen.core.errors import InputError, unknown
from cxrgen.model.batches import IGNORE
from cxrgen.train.config import LOSS_RULES, OPTIMIZERS, SCHEDULES
from cxrgen.train.distributed import Processes, init_processes, no_sync, precision, wrap_model
from cxrgen.train.kernels import adamw

Batch = Mapping[str, Any]


@dataclass(frozen=True)
class FitSettings:
    """Settings of the loop; `steps` counts optimiser steps, each of `accumulation` batches a process."""

    steps: int
    learning_rate: float
    warmup_steps: int = 0
    schedule: str = "cosine"  # cosine | linear | constant
    weight_decay: float = 0.0  # not on biases and norms
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = 1.0
    accumulation: int = 1
    loss_rule: str = "tokens"  # tokens | original
    train: tuple[str, ...] | None = ("",)  # parameter-name prefixes; "" = everything, None = as marked by requires_grad
    bf16: bool = False
    distribution: str = "ddp"  # ddp | fsdp, where there are several processes
    shard_gradients: bool = False  # under fsdp, also between the batches of a step
    optimizer: str = OPTIMIZERS[0]

    def __post_init__(self) -> None:
        for name, value, known in (
            ("learning-rate schedule", self.schedule, SCHEDULES),
            ("loss rule", self.loss_rule, LOSS_RULES),
            ("--optim", self.optimizer, OPTIMIZERS),
        ):
            if value not in known:
                raise unknown(name, value, known)


@dataclass
class FitState:
    """The state of a training after `step` optimiser steps."""

    model: Any
    optimizer: torch.optim.Optimizer
    processes: Processes
    step: int = 0
    steps: int = 0  # that the whole training takes


@dataclass(frozen=True)
class StepRecord:
    """Numbers of one step; `step` counts from 1."""

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens: int  # positions that were computed, padding left out, all processes together
    supervised: int  # tokens that were learnt


class Callback:
    """Called by `fit` around its steps; may end the training. This one only keeps a note for the progress line."""

    note = ""  # for the progress line

    def on_train_begin(self, state: FitState) -> None:
        """Before the first step; a resumed training puts its state back here."""

    def should_stop(self) -> bool:
        """Whether this process was asked to stop; asked before each step."""
        return False

    def on_step_end(self, state: FitState, record: StepRecord) -> bool:
        """After each step; True ends the training early."""
        self.note = f"loss {record.loss:.3f}"
        return False

    def on_interrupt(self, state: FitState, reason: InputError | None) -> None:
        """The training ends between two steps: a process was asked to stop (no reason), or its data failed."""


@dataclass
class _Step:
    """One process's share of a step."""

    batches: list[Batch] = field(default_factory=list)
    error: InputError | None = None


def learning_rate_share(step: int, settings: FitSettings) -> float:
    """Share of the peak learning rate at `step` (from 0): linear warm-up from 0, then the schedule down to 0."""
    if step < settings.warmup_steps:
        return step / settings.warmup_steps
    progress = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    if settings.schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
    return 1.0 - progress if settings.schedule == "linear" else 1.0


def supervised_loss(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Summed cross entropy over a batch's supervised tokens, and their number; NaN where a logit is NaN or infinite.

    `labels` (B, L) int64 are IGNORE where there is no loss; position p predicts the token at p + 1. Where the batch has
    `weights` (B, L), each token's cross entropy counts as often.
    """
    targets = batch["labels"][:, 1:]
    keep = (targets != IGNORE).any(dim=0).nonzero().squeeze(1)
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "ids", "weights")}
    logits = model(**inputs, logits_to_keep=keep, use_cache=False).logits
    kept, weights = targets[:, keep], batch.get("weights")
    loss = torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1),
        kept.flatten(),
        ignore_index=IGNORE,
        reduction="sum" if weights is None else "none",
    )
    if weights is not None:
        loss = (loss * weights[:, 1:][:, keep].flatten()).sum()
    loss = torch.where(torch.isfinite(logits).all(), loss, torch.nan)  # an infinite logit may leave the loss finite
    return loss, (kept != IGNORE).sum()


def supervised_tokens(batch: Batch) -> int:
    """How many tokens `supervised_loss` is summed over."""
    return int((batch["labels"][:, 1:] != IGNORE).sum())


@dataclass(frozen=True)
class Objective:
    """What is minimised: `loss` of a batch, summed over `count` items (tokens, pairs), and that number again."""

    loss: Callable[[Any, Batch], tuple[torch.Tensor, torch.Tensor]] = supervised_loss
    count: Callable[[Batch], int] = supervised_tokens


SUPERVISED = Objective()


def fit(
    model: Any,
    batches: Iterable[Batch],
    settings: FitSettings,
    callback: Callback | None = None,
    objective: Objective = SUPERVISED,
) -> list[float]:
    """Train `model` in place on `batches` (each a dict of tensors as the model takes them, plus `labels`).

    Returns the loss of each step taken. Raises InputError when the batches run out early, when a step has nothing to
    learn from, or when loss or gradient are NaN or infinite; the step and its studies are named.
    """
    callback = callback or Callback()
    processes = init_processes()
    if settings.train is not None:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(settings.train))
    runner = wrap_model(model, processes, settings.distribution, settings.bf16)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    state = FitState(model, _optimizer(trained, settings), processes, steps=settings.steps)
    callback.on_train_begin(state)
    set_modes(model)
    stream = iter(batches)
    history: list[float] = []
    while state.step < settings.steps:
        mine = _take(stream, settings.accumulation, state.step)
        learnt = sum(objective.count(batch) for batch in mine.batches)
        seen = sum(_positions(batch) for batch in mine.batches)
        supervised, tokens, stops, errors = processes.all_reduce_sum(
            [float(learnt), float(seen), float(callback.should_stop()), float(mine.error is not None)]
        )
        if stops or errors:
            reason = next((error for error in processes.all_gather(mine.error) if error), None) if errors else None
            callback.on_interrupt(state, reason)
            if reason is not None:
                raise reason
            return history
        if not supervised:
            raise InputError("a step without any supervised token; are the answers cut off by the length limit?")
        rate = settings.learning_rate * learning_rate_share(state.step, settings)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        loss = _step_loss(runner, model, mine.batches, supervised, settings, processes, objective)
        norm = float(_whole_norm(torch.nn.utils.clip_grad_norm_(trained, settings.clip_norm)))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            what = f"loss is {loss}" if not math.isfinite(loss) else f"gradient's norm is {norm}"
            raise _broken(what, state.step, mine.batches, processes)
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.step += 1
        history.append(loss)
        if callback.on_step_end(state, StepRecord(state.step, loss, rate, norm, int(tokens), int(supervised))):
            break
    return history


def _whole_norm(norm: torch.Tensor) -> torch.Tensor:
    """The norm over all processes, where each holds a shard."""
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm


def _optimizer(trained: list[torch.nn.Parameter], settings: FitSettings) -> torch.optim.Optimizer:
    groups = [
        {"params": [each for each in trained if each.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [each for each in trained if each.ndim <= 1], "weight_decay": 0.0},
    ]
    return adamw(settings.optimizer, [group for group in groups if group["params"]], settings.betas)


def set_modes(model: Any) -> None:
    """What is trained is in training mode; what is frozen keeps its running statistics and drops nothing out."""
    model.train()
    for module in model.modules():
        if not any(parameter.requires_grad for parameter in module.parameters()):
            module.eval()
    for module in model.modules():
        if getattr(module, "gradient_checkpointing", False):  # works in training mode only
            module.training = True


def _take(stream: Iterator[Batch], count: int, step: int) -> _Step:
    taken = _Step()
    try:
        taken.batches = [batch for _, batch in zip(range(count), stream)]
    except InputError as error:
        taken.error = InputError(f"step {step + 1}: {error}", error.detail)
        return taken
    if len(taken.batches) < count:
        taken.error = InputError(f"the batches ran out at step {step + 1}; give more data or fewer steps")
    return taken


def _positions(batch: Batch) -> int:
    """Positions of a batch that hold a token, where its mask can tell."""
    mask = batch.get("attention_mask")
    return int(mask.sum()) if mask is not None and mask.ndim == 2 else int(batch["labels"].numel())


def _step_loss(
    runner: Any,
    model: Any,
    batches: list[Batch],
    supervised: float,
    settings: FitSettings,
    processes: Processes,
    objective: Objective,
) -> float:
    """Gradients of one optimiser step; returns its loss, equal on all processes."""
    total = torch.zeros((), device=processes.device)
    for number, batch in enumerate(batches):
        moved = {name: _to(value, processes.device) for name, value in batch.items()}
        with no_sync(runner, number < len(batches) - 1, settings.shard_gradients):
            with precision(model, processes.device, settings.bf16):
                loss, count = objective.loss(runner, moved)
                if settings.loss_rule == "tokens":
                    loss = loss * processes.count / supervised  # gradients are averaged over processes
                else:
                    loss = loss / count.clamp(min=1) / len(batches)
                if processes.count > 1 and "pixel_values" not in moved:
                    loss = loss + 0.0 * _blank_image(model, processes.device)
            loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return processes.all_reduce_sum([total.item()])[0] / processes.count


def _blank_image(model: Any, device: torch.device) -> torch.Tensor:
    """Sum of a black image's features: a process whose batch has no image still needs every gradient, all zero."""
    config = model.config.vision_config
    side, dtype = config.image_size, model.get_input_embeddings().weight.dtype
    images = torch.zeros(1, 3, side, side, device=device, dtype=dtype)
    if not hasattr(model.model.vision_tower, "config"):  # features are given in place of images
        images = torch.zeros(1, 1, config.hidden_size, device=device, dtype=dtype)
    features = model.model.get_image_features(pixel_values=images).pooler_output
    return torch.cat(list(features)).sum()


def _broken(what: str, step: int, batches: list[Batch], processes: Processes) -> InputError:
    names = [name for each in processes.all_gather([list(batch.get("ids", [])) for batch in batches]) for name in each]
    ids = [name for some in names for name in some]
    shown = ", ".join(ids[:20]) + (f" and {len(ids) - 20} more" if len(ids) > 20 else "")
    return InputError(
        f"step {step + 1}: the {what}; lower the learning rate or look at this step's studies, which --show-values "
        "names",
        detail=shown,
    )


def _to(value: Any, device: torch.device) -> Any:
    return value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
