"""A training step: cxrgen's loop against a plain one, on the same samples, full training and LoRA.

The plain loop is what a general trainer does by default: batches in random order padded to their longest, logits of
every position, the tower run again for every image. Ours groups lengths, computes the head at supervised positions and
keeps the frozen tower's features. Both take the same samples, the same optimiser and the same number of steps; sides
are interleaved step by step. The model has SmolLM2-135M's shape (`--quick`: three of its layers) and random weights,
with a CLIP tower; reports have lengths drawn from Open-I's. `limit_fraction` is the time of ours' matrix products at
the speed that this machine reaches on one large product, over the time that ours took.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from cxrgen.model.batches import IGNORE, Sample, batch_order, collate
from cxrgen.model.features import precomputed_features, tower_features
from cxrgen.train.trainable import LoraSettings, choose, mode_of
from cxrgen.train.trainer import supervised_loss

# Tokens of Open-I's findings and impressions, at every 5 % of the reports.
LENGTHS = (15, 25, 28, 30, 33, 35, 38, 40, 42, 43, 45, 48, 49, 53, 57, 62, 67, 73, 81, 97, 272)
IMAGE, IMAGE_TOKENS, PROMPT, BATCH = 49151, 49, 20, 8


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
    tower = CLIPVisionConfig(
        hidden_size=384,
        intermediate_size=1536,
        num_hidden_layers=6,
        num_attention_heads=6,
        image_size=112,
        patch_size=16,
    )
    config = LlavaConfig(vision_config=tower, text_config=text, image_token_index=IMAGE, tie_word_embeddings=True)
    return LlavaForConditionalGeneration(config)


def studies(count: int) -> list[Sample]:
    generator = np.random.default_rng(1)
    made = []
    for number in range(count):
        answer = generator.integers(5, 49000, generator.choice(LENGTHS)).tolist()
        prompt = [1, *[IMAGE] * IMAGE_TOKENS, *range(5, 5 + PROMPT)]
        made.append(Sample(str(number), (*prompt, *answer), (*[IGNORE] * len(prompt), *answer), (f"{number}",)))
    return made


def image(name: str) -> torch.Tensor:
    return torch.randn(3, 112, 112, generator=torch.Generator().manual_seed(int(name)))


def ours(model: Any, optimizer: torch.optim.Optimizer, batch: dict[str, Any]) -> None:
    with precomputed_features(model):
        loss, count = supervised_loss(model, batch)
        (loss / count).backward()
    optimizer.step()
    optimizer.zero_grad()


def plain(model: Any, optimizer: torch.optim.Optimizer, batch: dict[str, Any]) -> None:
    model(**{name: value for name, value in batch.items() if name != "ids"}, use_cache=False).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def compare(mode: str, layers: int, steps: int) -> dict[str, float]:
    """The plain loop's time over ours for the same samples, and ours' part of what the machine could do."""
    model = small(layers)
    choose(model, mode_of(mode), lora=LoraSettings(dropout=0.0))
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-5)
    samples = studies(BATCH * steps)
    with torch.no_grad():
        start = time.perf_counter()
        known = {each.images[0]: tower_features(model, image(each.images[0])[None])[0] for each in samples}
        features_once = time.perf_counter() - start
    grouped = batch_order([len(each.input_ids) for each in samples], BATCH, seed=0, epoch=0)
    random = np.random.default_rng(0).permutation(len(samples)).reshape(-1, BATCH).tolist()
    sides: dict[str, Callable[[int], None]] = {
        "ours": lambda n: ours(model, optimizer, collate([samples[i] for i in grouped[n]], 0, known.__getitem__)),
        "plain": lambda n: plain(model, optimizer, collate([samples[i] for i in random[n]], 0, image)),
    }
    for side in sides.values():  # the first step of each allocates
        side(0)
    times = dict.fromkeys(sides, 0.0)
    for number in range(steps):
        for name, side in sides.items():
            start = time.perf_counter()
            side(number)
            times[name] += time.perf_counter() - start
    least = products(model, samples, mode) / product_rate()
    return {
        "ratio": round(times["plain"] / times["ours"], 3),
        "ratio_first_epoch": round(times["plain"] / (times["ours"] + features_once), 3),
        "limit_fraction": round(least / times["ours"], 3),
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
    parser.add_argument("--quick", action="store_true", help="fewer layers and steps")
    options = parser.parse_args()
    layers, steps = (3, 3) if options.quick else (30, 10)
    parts = {}
    for name, mode in (("full", "projector+llm"), ("lora", "lora")):
        parts |= {f"{name}_{key}": value for key, value in compare(mode, layers, steps).items()}
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
