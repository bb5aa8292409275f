"""The model of a run in all its processes, before the first step: read by one of them, sent to the others.

A process that is sent the weights opens the same folders without memory; a new small model is made by each process
itself, from the same seed, and four-bit weights are read by each. Where the model is sharded at once, the first process
keeps it in main memory until then, and each device gets its shards alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cxrgen.model.checkpoint import Checkpoint, open_checkpoint
from cxrgen.model.folder_checks import ON_META
from cxrgen.train.config import TrainableConfig, TrainConfig
from cxrgen.train.distributed import Processes, place
from cxrgen.train.init_model import init_model
from cxrgen.train.stages import computes_in_bf16
from cxrgen.train.trainable import hold_in_bf16, mark_trainable, mode_of


def start_model(
    config: TrainConfig, texts: Sequence[str], start: Path, resumed: bool, processes: Processes
) -> tuple[Checkpoint, bool]:
    """The model to start from, and whether its warm-ups are still to come; all processes must call it.

    It is on each process's device, unless it comes there when it is sharded. `start` is the folder in which a resumed
    run finds its new model.
    """
    fresh = not (resumed and start.is_dir())
    sent = _is_sent(config, fresh, processes)
    opened: list[Checkpoint] = []

    def work() -> None:
        opened.append(_opened(config, texts, None if fresh else start, processes.is_main or not sent))

    processes.agreed(work)
    checkpoint = opened[0]
    if frozen_in_bf16(config):  # before it is moved: the device holds frozen matrices in 16 bits only
        mark_trainable(checkpoint, config.trainable)
        hold_in_bf16(checkpoint.model)
    warms_up = fresh and has_warm_up(config)  # which takes the whole model
    if not (sent and config.optim.fsdp and config.preference.stage == "sft" and not warms_up):
        place(checkpoint.model, processes)
    elif config.data.cache_features:  # computed before anything is sharded
        place(checkpoint.model.model.vision_tower, processes)
    return checkpoint, fresh


def _is_sent(config: TrainConfig, fresh: bool, processes: Processes) -> bool:
    """Whether the first process alone reads the weights."""
    given = bool(config.model.model_name_or_path or config.model.language_model) or not fresh
    return processes.count > 1 and given and not mode_of(config.trainable.train_modules).four_bit


def _opened(config: TrainConfig, texts: Sequence[str], start: Path | None, values: bool) -> Checkpoint:
    if start is not None:
        return open_checkpoint(start, **({} if values else ON_META))
    return configured_model(config, texts, config.trainable if frozen_in_bf16(config) else None, values)


def configured_model(
    config: TrainConfig, texts: Sequence[str] = (), narrow: TrainableConfig | None = None, values: bool = True
) -> Checkpoint:
    """`init_model` as a run's configuration has it."""
    mode, start = mode_of(config.trainable.train_modules), (config.model, config.tiny, texts, config.seed)
    return init_model(*start, mode.four_bit, keep_adapter=mode.adapters, narrow=narrow, values=values)


def frozen_in_bf16(config: TrainConfig) -> bool:
    """Whether frozen matrices are held in bfloat16: only where the checkpoint's own can be opened anew at the end."""
    return computes_in_bf16(config.optim) and bool(config.model.model_name_or_path) and not has_warm_up(config)


def has_warm_up(config: TrainConfig) -> bool:
    return bool(config.warmup.on_labels or config.warmup.text_steps)
