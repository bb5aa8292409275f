"""What a plan assumes and a CPU cannot show, measured on one GPU in about ten minutes, without any download.

LLaVA-7B in its true size with random weights: training of the projector and of low-rank adapters in bfloat16, adapters
over four bits, full training with an optimiser state of 8 bits where it fits; memory beside that of `cxrgen plan`,
positions a second, and the share of the GPU's peak of matrix products. Then reports at a batch of 1, 16 and 64 beside
`model.generate` of transformers. Before all that `cxrgen doctor --gpu`.

Each part is a process of its own with a limit of time, so that one that fails or hangs costs only itself. Results go to
gpu_check.json and gpu_check.md (the table for docs/results.md) in --out. `--cpu` runs every part with tiny sizes, to
show that the script works.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from cxrgen.core.records import FRONTAL, Conversation, Study, View
from cxrgen.doctor.gpu import gpu_checks
from cxrgen.generate.decoding.decode import write_reports
from cxrgen.model.batches import IGNORE, Sample, collate
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.conversation import Format, encode_prompt
from cxrgen.model.quantization import quantization
from cxrgen.model.tiny import learn_tokenizer
from cxrgen.text.prompts import study_conversation
from cxrgen.train.config import make_config
from cxrgen.train.gpus import DEVICES
from cxrgen.train.plan import Plan, make_plan
from cxrgen.train.planned_run import material_of
from cxrgen.train.trainable import hold_in_bf16, set_trainable
from cxrgen.train.trainer import Callback, FitSettings, FitState, StepRecord, fit

LENGTH, LEARNT, IMAGES, STEPS = 700, 80, 1, 8  # of a sample; optimiser steps
WRITTEN = 64  # tokens of a report
BATCHES = {"projector": 8, "lora": 8, "qlora": 8, "full": 1}


def sizes(tiny: bool) -> LlavaConfig:
    """LLaVA-7B: LLaMA 7B and CLIP ViT-L/14 at 336 pixels; or the same in miniature."""
    wide, layers, heads, vocabulary = (64, 2, 2, 400) if tiny else (4096, 32, 32, 32003)
    text = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=wide,
        intermediate_size=11008 * wide // 4096,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=4096,
        pad_token_id=0,
    )
    vision = CLIPVisionConfig(
        hidden_size=32 if tiny else 1024,
        intermediate_size=64 if tiny else 4096,
        num_hidden_layers=3 if tiny else 24,
        num_attention_heads=2 if tiny else 16,
        image_size=28 if tiny else 336,
        patch_size=14,
    )
    side = (vision.image_size // vision.patch_size) ** 2
    return LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=3, image_seq_length=side, vision_feature_layer=-2
    )


def samples(config: LlavaConfig, count: int) -> list[Sample]:
    tokens = config.image_seq_length
    length = tokens + 124 if config.text_config.hidden_size > 64 else tokens + 40
    ids = [3] * tokens + [5 + number % 300 for number in range(length - tokens)]
    learnt = min(LEARNT, length - tokens - 4)
    labels = [IGNORE] * (length - learnt) + ids[-learnt:]
    return [Sample(f"{number}", ids, labels, ("image",) * IMAGES) for number in range(count)]


def planned(config: LlavaConfig, mode: str, batch: int, again: bool, optim: str) -> Plan:
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(config)
    settings = make_config(
        data_path="set",
        model_name_or_path="model",
        train_modules=mode,
        bf16=True,
        gradient_checkpointing=again,
        per_device_train_batch_size=batch,
        optim=optim,
        save_strategy="no",
        max_steps=STEPS,
    )
    material = material_of(model, samples(config, 2 * batch), config.image_seq_length)
    return make_plan(settings, material, gpu_name(), 1, 0.0)


def gpu_name() -> str:
    """The row of this GPU in the table of devices; an H100's where there is none."""
    found = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return next((name for name in sorted(DEVICES, key=len, reverse=True) if name.split("-")[0] in found), "H100")


class Clock(Callback):
    """When each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, state: FitState, record: StepRecord) -> bool:
        if state.processes.device.type == "cuda":
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
        return False


def train_part(mode: str, tiny: bool) -> dict[str, Any]:
    """A few steps: memory and speed, with the plan's beside them."""
    config, batch, device = sizes(tiny), 2 if tiny else BATCHES[mode], "cpu" if tiny else "cuda"
    optim = "adamw_8bit" if mode == "full" and not tiny else "adamw_torch"
    modules = "projector+llm" if mode == "full" else mode
    again = mode == "full"
    plan = planned(config, modules, batch, again, optim)
    if not tiny and plan.peak.amount > torch.cuda.get_device_properties(0).total_memory:
        return {"skipped": f"the plan says {plan.peak.amount / 1e9:.0f} GB"}
    model = quantised(config) if mode == "qlora" else on_device(config, device)
    settings = {"lora_dropout": 0.0, "gradient_checkpointing": again}
    set_trainable(model, make_config(train_modules=modules, **settings).trainable)
    if not tiny:
        hold_in_bf16(model)
    side = config.vision_config.image_size
    data = collate(samples(config, batch), 0, lambda _: torch.zeros(3, side, side))
    clock = Clock()
    losses = fit(model, [data] * STEPS, FitSettings(STEPS, 1e-5, train=None, bf16=not tiny, optimizer=optim), clock)
    seconds = median(after - before for before, after in zip(clock.ends[1:], clock.ends[2:]))
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    operations = plan.operations
    return {
        "batch": f"{batch} x {data['input_ids'].shape[1]}",
        "peak_gb": round(peak / 1e9, 2),
        "planned_gb": round(plan.peak.amount / 1e9, 2),
        "positions_per_second": round(data["input_ids"].numel() / seconds, 1),
        "planned_positions_per_second": round(plan.tokens / plan.step_seconds, 1),
        "share_of_peak": round(operations / seconds / plan.device.products, 4),
        "loss": [round(losses[0], 4), round(losses[-1], 4)],
    }


def on_device(config: LlavaConfig, device: str) -> Any:
    with torch.device(device):
        return LlavaForConditionalGeneration(config)


def quantised(config: LlavaConfig) -> Any:
    """The model in four bits, from a folder of random weights in bfloat16, as a run reads it."""
    how = quantization(4, torch.bfloat16, "qlora")
    with tempfile.TemporaryDirectory() as folder:
        on_device(config, "cuda").to(torch.bfloat16).save_pretrained(folder)
        torch.cuda.empty_cache()
        return LlavaForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, quantization_config=how, device_map={"": 0}
        )


def generate_part(tiny: bool) -> dict[str, Any]:
    """Tokens a second of the refilling engine and of `model.generate`, reports of the same length, greedy."""
    config, device = sizes(tiny), "cpu" if tiny else "cuda"
    tokenizer = learn_tokenizer(["The heart is large. USER: ASSISTANT: Write the report."] * 5, 320)
    side = config.vision_config.image_size
    images = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    processor = LlavaProcessor(image_processor=images, tokenizer=tokenizer, patch_size=14)
    model = on_device(config, device).to(torch.float32 if tiny else torch.bfloat16).eval()
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = 0, None
    checkpoint = Checkpoint(model, processor, Format(template="plain", image_tokens=config.image_seq_length))
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for batch in (1, 2) if tiny else (1, 16, 64):
            studies = conversations(folder, max(batch, 2))
            tokens = (4 if tiny else WRITTEN) * len(studies)
            for label, write in (("ours", ours), ("transformers", theirs)):
                write(checkpoint, studies[:1], folder, 1)
                start = time.perf_counter()
                write(checkpoint, studies, folder, batch)
                found[f"{label}_{batch}"] = round(tokens / (time.perf_counter() - start), 1)
    return found


def conversations(folder: Path, count: int) -> list[Conversation]:
    """Studies of one image each, all asked alike."""
    found = []
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        found.append(study_conversation(Study(f"{number}", "", views=(View(f"{number}.png", FRONTAL),))))
    return found


def length_of(checkpoint: Checkpoint) -> int:
    return WRITTEN if checkpoint.model.device.type == "cuda" else 4


def ours(checkpoint: Checkpoint, studies: Sequence[Conversation], folder: Path, batch: int) -> None:
    length, end = length_of(checkpoint), checkpoint.tokenizer.eos_token_id

    def choose(logits: torch.Tensor, _: Sequence[str], steps: Sequence[int]) -> list[int]:
        logits[:, end] = -torch.inf
        chosen: list[int] = logits.argmax(dim=-1).tolist()
        return [end if step == length - 1 else token for token, step in zip(chosen, steps)]

    for _ in write_reports(checkpoint, list(studies), folder, batch, length, choose):
        pass


def theirs(checkpoint: Checkpoint, studies: Sequence[Conversation], folder: Path, batch: int) -> None:
    model, length = checkpoint.model, length_of(checkpoint)
    side = model.config.vision_config.image_size
    for start in range(0, len(studies), batch):
        some = studies[start : start + batch]
        ids = torch.tensor([encode_prompt(each.turns, checkpoint.tokenizer, checkpoint.format) for each in some])
        model.generate(
            input_ids=ids.to(model.device),
            attention_mask=torch.ones_like(ids).to(model.device),
            pixel_values=torch.zeros(len(some), 3, side, side, device=model.device, dtype=model.dtype),
            max_new_tokens=length,
            min_new_tokens=length,
            do_sample=False,
        )


def doctor_part(_: bool) -> dict[str, Any]:
    return {outcome.name: f"{outcome.result}: {outcome.detail}" for outcome in gpu_checks()}


PARTS: dict[str, tuple[int, Callable[[bool], dict[str, Any]]]] = {  # seconds, and what is run
    "doctor": (120, doctor_part),
    "projector": (100, lambda tiny: train_part("projector", tiny)),
    "lora": (100, lambda tiny: train_part("lora", tiny)),
    "qlora": (120, lambda tiny: {"skipped": "needs a GPU"} if tiny else train_part("qlora", tiny)),
    "full, 8-bit optimiser": (100, lambda tiny: train_part("full", tiny)),
    "generation": (120, generate_part),
}


def run_part(name: str, tiny: bool) -> dict[str, Any]:
    """A part in a process of its own: its results, or why there are none."""
    words = [sys.executable, __file__, "--part", name, *(["--cpu"] if tiny else [])]
    start = time.monotonic()
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=PARTS[name][0])
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        errors = [line for line in done.stderr.splitlines() if line.strip()] or ["no result"]
        found: dict[str, Any] = json.loads(lines[-1]) if lines and not done.returncode else {"failed": errors[-1]}
    except subprocess.TimeoutExpired:
        found = {"failed": f"not done in {PARTS[name][0]} s"}
    return {**found, "seconds": round(time.monotonic() - start, 1)}


def as_table(record: dict[str, Any]) -> str:
    """Markdown for docs/results.md."""
    lines = [f"{record['gpu']}, torch {record['torch']}, {record['date']}", "", "| part | result |", "|---|---|"]
    for name, found in record["parts"].items():
        shown = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in found.items() if key != "seconds")
        lines.append(f"| {name} | {shown} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu_check"), help="folder for the results")
    parser.add_argument("--cpu", action="store_true", help="tiny sizes on the processor")
    parser.add_argument(
        "--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="which parts; default: all"
    )
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part][1](options.cpu)))
        return 0
    if not (options.cpu or torch.cuda.is_available()):
        print("gpu_check: no CUDA device here; --cpu runs it with tiny sizes", file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {
        "schema": 1,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU {platform.machine()}",
        "device_row": asdict(DEVICES[gpu_name()]),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "parts": {},
    }
    for name in options.parts:
        record["parts"][name] = run_part(name, options.cpu)
        print(f"{name}: {record['parts'][name]}", file=sys.stderr)
        (options.out / "gpu_check.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
        (options.out / "gpu_check.md").write_text(as_table(record), encoding="utf-8")
    print(options.out / "gpu_check.json")
    return 0 if not any("failed" in found for found in record["parts"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
