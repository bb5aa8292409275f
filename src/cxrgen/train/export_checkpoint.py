"""A checkpoint of a run as a model folder: its start opened again, the trained tensors loaded into it."""

from __future__ import annotations

from dataclasses import replace as with_changes
from pathlib import Path

import torch

from cxrgen.core.errors import InputError
from cxrgen.core.folders import new_folder
from cxrgen.model.checkpoint import READER, Checkpoint, open_checkpoint
from cxrgen.model.conversation import Format
from cxrgen.train.checkpoints import ResumePoint, checkpoints, load_weights, read_resume_point
from cxrgen.train.config import TrainConfig
from cxrgen.train.distributed import Processes
from cxrgen.train.export import save_model
from cxrgen.train.flags import recipe_config
from cxrgen.train.init_model import init_model
from cxrgen.train.resume import START, changed_start
from cxrgen.train.trainable import mark_trainable, mode_of
from cxrgen.train.trainer import set_modes


def export_checkpoint(run: Path, step: str, out: Path, merge: bool = False, replace: bool = False) -> None:
    """Write the model of a run's checkpoint (a number, `best` or `last`) into `out`; `replace` an earlier folder.

    Raises InputError for a step without a checkpoint, and where the run's start has changed.
    """
    config = recipe_config(run / "recipe.yaml")
    checkpoint = _trained(run, config, read_resume_point(_folder_of(run, step)))
    mode = mode_of(config.trainable.train_modules)
    alone = Processes(0, 1, torch.device("cpu"))
    with new_folder(out, replace) as folder:
        base = Path(config.model.model_name_or_path) if config.model.model_name_or_path else None
        save_model(folder, checkpoint, alone, merge, mode.rows and not mode.adapters, base, lambda: checkpoint.model)


def _folder_of(run: Path, step: str) -> Path:
    present = dict(checkpoints(run))
    if not present:
        raise InputError(f"{run}: no checkpoint; was it trained with --save_strategy no?")
    last = max(present)
    wanted = last if step in ("best", "last") else int(step)
    if step == "best":
        best = read_resume_point(present[last]).remembered.get("best_step")
        if best is None:
            raise InputError(f"{run}: was not validated, so none is best; --step {last} is the last")
        wanted = int(best)
    if wanted not in present:
        raise InputError(f"{run}: no checkpoint-{wanted}; choose from {', '.join(map(str, present))}")
    return present[wanted]


def _trained(run: Path, config: TrainConfig, point: ResumePoint) -> Checkpoint:
    if changed := changed_start(run, config.model, point):
        raise InputError(f"{point.path}: the model that the run started from has changed ({changed[0]}); bring it back")
    checkpoint = _start(run, config)
    if (run / READER).is_dir():
        checkpoint = with_changes(checkpoint, label_reader=run / READER)
    if "format" in point.remembered:
        checkpoint = with_changes(checkpoint, format=Format(**point.remembered["format"]))
    mark_trainable(checkpoint, config.trainable)
    set_modes(checkpoint.model)
    load_weights(point.path, checkpoint.model)
    checkpoint.model.eval()
    return checkpoint


def _start(run: Path, config: TrainConfig) -> Checkpoint:
    if (run / START).is_dir():
        return open_checkpoint(run / START)
    if not config.model.model_name_or_path:
        raise InputError(f"{run}: has no {START}/ of the new model it began with; --resume ends the run with a model")
    adapters = mode_of(config.trainable.train_modules).adapters
    return init_model(config.model, config.tiny, [], config.seed, keep_adapter=adapters)
