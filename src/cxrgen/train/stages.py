"""The stages of a run that train something: tower and text warm-ups, then the reports themselves.

Each is the same `fit` on other batches. The main stage reads images as it goes, or, where the tower is frozen, computes
what it sees in them once and keeps that in memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from cxrgen.core.errors import UsageError
from cxrgen.core.progress import say, track
from cxrgen.model.batches import Sample
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.features import in_slices, precomputed_features, tower_features
from cxrgen.model.pixels import image_pixels
from cxrgen.text.localized_labels import placed_labels
from cxrgen.train.callbacks import RunWatcher
from cxrgen.train.config import Arguments
from cxrgen.train.data import (
    ImageOf,
    Material,
    Order,
    encode_material,
    micro_batches,
    steps_in_epoch,
    with_images,
    without_images,
)
from cxrgen.train.distributed import Processes
from cxrgen.train.trainable import hold_in_bf16, mode_of
from cxrgen.train.trainer import FitSettings, Watcher, fit
from cxrgen.train.warmup import WarmupSettings, warm_up_tower


def order_of(arguments: Arguments, processes: Processes) -> Order:
    """A step's size and how it is cut. Raises UsageError for a global batch that cannot be cut evenly."""
    at_once = arguments.per_device_train_batch_size * processes.count
    accumulation = arguments.gradient_accumulation_steps
    if arguments.global_batch_size:
        if arguments.global_batch_size % at_once:
            raise UsageError(
                f"--global_batch_size {arguments.global_batch_size}: not a multiple of {at_once} "
                f"({arguments.per_device_train_batch_size} samples on each of {processes.count} processes)"
            )
        accumulation = arguments.global_batch_size // at_once
    return Order(at_once * accumulation, accumulation, arguments.seed, arguments.view_dropout)


def settings_of(arguments: Arguments, samples: int, order: Order) -> FitSettings:
    steps = arguments.max_steps
    if steps <= 0:
        steps = max(1, math.ceil(arguments.num_train_epochs * steps_in_epoch(samples, order)))
    bf16 = arguments.bf16 and _has_bf16()
    if arguments.bf16 and not bf16:
        say("--bf16: no bfloat16 in this hardware; computing in float32")
    return FitSettings(
        steps=steps,
        learning_rate=arguments.learning_rate,
        warmup_steps=arguments.warmup_steps or math.ceil(arguments.warmup_ratio * steps),
        schedule=arguments.lr_scheduler_type,
        weight_decay=arguments.weight_decay,
        betas=(arguments.adam_beta1, arguments.adam_beta2),
        clip_norm=arguments.max_grad_norm or math.inf,
        accumulation=order.accumulation,
        loss_rule=arguments.loss_rule,
        train=None,
        bf16=bf16,
        distribution="fsdp" if arguments.fsdp else "ddp",
    )


def _has_bf16() -> bool:
    """Whether bfloat16 is computed and not imitated: a recent CUDA device, or a processor with AVX512-BF16 or AMX."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    abilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # since torch 2.9
    return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))


def warm_ups(arguments: Arguments, bundle: Checkpoint, material: Material, order: Order, processes: Processes) -> None:
    if arguments.tower_steps:
        if arguments.warmup_labels not in ("rule", "dataset") or not material.studies:
            raise UsageError(
                "--tower-steps needs --warmup-labels rule or dataset, and a prepared folder as --data-path"
            )
        if arguments.warmup_labels == "rule":
            labels = [placed_labels(study.report or "") for study in material.studies]
        else:
            labels = [study.labels or {} for study in material.studies]
        warm = WarmupSettings(
            steps=arguments.tower_steps,
            batch_size=arguments.tower_batch_size,
            learning_rate=arguments.tower_learning_rate,
            seed=arguments.seed,
        )
        warm_up_tower(bundle, material.studies, labels, material.folder, warm)
    if arguments.text_steps:
        texts = [[without_images(each[0])] for each in material.variants]
        samples, _ = encode_material(bundle, texts, arguments.long)
        mode = mode_of(arguments.train_modules)
        settings = replace(
            settings_of(arguments, len(samples), order),
            steps=arguments.text_steps,
            warmup_steps=10,
            train=mode.prefixes,
        )
        _fit(arguments, bundle, samples, settings, order, lambda path: torch.empty(0), Watcher(), processes)


def train_on_images(
    arguments: Arguments,
    bundle: Checkpoint,
    samples: Sequence[Sequence[Sample]],
    settings: FitSettings,
    order: Order,
    folder: Path,
    watcher: RunWatcher,
    processes: Processes,
) -> None:
    """The main stage, from image files or from features of the frozen tower that are computed once."""
    image_processor, aspect = bundle.processor.image_processor, bundle.format.aspect

    def image(path: str) -> torch.Tensor:
        return image_pixels([folder / path], image_processor, aspect)[0]

    with ExitStack() as stack:
        image_of: ImageOf = image
        if arguments.cache_features:
            image_of = _features(bundle, samples, folder).__getitem__
            stack.enter_context(precomputed_features(bundle.model))
        if settings.bf16 and can_be_opened_anew(arguments):
            hold_in_bf16(bundle.model)
        _fit(arguments, bundle, samples, settings, order, image_of, watcher, processes, watcher.first_step)


def can_be_opened_anew(arguments: Arguments) -> bool:
    """Whether the weights before the main stage are those of a checkpoint, and not of a new or warmed-up model."""
    return bool(arguments.model_name_or_path) and not arguments.tower_steps and not arguments.text_steps


def _features(bundle: Checkpoint, samples: Sequence[Sequence[Sample]], folder: Path) -> dict[str, torch.Tensor]:
    """What the frozen tower sees in every image of the samples, kept in main memory."""
    paths = sorted({path for variants in samples for sample in variants for path in sample.images})
    features: dict[str, torch.Tensor] = {}
    slices = list(in_slices(paths, 64))
    bundle.model.eval()
    for some in track(slices, "vision features", len(slices)):
        with torch.no_grad():
            images = [folder / path for path in some]
            pixels = image_pixels(images, bundle.processor.image_processor, bundle.format.aspect)
            features.update(zip(some, tower_features(bundle.model, pixels.to(bundle.model.device)).cpu()))
    return features


def _fit(
    arguments: Arguments,
    bundle: Checkpoint,
    samples: Sequence[Sequence[Sample]],
    settings: FitSettings,
    order: Order,
    image_of: ImageOf,
    watcher: Watcher,
    processes: Processes,
    first_step: int = 0,
) -> None:
    count = (settings.steps - first_step) * settings.accumulation
    micro = islice(micro_batches(samples, order, processes.rank, processes.count, first_step), max(0, count))
    images = any(sample.images for variants in samples for sample in variants)
    workers = arguments.dataloader_num_workers if images else 0
    batches = with_images(micro, bundle.tokenizer.pad_token_id, image_of, arguments.packing, workers)
    if processes.first:
        stage = "training" if images else "learning to spell"
        batches = track(batches, stage, count, lambda: watcher.note)
    fit(bundle.model, batches, settings, watcher)
