"""`cxrgen plan --gpus cpu` against the runs that it plans: peak memory and seconds of a step, whole training and LoRA.

Each run is a process of its own on synthetic studies. Memory is its peak beyond that of a run of a model so small that
only Python, torch and the data are left of it. What freed tensors held goes back to the system at once; glibc's malloc
else keeps a part, and a run needs up to a quarter more than its tensors, another share each time. Time is that of a
computed position after the first two steps. `ratio` is the worst of the measured values over the planned ones,
whichever way it is off (1 is exact); `parts` has each.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cxrgen.cli import main as cxrgen

_SIZES = {"quick": (4, 384), "whole": (12, 576)}
_MODES = ("projector+llm", "lora")


def words(data: Path, mode: str, base: Path | None, layers: int, width: int, steps: int) -> list[str]:
    """Recipe flags that training and plan share."""
    flags: dict[str, Any] = {"data_path": data, "train_modules": mode, "max_steps": steps, "save_strategy": "no"}
    flags |= {"per_device_train_batch_size": 8, "lora_rank": 16, "lora_dropout": 0.0, "threads": 1}
    if base:
        flags["model_name_or_path"] = base
    else:
        flags |= {"layers": layers, "hidden_size": width, "heads": width // 64, "vocabulary": 4000, "image_size": 64}
    return [part for name, value in flags.items() for part in (f"--{name}", str(value))]


def trained(flags: list[str], out: Path) -> tuple[float, float]:
    """Peak bytes of the process and seconds of a position."""
    command = [sys.executable, "-m", "cxrgen", "train", *flags, "--output_dir", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "262144"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    tokens = [line["tokens"] for line in lines[2:]]
    seconds = sum(line["tokens"] / line["tokens_per_second"] for line in lines[2:])
    return lines[-1]["memory_gb"] * 1e9, seconds / sum(tokens)


def planned(flags: list[str]) -> tuple[float, float]:
    """Bytes and seconds of a position that the plan says, without Python and data."""
    command = [sys.executable, "-m", "cxrgen", "plan", *flags, "--gpus", "cpu", "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    record = json.loads(done.stdout)
    return record["peak_bytes"], record["seconds_a_step"] / record["positions_a_step"]


def compare(folder: Path, layers: int, width: int, steps: int) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        assert cxrgen(["phantom", "--out", str(folder / "raw"), "--studies", "80", "--test-studies", "8"]) == 0
        assert cxrgen(["prepare", str(folder / "raw"), "--out", str(folder / "set"), "--size", "128"]) == 0
    parts: dict[str, float] = {}
    for mode in _MODES:
        small_base, base = (folder / f"small-{_MODES[0]}", folder / _MODES[0]) if mode == "lora" else (None, None)
        small, _ = trained(words(folder / "set", mode, small_base, 1, 64, 3), folder / f"small-{mode}")
        flags = words(folder / "set", mode, base, layers, width, steps)
        memory, seconds = planned(flags)
        peak, measured = trained(flags, folder / mode)
        parts |= {f"{mode}_memory": round((peak - small) / memory, 3), f"{mode}_time": round(measured / seconds, 3)}
        parts |= {f"{mode}_megabytes": round((peak - small) / 1e6)}
        parts |= {f"{mode}_positions_a_second": round(1 / measured)}
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smaller model, fewer steps")
    options = parser.parse_args()
    layers, width = _SIZES["quick" if options.quick else "whole"]
    with tempfile.TemporaryDirectory() as folder:
        parts = compare(Path(folder), layers, width, 6 if options.quick else 12)
    ratios = [value for name, value in parts.items() if name.endswith(("_memory", "_time"))]
    record = {
        "name": "plan",
        "ratio": max(ratios, key=lambda value: max(value, 1 / value)),
        "parts": parts,
        "limit_fraction": None,
        "machine": {"cpus": os.cpu_count(), "threads": 1, "processor": platform.processor()},
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
