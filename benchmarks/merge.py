"""Merging base and delta: block by block here, against two models held in memory as the original does it.

Both sides run in processes of their own, turn about, on a made-up pair with the shapes of LLaMA-7B and few layers; the
clock starts after imports. `ratio` is the two-model time over ours, `limit_fraction` the time of copying the delta's
file over ours, `parts` the seconds and the most memory that each process held for itself (file pages apart).

    python benchmarks/merge.py [--quick] [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from safetensors.torch import save_file

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_attention_heads": 32,
    "num_hidden_layers": 1,
    "vocab_size": 32000,
    "rms_norm_eps": 1e-6,
    "mm_vision_tower": "openai/clip-vit-large-patch14",
    "mm_use_im_start_end": True,
    "use_mm_proj": True,
}
ADDED = {"<im_patch>": 32000, "<im_start>": 32001, "<im_end>": 32002}


def shapes(config: dict[str, Any], rows: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a LLaMA of these sizes."""
    wide, inner = config["hidden_size"], config["intermediate_size"]
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (rows, wide), "lm_head.weight": (rows, wide)}
    found["model.norm.weight"] = (wide,)
    for layer in range(config["num_hidden_layers"]):
        start = f"model.layers.{layer}."
        found |= {f"{start}self_attn.{name}_proj.weight": (wide, wide) for name in "qkvo"}
        found |= {f"{start}mlp.{name}_proj.weight": (inner, wide) for name in ("gate", "up")}
        found[f"{start}mlp.down_proj.weight"] = (wide, inner)
        found |= {f"{start}{name}_layernorm.weight": (wide,) for name in ("input", "post_attention")}
    return found


def make_pair(place: Path, config: dict[str, Any]) -> tuple[Path, Path]:
    """A base and a delta with made-up values, in folders with what belongs to them."""
    generator = torch.Generator().manual_seed(0)
    base = place / "base"
    delta = place / "delta"
    parts, differences = {}, {}
    for name, shape in shapes(config, 32000).items():
        parts[name] = (torch.randn(shape, generator=generator) / 50).half()
        tuned = (parts[name] + parts[name].roll(1, 0) / 20).half()
        differences[name] = tuned - parts[name]
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        differences[name] = torch.cat([differences[name], parts[name][:3]])
    wide = config["hidden_size"]
    differences |= {"model.mm_projector.weight": torch.ones(wide, 1024).half()}
    differences |= {"model.mm_projector.bias": torch.ones(wide).half()}
    for folder, tensors, rows in ((base, parts, 32000), (delta, differences, 32003)):
        write_settings(folder, {**config, "vocab_size": rows})
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return base, delta


def write_settings(folder: Path, config: dict[str, Any]) -> None:
    """config.json and the tokenizer files, with a sentencepiece model learnt on the spot."""
    import io

    import sentencepiece

    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "added_tokens.json").write_text(json.dumps(ADDED))
    model = io.BytesIO()
    words = (f"word{number} and {number * 7919 % 1000}" for number in range(500))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=words, model_writer=model, vocab_size=320, model_type="bpe", byte_fallback=True, minloglevel=2
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())


def merge_ours(base: Path, delta: Path, target: Path) -> float:
    from cxrgen.llava_med.merge_weights import merge

    start = time.monotonic()
    merge(str(base), str(delta), target, "original")
    return time.monotonic() - start


def merge_two_models(base: Path, delta: Path, target: Path) -> float:
    """Two whole models, their tensors added one by one, one of them saved."""
    from torch import nn
    from transformers import LlamaConfig, LlamaForCausalLM

    class WithProjector(LlamaForCausalLM):  # type: ignore[misc]
        def __init__(self, config: LlamaConfig) -> None:
            super().__init__(config)
            self.model.mm_projector = nn.Linear(1024, config.hidden_size)

    start = time.monotonic()
    first = LlamaForCausalLM.from_pretrained(base, dtype=torch.float16)
    second = WithProjector.from_pretrained(delta, dtype=torch.float16)
    for name, value in second.state_dict().items():
        if "mm_projector" not in name:
            ours = first.state_dict()[name]
            value.data[: ours.shape[0]] += ours.data
    second.save_pretrained(target)
    return time.monotonic() - start


SIDES = {"ours": merge_ours, "two_models": merge_two_models}


def run_side(side: str, base: Path, delta: Path, target: Path) -> tuple[float, float]:
    """Seconds, and the most gigabytes of its own that the process held; the result is removed."""
    code = [sys.executable, __file__, "--side", side, str(base), str(delta), str(target)]
    with subprocess.Popen(code, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        peak, _ = watch(process)
        output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{side} failed")
    shutil.rmtree(target)
    return float(output.split()[-1]), peak / 1e9


def watch(process: subprocess.Popen[str]) -> tuple[int, int]:
    """The most bytes of anonymous memory and of file pages that a process held, looked at every 10 ms."""
    peaks = [0, 0]
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        try:
            lines = status.read_text().splitlines()
        except OSError:
            break
        for number, key in enumerate(("RssAnon:", "RssFile:")):
            for line in lines:
                if line.startswith(key):
                    peaks[number] = max(peaks[number], int(line.split()[1]) * 1024)
        threading.Event().wait(0.01)
    process.wait()
    return peaks[0], peaks[1]


def copy_file(source: Path, target: Path) -> float:
    start = time.monotonic()
    shutil.copyfile(source, target)
    with open(target, "rb+") as file:
        os.fsync(file.fileno())
    seconds = time.monotonic() - start
    target.unlink()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="narrow tensors, one round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--side", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        side, *paths = options.side
        print(SIDES[side](*map(Path, paths)))
        return
    config = {**CONFIG, "hidden_size": 1024, "intermediate_size": 2752, "num_attention_heads": 8}
    config = config if options.quick else CONFIG
    seconds: dict[str, list[float]] = {"ours": [], "two_models": [], "copy": []}
    memory: dict[str, list[float]] = {"ours": [], "two_models": []}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        base, delta = make_pair(place, config)
        size = sum((folder / "model.safetensors").stat().st_size for folder in (base, delta)) / 1e9
        for _ in range(1 if options.quick else options.rounds):
            for side in SIDES:
                took, held = run_side(side, base, delta, place / "out")
                seconds[side].append(took)
                memory[side].append(held)
            seconds["copy"].append(copy_file(delta / "model.safetensors", place / "copy"))
    middle = {name: median(values) for name, values in seconds.items()}
    parts = {f"{name}_seconds": round(value, 3) for name, value in middle.items()}
    parts |= {f"{name}_own_memory_gb": round(max(values), 3) for name, values in memory.items()}
    result = {
        "name": "merge",
        "ratio": round(middle["two_models"] / middle["ours"], 3),
        "parts": {**parts, "pair_gb": round(size, 2)},
        "limit_fraction": round(middle["copy"] / middle["ours"], 3),
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "torch": torch.__version__},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
