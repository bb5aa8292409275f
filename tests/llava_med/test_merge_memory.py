"""Memory of a merge with the tensor shapes of LLaMA-7B. The pair is files of zeros that take no room on the disk."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.merge import CONFIG, shapes, watch, write_settings


def write_zeros(folder: Path, tensors: dict[str, tuple[int, ...]]) -> None:
    """A safetensors file of float16 zeros, its data being a hole."""
    header, place = {}, 0
    for name, shape in tensors.items():
        size = 2
        for length in shape:
            size *= length
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + place)


@pytest.mark.slow
def test_a_merge_of_7b_shapes_stays_below_1_2_gb(tmp_path: Path) -> None:
    config = {**CONFIG, "num_hidden_layers": 2}
    for name, rows in (("base", 32000), ("delta", 32003)):
        write_settings(tmp_path / name, {**config, "vocab_size": rows})
        tensors = shapes(config, rows)
        if name == "delta":
            tensors |= {"model.mm_projector.weight": (4096, 1024), "model.mm_projector.bias": (4096,)}
        write_zeros(tmp_path / name, tensors)
    command = [sys.executable, "-m", "cxrgen", "merge", "--layout", "original", "--target", str(tmp_path / "out")]
    command += ["--base", str(tmp_path / "base"), "--delta", str(tmp_path / "delta")]
    try:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            own, _ = watch(process)
            said = process.stderr.read() if process.stderr else ""
        assert process.returncode == 0, said
        assert (tmp_path / "out/model.safetensors").stat().st_size > 1.3e9
    finally:
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
    assert 0 < own < 1.2e9
    told = re.search(r"peak memory ([\d.]+) GB of its own, ([\d.]+) GB of mapped file pages", said)
    assert told is not None
    assert float(told[1]) == pytest.approx(own / 1e9, abs=0.15)
    assert float(told[2]) > 1
