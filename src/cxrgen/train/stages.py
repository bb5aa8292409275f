"""The stages of a run that learn texts: the language model on texts alone, then the reports with their images.

Both are the same `fit` on other batches. The main stage reads images as it goes, or, where the vision encoder is
frozen, computes the features of every image once and keeps them, on disk (`feature_files`) or in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch

from cxrgen.core.errors import UsageError
from cxrgen.core.progress import say, track
from cxrgen.model.batches import Sample
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.families import Collator, LlavaFamily, family_of, packs_by_positions
from cxrgen.model.features import in_slices, precomputed_features, tower_features
from cxrgen.model.pixels import image_pixels
from cxrgen.train.config import DataConfig, OptimConfig
from cxrgen.train.data import (
    Feed,
    Redraw,
    SamplerConfig,
    SftData,
    encode_data,
    micro_batches,
    steps_in_epoch,
    without_images,
)
from cxrgen.train.distributed import Processes
from cxrgen.train.feature_files import Computing, features_on_disk
from cxrgen.train.streaming import Stream
from cxrgen.train.trainer import SUPERVISED, Callback, FitSettings, FitState, Objective, StepRecord, fit

_TEXT_RISE = 10  # steps in which the text stage's learning rate rises


@dataclass(frozen=True)
class Stage:
    """What all stages of a run share."""

    checkpoint: Checkpoint
    data: DataConfig
    sampler: SamplerConfig
    processes: Processes
    cache: Path  # folder of kept features


class SecondStage(Protocol):
    """A stage that goes on from a trained model: how its batches are made, and what is minimised on them.

    `updates` is the number of steps that each step's samples serve, `items` what is learnt from.
    """

    @property
    def updates(self) -> int: ...

    @property
    def items(self) -> str: ...

    @property
    def objective(self) -> Objective: ...

    def batches(self, model: Any, feed: Feed) -> Iterator[dict[str, Any]]: ...


def sampler_config(optim: OptimConfig, seed: int, view_dropout: float, processes: int) -> SamplerConfig:
    """A step's size and how it is cut. Raises UsageError for a global batch that cannot be cut evenly."""
    at_once = optim.per_device_train_batch_size * processes
    accumulation = optim.gradient_accumulation_steps
    if optim.global_batch_size:
        if optim.global_batch_size % at_once:
            raise UsageError(
                f"--global_batch_size {optim.global_batch_size}: not a multiple of {at_once} "
                f"({optim.per_device_train_batch_size} samples on each of {processes} processes)"
            )
        accumulation = optim.global_batch_size // at_once
    return SamplerConfig(at_once * accumulation, accumulation, seed, view_dropout)


def fit_settings(optim: OptimConfig, samples: int, sampler: SamplerConfig, updates: int = 1) -> FitSettings:
    """The loop's settings; each step's samples serve `updates` steps."""
    steps = optim.max_steps
    if steps <= 0:
        steps = max(1, math.ceil(optim.num_train_epochs * steps_in_epoch(samples, sampler))) * updates
    bf16 = computes_in_bf16(optim)
    if optim.bf16 and not bf16:
        say("--bf16: no bfloat16 in this hardware; computing in float32")
    return FitSettings(
        steps=steps,
        learning_rate=optim.learning_rate,
        warmup_steps=optim.warmup_steps or math.ceil(optim.warmup_ratio * steps),
        schedule=optim.lr_scheduler_type,
        weight_decay=optim.weight_decay,
        betas=(optim.adam_beta1, optim.adam_beta2),
        clip_norm=optim.max_grad_norm or math.inf,
        accumulation=sampler.accumulation,
        loss_rule=optim.loss_rule,
        optimizer=optim.optim,
        train=None,
        bf16=bf16,
        distribution="fsdp" if optim.fsdp else "ddp",
        shard_gradients=optim.shard_gradients,
    )


def computes_in_bf16(optim: OptimConfig) -> bool:
    return optim.bf16 and _has_bf16()


def _has_bf16() -> bool:
    """Whether bfloat16 is computed and not imitated: a recent CUDA device, or a processor with AVX512-BF16 or AMX."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    abilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # since torch 2.9
    return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))


class _Curve(Callback):
    """Keeps loss and learning rate of each step."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, float]] = []

    def on_step_end(self, state: FitState, record: StepRecord) -> bool:
        self.steps.append((record.loss, record.learning_rate))
        return super().on_step_end(state, record)


def train_on_texts(
    stage: Stage, optim: OptimConfig, steps: int, data: SftData, trained: tuple[str, ...]
) -> list[tuple[float, float]]:
    """The language model on the reports alone; `trained` are prefixes of parameter names. Returns loss and rate."""
    texts = [[without_images(each[0])] for each in data.variants]
    samples, _ = encode_data(stage.checkpoint, texts, stage.data.long, data.folder)
    settings = fit_settings(optim, len(samples), stage.sampler)
    # Not sharded: the next stage shards the model, which can be done once.
    settings = replace(settings, steps=steps, warmup_steps=_TEXT_RISE, train=trained, distribution="ddp")
    _fit(stage, samples, settings, _collator(stage, data.folder), curve := _Curve())
    return curve.steps


def train_on_images(
    stage: Stage,
    samples: Sequence[Sequence[Sample]],
    settings: FitSettings,
    folder: Path,
    callback: Callback,
    first_step: int = 0,
    redraw: Redraw | None = None,
    stream: Stream | None = None,
    second: SecondStage | None = None,
) -> None:
    """The main stage, from image files or from features of the frozen vision encoder that are computed once.

    A `second` stage makes its own batches of the samples, and has its own loss.
    """
    stage = replace(stage, data=replace(stage.data, packing=_packs(stage)))
    with ExitStack() as stack:
        collator = _collator(stage, folder)
        if stage.data.cache_features:
            features = _kept_features(stage, samples, folder, settings.bf16)
            collator = LlavaFamily(stage.checkpoint).collator_of(features, stage.data.packing)
            stack.enter_context(precomputed_features(stage.checkpoint.model))
        _fit(stage, samples, settings, collator, callback, first_step, redraw, stream, second)


def _packs(stage: Stage) -> bool:
    """Whether rows are packed: on a GPU only where no dense mask is needed, which would cost more than padding."""
    dense = stage.processes.device.type == "cuda" and not packs_by_positions(stage.checkpoint.model)
    if stage.data.packing and dense:
        say("--packing: on a GPU by --attn_implementation flash_attention_2 alone; batches are padded")
    return stage.data.packing and not dense


def _collator(stage: Stage, folder: Path) -> Collator:
    """What makes a micro-batch of samples and image files."""
    family = family_of(stage.checkpoint)
    return family.collator(folder, stage.data.packing, always_images=stage.processes.count > 1)


def _kept_features(
    stage: Stage, samples: Sequence[Sequence[Sample]], folder: Path, bf16: bool
) -> Callable[[str], torch.Tensor]:
    if stage.data.features_in == "memory":
        return cached_features(stage.checkpoint, samples, folder)
    images = (path for variants in samples for sample in variants for path in sample.images)
    how = Computing(bf16, stage.data.dataloader_num_workers)
    return features_on_disk(stage.checkpoint, images, folder, stage.cache, stage.processes, how)


def cached_features(
    checkpoint: Checkpoint, samples: Sequence[Sequence[Sample]], folder: Path
) -> Callable[[str], torch.Tensor]:
    """Features (T, C) of the frozen vision encoder for every image of the samples, kept in main memory."""
    paths = sorted({path for variants in samples for sample in variants for path in sample.images})
    features: dict[str, torch.Tensor] = {}
    slices, device = list(in_slices(paths, 64)), checkpoint.model.device
    narrow = any(each.dtype == torch.bfloat16 for each in checkpoint.model.model.vision_tower.parameters())
    checkpoint.model.eval()
    for some in track(slices, "vision features", len(slices)):
        with torch.no_grad():
            images = [folder / path for path in some]
            pixels = image_pixels(images, checkpoint.processor.image_processor, checkpoint.format)
            with torch.autocast(device.type, torch.bfloat16, enabled=narrow):
                found = tower_features(checkpoint.model, pixels.to(device))
            features.update(zip(some, found.float().cpu()))
    return features.__getitem__


def _fit(
    stage: Stage,
    samples: Sequence[Sequence[Sample]],
    settings: FitSettings,
    collator: Collator,
    callback: Callback,
    first_step: int = 0,
    redraw: Redraw | None = None,
    stream: Stream | None = None,
    second: SecondStage | None = None,
) -> None:
    processes, data, model = stage.processes, stage.data, stage.checkpoint.model
    count = max(0, (settings.steps - first_step) * settings.accumulation)
    begun = first_step // (second.updates if second else 1)
    if stream:
        micro = stream.micro_batches(stage.sampler, processes.rank, processes.count, begun)
    else:
        micro = micro_batches(samples, stage.sampler, processes.rank, processes.count, begun, redraw)
    images = any(sample.images for variants in samples for sample in variants)
    workers = data.dataloader_num_workers if images else 0
    feed = Feed(samples, islice(micro, count), collator, stage.sampler, first_step, workers, settings.bf16)
    batches: Iterator[dict[str, Any]] = islice(second.batches(model, feed) if second else feed.batches(), count)
    if processes.is_main:
        name = "training" if images else "training on texts"
        batches = track(batches, name, count, lambda: callback.note)
    fit(model, batches, settings, callback, second.objective if second else SUPERVISED)
