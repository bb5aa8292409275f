"""Host memory of each of two sharded processes while a checkpoint is saved: ours against gathering it everywhere.

Two gloo processes shard a language model over themselves (FSDP2), take one step, and save. Ours is `save_checkpoint`,
which gathers one tensor at a time and writes it from the first process. The reference gathers every tensor in every
process before the first one writes. Bytes are each process's own memory beyond that before saving, at its peak, without
pages of mapped files. `ratio` is the reference's peak over ours in the second process, which writes nothing; `parts`
has both processes, and the size of the checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from cxrgen.llava_med.lazy_tensors import memory_in_use
from cxrgen.model.tiny import NewModel, new_model
from cxrgen.train.checkpoints import save_checkpoint
from cxrgen.train.distributed import full_tensor, init_processes
from cxrgen.train.trainer import Callback, FitSettings, FitState, StepRecord, fit


class Peak:
    """The most memory of its own that this process has while the context is open, beyond that at its start."""

    def __enter__(self) -> Peak:
        self.most = 0
        self._before, self._open = memory_in_use()[0], True
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while self._open:
            self.most = max(self.most, memory_in_use()[0] - self._before)
            time.sleep(0.001)

    def __exit__(self, *_: object) -> None:
        self._open = False
        self._thread.join()


def gather_everywhere(folder: Path, state: FitState) -> None:
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in state.model.named_parameters():
        if parameter.requires_grad:
            tensors[name] = full_tensor(parameter).clone()
            for moment in ("exp_avg", "exp_avg_sq"):
                tensors[f"{name}/{moment}"] = full_tensor(state.optimizer.state[parameter][moment]).clone()
    if state.processes.is_main:
        save_file(tensors, folder / "reference.safetensors")
    state.processes.barrier()


class Saves(Callback):
    """Saves both ways after the first step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.peaks: dict[str, int] = {}

    def on_step_end(self, state: FitState, record: StepRecord) -> bool:
        sides: dict[str, Callable[[], object]] = {
            "ours": lambda: save_checkpoint(self.folder, state, {}, {}),
            "everywhere": lambda: gather_everywhere(self.folder, state),
        }
        for name, save in sides.items():
            state.processes.barrier()
            with Peak() as peak:
                save()
            self.peaks[name] = peak.most
        return True


def process(folder: Path, width: int) -> None:
    """One of the two processes: prints its peaks."""
    torch.set_num_threads(1)
    model, _ = new_model(NewModel(image_size=32, layers=6, hidden_size=width), ["The heart is large."] * 3, seed=0)
    ids = torch.arange(5, 37)[None]
    batch = {"input_ids": ids, "labels": ids.clone(), "attention_mask": torch.ones_like(ids)}
    saves = Saves(folder)
    fit(model, [batch] * 2, FitSettings(2, 1e-4, train=("model.language_model",), distribution="fsdp"), saves)
    processes = init_processes()
    peaks = processes.all_gather(saves.peaks)
    if processes.is_main:
        size = sum(file.stat().st_size for file in folder.glob("checkpoint-1/*.safetensors"))
        print(json.dumps({"peaks": peaks, "checkpoint": size}))
    processes.shutdown()


def two_processes(script: str, *words: object) -> dict[str, Any]:
    """The line of JSON that a script prints which runs in two processes, each on one thread."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", script]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_TRIM_THRESHOLD_": "0"}
    done = subprocess.run([*command, *map(str, words)], capture_output=True, text=True, env=environment)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def compare(width: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return two_processes(__file__, "--process", folder, width)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smaller model")
    parser.add_argument("--process", nargs=2, metavar=("FOLDER", "WIDTH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process:
        process(Path(options.process[0]), int(options.process[1]))
        return
    found = compare(512 if options.quick else 1024)
    parts = {"checkpoint_mb": round(found["checkpoint"] / 1e6)}
    for rank, peaks in enumerate(found["peaks"]):
        parts |= {f"{name}_rank{rank}_mb": round(peak / 1e6) for name, peak in peaks.items()}
    second = found["peaks"][1]
    record = {
        "name": "saving",
        "ratio": round(second["everywhere"] / max(1, second["ours"]), 2),
        "parts": parts,
        "limit_fraction": None,
        "machine": {"cpus": os.cpu_count(), "threads": 1, "processor": platform.processor()},
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
