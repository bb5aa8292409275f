"""Several short runs in one set of processes: `torchrun -m tests.train.train_modes BASE DATA OUT`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from cxrgen.train.config import make_config
from cxrgen.train.distributed import init_processes
from cxrgen.train.pipeline import train

ROWS = {"mm_use_im_start_end": True}
MODES: dict[str, dict[str, Any]] = {
    "projector-rows": {"train_modules": "projector", **ROWS},
    "lora-rows": {"train_modules": "lora", **ROWS},
    "merged-rows": {"train_modules": "lora", "merge_adapter": True, **ROWS},
    "default-rows": {"train_modules": "projector+llm", **ROWS},
    "full": {"train_modules": "full"},
}
SHARDING = {"ddp": "", "fsdp": "full_shard"}


def main(base: str, data: str, out: str) -> None:
    processes = init_processes()
    settings = {"model_name_or_path": base, "data_path": data, "version": "v1", "learning_rate": 1e-3}
    settings |= {"max_steps": 2, "per_device_train_batch_size": 2, "lora_rank": 2, "lora_dropout": 0.0, "save_steps": 1}
    for mode, changes in MODES.items():
        for name, fsdp in SHARDING.items():
            run = {**settings, **changes, "fsdp": fsdp, "output_dir": str(Path(out) / f"{mode}-{name}")}
            train(make_config(run))
    processes.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
