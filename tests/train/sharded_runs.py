"""Short sharded runs in one set of processes: `torchrun -m tests.train.sharded_runs BASE DATA OUT`.

Bfloat16 also where the processor has to imitate it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from cxrgen.train import stages
from cxrgen.train.config import make_config
from cxrgen.train.distributed import init_processes
from cxrgen.train.pipeline import train

VALIDATED = {"eval_strategy": "steps", "eval_steps": 2, "eval_studies": 5, "eval_max_new_tokens": 6}
TWICE = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}
RUNS: dict[str, dict[str, Any]] = {
    "ddp": {**VALIDATED},
    "fsdp": {**VALIDATED, "fsdp": "full_shard"},
    "whole gradients": {"fsdp": "full_shard", **TWICE},
    "sharded gradients": {"fsdp": "full_shard", "shard_gradients": True, **TWICE},
    "bf16 ddp": {**VALIDATED, "bf16": True},
    "bf16": {**VALIDATED, "fsdp": "full_shard", "bf16": True},
    "bf16 lora": {"fsdp": "full_shard", "bf16": True, "train_modules": "lora", "mm_use_im_start_end": True},
    "bf16 projector": {"fsdp": "full_shard", "bf16": True, "train_modules": "projector", "mm_use_im_start_end": True},
    "bf16 features": {"fsdp": "full_shard", "bf16": True, "cache_features": True},
    "bf16 full": {"fsdp": "full_shard", "bf16": True, "train_modules": "full", "shard_gradients": True, **TWICE},
}


def main(base: str, data: str, out: str) -> None:
    stages._has_bf16 = lambda: True
    processes = init_processes()
    settings = {"model_name_or_path": base, "data_path": data, "version": "v1", "learning_rate": 1e-3}
    settings |= {"max_steps": 2, "per_device_train_batch_size": 2, "lora_dropout": 0.0, "save_steps": 2}
    for name, changes in RUNS.items():
        train(make_config({**settings, **changes, "output_dir": str(Path(out) / name)}))
    processes.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
