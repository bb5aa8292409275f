"""Runs whose weights one process reads, and the same where each reads them: `torchrun -m ... FOLDER DATA OUT`.

FOLDER holds the models that the runs start from.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from cxrgen.train import stages, start_model
from cxrgen.train.config import make_config
from cxrgen.train.distributed import init_processes
from cxrgen.train.pipeline import train

ROWS = {"mm_use_im_start_end": True}
SHARDED = {"fsdp": "full_shard"}
RUNS: dict[str, dict[str, Any]] = {
    "rows and adapters": {**SHARDED, **ROWS, "model_name_or_path": "llava", "train_modules": "lora"},
    "frozen in 16 bits": {**SHARDED, **ROWS, "model_name_or_path": "half", "train_modules": "projector", "bf16": True},
    "tied": {**SHARDED, "model_name_or_path": "tied", "train_modules": "full"},
    "adapter": {**SHARDED, "model_name_or_path": "adapter", "train_modules": "lora", "version": ""},
    "adapter written in": {"model_name_or_path": "adapter", "version": ""},
    "joined": {**SHARDED, "language_model": "language", "image_size": 32, "image_tokens": 2, "version": ""},
    "features": {**SHARDED, "model_name_or_path": "llava", "cache_features": True},
    "whole": {**ROWS, "model_name_or_path": "half", "train_modules": "lora", "bf16": True},
}
SIDES = ("sent", "read")
_FOLDERS = ("model_name_or_path", "language_model")
_decide, _open = start_model._is_sent, start_model.configured_model
_opened: list[bool] = []  # whether this process read values


def _watched(*arguments: Any, **named: Any) -> Any:
    checkpoint = _open(*arguments, **named)
    _opened.append(not any(each.is_meta for each in checkpoint.model.parameters()))
    return checkpoint


def run(folder: Path, data: str, out: Path, changes: dict[str, Any]) -> list[float]:
    settings = {"data_path": data, "version": "v1", "learning_rate": 1e-3, "max_steps": 2, "save_steps": 2}
    settings |= {"per_device_train_batch_size": 2, "lora_rank": 2, "lora_dropout": 0.1, "threads": 1, **changes}
    start = {key: str(folder / settings[key]) for key in _FOLDERS if key in settings}
    return train(make_config({**settings, **start, "output_dir": str(out)}))


def main(folder: str, data: str, out: str) -> None:
    """Writes the losses of each run by both sides, and which processes read the weights."""
    stages._has_bf16 = lambda: True
    start_model.configured_model = _watched
    processes = init_processes()
    found: dict[str, dict[str, Any]] = {}
    for name, changes in RUNS.items():
        for side in SIDES:
            _opened.clear()
            start_model._is_sent = _decide if side == "sent" else lambda *_: False
            losses = run(Path(folder), data, Path(out) / name / side, changes)
            readers = processes.all_gather(_opened[0])
            found.setdefault(name, {})[side] = {"losses": losses, "readers": readers}
    if processes.is_main:
        (Path(out) / "found.json").write_text(json.dumps(found))
    processes.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
