"""Main memory of each of two sharded processes while a model is opened: ours against reading it in both.

Two gloo processes open a checkpoint in float16 and shard it over themselves (FSDP2) to train in float32. Ours is
`start_model`, as every run opens its model: the first process reads and sends one layer at a time. In the reference
both read the whole model and keep their shards. Bytes are each process's own memory beyond that before opening, at its
peak, without pages of mapped files. `ratio` is the reference's peak over ours in the second process; `parts` has both
processes, and the size of the model in float32.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import torch
from saving import Peak, two_processes

from cxrgen.model.checkpoint import write_checkpoint
from cxrgen.train.config import TrainConfig, make_config
from cxrgen.train.distributed import Processes, init_processes, wrap_model
from cxrgen.train.init_model import init_model
from cxrgen.train.model_config import ModelConfig, TinyModelConfig
from cxrgen.train.start_model import configured_model, start_model
from cxrgen.train.trainable import mark_trainable

SIDES = ("ours", "both")


def write_model(folder: Path, width: int) -> int:
    """A checkpoint in float16; returns its bytes in float32."""
    sizes = TinyModelConfig(image_size=32, layers=6, hidden_size=width)
    checkpoint = init_model(ModelConfig(), sizes, ["The heart is large."] * 3)
    checkpoint.model.half()
    write_checkpoint(folder, checkpoint)
    return sum(4 * each.numel() for each in checkpoint.model.parameters())


def opened(side: str, config: TrainConfig, processes: Processes) -> Any:
    """The model, sharded and ready to be trained."""
    if side == "ours":
        checkpoint, _ = start_model(config, [], Path("start"), False, processes)
    else:
        checkpoint = configured_model(config)
    mark_trainable(checkpoint, config.trainable)
    return wrap_model(checkpoint.model, processes, "fsdp")


def process(folder: str, side: str) -> None:
    """One of the two processes; the first prints the peaks of both."""
    torch.set_num_threads(1)
    processes = init_processes()
    config = make_config(model_name_or_path=folder, train_modules="full", fsdp="full_shard")
    processes.barrier()
    with Peak() as peak:
        opened(side, config, processes)
        processes.barrier()
    peaks = processes.all_gather(peak.most)
    if processes.is_main:
        print(json.dumps({"peaks": peaks}))
    processes.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smaller model")
    parser.add_argument("--process", nargs=2, metavar=("FOLDER", "SIDE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process:
        process(*options.process)
        return
    with tempfile.TemporaryDirectory() as folder:
        size = write_model(Path(folder) / "model", 512 if options.quick else 1024)
        peaks = {side: two_processes(__file__, "--process", f"{folder}/model", side)["peaks"] for side in SIDES}
    parts = {"model_mb": round(size / 1e6)}
    for rank in range(2):
        parts |= {f"{side}_rank{rank}_mb": round(peaks[side][rank] / 1e6) for side in SIDES}
    record = {
        "name": "opening",
        "ratio": round(peaks["both"][1] / max(1, peaks["ours"][1]), 2),
        "parts": parts,
        "limit_fraction": None,
        "machine": {"cpus": os.cpu_count(), "threads": 1, "processor": platform.processor()},
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
