"""A training epoch: cxrgen's main stage against a plain loop, on the same samples, full training and LoRA.

Ours is `train_on_images` as a run calls it: features of the frozen vision encoder computed once (their time included),
batches grouped by length, the head at supervised positions only, `fit` itself. The reference is what a good
practitioner does: a plain loop over batches grouped by length, padded to their longest, the vision encoder in every
step, logits at every position. `parts` has the original's way too (random batches), and later epochs, which have their
features already. All sides take the same samples, optimiser, clipping and number of steps. The model has the shape of
SmolLM2-135M (`--quick`: three of its layers) and random weights, with a CLIP encoder; reports have lengths drawn from
Open-I's. `limit_fraction` is the time of ours' matrix products at the speed that this machine reaches on one large
product, over the time that ours took.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from cxrgen.core.progress import say
from cxrgen.model.batches import IGNORE, Sample, batch_order, collate
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.conversation import Format
from cxrgen.model.pixels import image_pixels
from cxrgen.train import stages
from cxrgen.train.config import DataConfig, TrainableConfig
from cxrgen.train.data import SamplerConfig
from cxrgen.train.distributed import init_processes
from cxrgen.train.trainable import set_trainable
from cxrgen.train.trainer import Callback, FitSettings

# Tokens of Open-I's findings and impressions, at every 5 % of the reports.
LENGTHS = (15, 25, 28, 30, 33, 35, 38, 40, 42, 43, 45, 48, 49, 53, 57, 62, 67, 73, 81, 97, 272)
IMAGE, IMAGE_TOKENS, PROMPT, BATCH, SIDE, RATE = 49151, 49, 20, 8, 112, 1e-5
Batches = list[list[int]]


def small(layers: int) -> Any:
    torch.manual_seed(0)
    text = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
        pad_token_id=0,
    )
    encoder = CLIPVisionConfig(
        hidden_size=384,
        intermediate_size=1536,
        num_hidden_layers=6,
        num_attention_heads=6,
        image_size=SIDE,
        patch_size=16,
    )
    config = LlavaConfig(vision_config=encoder, text_config=text, image_token_index=IMAGE, tie_word_embeddings=True)
    return LlavaForConditionalGeneration(config)


def opened(layers: int) -> Checkpoint:
    images = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    processor = SimpleNamespace(tokenizer=SimpleNamespace(pad_token_id=0), image_processor=images)
    return Checkpoint(small(layers), processor, Format(image_tokens=IMAGE_TOKENS))


def studies(folder: Path, count: int) -> list[Sample]:
    generator = np.random.default_rng(1)
    made = []
    for number in range(count):
        answer = generator.integers(5, 49000, generator.choice(LENGTHS)).tolist()
        prompt = [1, *[IMAGE] * IMAGE_TOKENS, *range(5, 5 + PROMPT)]
        image = generator.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"{number}.png")
        labels = (*[IGNORE] * len(prompt), *answer)
        made.append(Sample(str(number), (*prompt, *answer), labels, (f"{number}.png",)))
    return made


def ours(checkpoint: Checkpoint, samples: list[Sample], folder: Path) -> float:
    """One epoch of the main stage; returns the seconds that its features took."""
    sampler = SamplerConfig(BATCH)
    stage = stages.Stage(
        checkpoint,
        DataConfig(cache_features=True, features_in="memory", dataloader_num_workers=0),
        sampler,
        init_processes(),
        folder,
    )
    settings = FitSettings(len(samples) // BATCH, RATE, schedule="constant", train=None)
    variants = [[sample] for sample in samples]
    compute, taken = stages.cached_features, [0.0]

    def timed(
        checkpoint: Checkpoint, samples: Sequence[Sequence[Sample]], folder: Path
    ) -> Callable[[str], torch.Tensor]:
        start = time.perf_counter()
        features = compute(checkpoint, samples, folder)
        taken[0] = time.perf_counter() - start
        return features

    stages.cached_features = timed
    try:
        stages.train_on_images(stage, variants, settings, folder, Callback())
    finally:
        stages.cached_features = compute
    return taken[0]


def plain(checkpoint: Checkpoint, samples: list[Sample], folder: Path, batches: Batches) -> None:
    """The reference's epoch: a forward pass of everything, then the optimiser."""
    model, images = checkpoint.model, checkpoint.processor.image_processor
    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE)
    model.train()
    for batch in batches:
        inputs = collate(
            [samples[index] for index in batch],
            0,
            lambda name: image_pixels([folder / name], images, checkpoint.format)[0],
        )
        model(**{name: value for name, value in inputs.items() if name != "ids"}, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()


def compare(mode: str, layers: int, steps: int) -> dict[str, float]:
    """The loops' times over ours for the same samples, and ours' part of what the machine could do."""
    checkpoint = opened(layers)
    set_trainable(checkpoint.model, TrainableConfig(mode, lora_dropout=0.0))
    times: dict[str, float] = {}
    features = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples = studies(folder, BATCH * steps)
        grouped = batch_order([len(each.input_ids) for each in samples], BATCH, seed=0, epoch=0)
        random: Batches = np.random.default_rng(0).permutation(len(samples)).reshape(-1, BATCH).tolist()
        sides: dict[str, Callable[[], float | None]] = {
            "ours": lambda: ours(checkpoint, samples, folder),
            "grouped": lambda: plain(checkpoint, samples, folder, grouped),
            "random": lambda: plain(checkpoint, samples, folder, random),
        }
        ours(checkpoint, samples[:BATCH], folder)  # the first step of each allocates
        plain(checkpoint, samples, folder, grouped[:1])
        for side, run in sides.items():
            start = time.perf_counter()
            seconds = run()
            times[side] = time.perf_counter() - start
            features += seconds or 0.0
    least = products(checkpoint.model, samples, mode) / product_rate()
    later = times["ours"] - features
    return {
        "ratio": round(times["grouped"] / times["ours"], 3),
        "later_epochs": round(times["grouped"] / later, 3),
        "original": round(times["random"] / times["ours"], 3),
        "limit_fraction": round(least / later, 3),
    }


def products(model: Any, samples: list[Sample], mode: str) -> float:
    """Floating-point operations of the matrices that ours needs: layers at every token, the head at learnt ones."""
    layers = sum(each.numel() for name, each in model.named_parameters() if "layers" in name and "language" in name)
    head = model.get_output_embeddings().weight.numel()
    tokens = sum(len(each.input_ids) for each in samples)
    learnt = sum(label != IGNORE for each in samples for label in each.labels)
    passes = 6 if mode != "lora" else 4  # frozen matrices have no gradient of their own
    return float(passes * (layers * tokens + head * learnt))


def product_rate() -> float:
    left, right = torch.randn(1024, 1536), torch.randn(1536, 1024)
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - start)
    return 2 * 1024 * 1536 * 1024 / best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer layers")
    options = parser.parse_args()
    layers = 3 if options.quick else 30
    parts: dict[str, float] = {}
    for name, mode in (("full", "projector+llm"), ("lora", "lora")):
        found = compare(mode, layers, steps=4)
        say(f"{name}: {found}")
        parts |= {f"{name}_{key}": value for key, value in found.items()}
    lower = min(("full", "lora"), key=lambda name: parts[f"{name}_ratio"])
    record = {
        "name": "train",
        "ratio": parts[f"{lower}_ratio"],
        "parts": parts,
        "limit_fraction": parts[f"{lower}_limit_fraction"],
        "machine": {"cpus": os.cpu_count(), "threads": torch.get_num_threads(), "processor": platform.processor()},
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
