"""The end of a run: the trained model as the checkpoint folder that generation reads.

Model files go beside the run's own files. They are written elsewhere first and moved in with config.json last, which is
what makes the folder a checkpoint. Adapters stay adapters (a folder without config.json that names its base, and that
transformers and peft open) unless they are to be merged; then the base is opened anew, so that four-bit training ends
in full weights too.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from cxrgen.model.adapters import add_rows
from cxrgen.model.checkpoint import Checkpoint, quiet, save_all_but_weights
from cxrgen.model.folder_checks import ON_META
from cxrgen.model.parts import PROJECTOR, find_parts
from cxrgen.train.config import DataConfig
from cxrgen.train.distributed import Processes
from cxrgen.train.gather import gathered
from cxrgen.train.stored_types import half_types, in_stored_types
from cxrgen.train.trainable import fold_rows, has_adapters

PROJECTOR_FILE = "projector.safetensors"


def save_model(
    out: Path,
    checkpoint: Checkpoint,
    processes: Processes,
    merge: bool,
    projector_only: bool,
    base: Path | None,
    opened_anew: Callable[[], Any],
) -> None:
    """Write the trained model into the run folder; all processes must call it, the first writes.

    `projector_only` adds the projector as a small file of its own, which another run can start from. Frozen weights
    that were held in bfloat16 are taken from `opened_anew`, the model that the run started from, and those that the
    folder `base` holds in 16 bits are written in 16 bits.
    """
    frozen = {name for name, each in checkpoint.model.named_parameters() if not each.requires_grad}
    fold_rows(checkpoint.model)
    state = gathered(checkpoint.model.state_dict(), processes)
    if not processes.is_main:
        return
    adapters = has_adapters(checkpoint.model)
    if not adapters and any(tensor.dtype == torch.bfloat16 for tensor in state.values()):
        model = opened_anew()
        kept = {name: tensor for name, tensor in state.items() if tensor.dtype != torch.bfloat16}
        model.load_state_dict(kept, strict=False)
        checkpoint, state = replace(checkpoint, model=model), model.state_dict()
    half = half_types(base) if base and not adapters else []
    if half:
        state = in_stored_types(state, frozen, half)
    new = out / ".model.tmp"
    shutil.rmtree(new, ignore_errors=True)
    try:
        with quiet():
            checkpoint.model.save_pretrained(new, state_dict=state if half or processes.count > 1 else None)
        if adapters and merge:
            base = checkpoint.model.peft_config["default"].base_model_name_or_path
            merged = merged_adapter(base, new, checkpoint.rows)
            shutil.rmtree(new)
            with quiet():
                merged.save_pretrained(new)
        save_all_but_weights(new, checkpoint)
        if projector_only:
            save_file(_of_projector(checkpoint.model, state), new / PROJECTOR_FILE)
        _move_in(new, out)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _of_projector(model: Any, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    parts = find_parts(model)
    return {name: tensor.contiguous() for name, tensor in state.items() if parts.part_of(name) == PROJECTOR}


def merged_adapter(base: str | Path, adapter: Path, rows: int, values: bool = True) -> Any:
    """The base model (float32), made to have `rows` embeddings, with an adapter folder's weights in its own.

    Without `values` it is on the meta device, and neither folder's weights are read.
    """
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    how: dict[str, Any] = {"dtype": torch.float32, "local_files_only": True, **({} if values else ON_META)}
    model = AutoModelForImageTextToText.from_pretrained(base, **how)
    add_rows(model, rows)
    if not values:
        return model
    return PeftModel.from_pretrained(model, adapter).merge_and_unload()


def _move_in(new: Path, out: Path) -> None:
    """Old model files give way to new ones; a crash in between leaves a folder without config.json, no wrong mix."""
    (out / "config.json").unlink(missing_ok=True)
    for pattern in ("*.safetensors", "*.safetensors.index.json", "adapter_config.json"):
        for old in out.glob(pattern):
            old.unlink()
    for file in sorted(new.iterdir(), key=lambda path: path.name == "config.json"):
        if not (file.is_dir() and (out / file.name).is_dir()):  # the run's own label reader is there already
            os.replace(file, out / file.name)


def with_data_format(checkpoint: Checkpoint, recipe: Mapping[str, Any], data: DataConfig) -> Checkpoint:
    """The format with what reports are, how images become pixels and what is asked, by the set's recipe and the run.

    A prepared folder is asked by the run's settings; a JSON file has its questions, so there only what was set counts.
    """
    names = ("target", "text", "rendering", "view_rules")
    changes: dict[str, Any] = {name: str(recipe[name]) for name in names if recipe.get(name)}
    changes |= {"longest_side": recipe["size"]} if isinstance(recipe.get("size"), int) else {}
    usual = DataConfig()
    for name in ("prompt", "views", "context", "context_dropout", "prior_words", "max_images"):
        if data.paths[0].is_dir() or getattr(data, name) != getattr(usual, name):
            changes[name] = data.stated if name == "context" else getattr(data, name)
    return replace(checkpoint, format=replace(checkpoint.format, **changes))
