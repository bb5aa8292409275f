"""Reports a second: cxrgen's refilling batches against transformers' `generate`, in static batches and one by one.

All sides write the same studies with the same model and must write the same tokens. The model has SmolLM2-135M's shape
and random weights (`tiny`: the demo's shape); a report's length is forced to one drawn from Open-I's reports, because
lengths decide how much a static batch wastes. Static batches are of studies sorted by the true lengths of their
reports, the best that a practitioner could guess. `ratio` is their time over ours, with the larger model; `parts` has
the ratio over one report at a time too.

`speculative` compares ours with itself, with speculative decoding over without, at several batch sizes. The model is
made to write phantom reports word for word, so proposals are right as often as for a model that has learnt reports.
`limit_fraction` is the least time this machine needs for the arithmetic, or for reading the weights once a step, by a
matrix product and a sum that are measured in the same run, over the time that ours took.
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
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from cxrgen.core.progress import say
from cxrgen.core.records import FRONTAL, LATERAL, Conversation, Study, View
from cxrgen.generate.decoding.decode import write_reports
from cxrgen.generate.decoding.ngram_drafts import NgramTable
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.conversation import Format, encode_prompt
from cxrgen.model.pixels import image_pixels
from cxrgen.model.tiny import NewModel, new_model
from cxrgen.model.tower import ConvTowerConfig
from cxrgen.phantom.findings import draw_findings
from cxrgen.phantom.wording import draw_style, word_report
from cxrgen.text.prompts import study_conversation

# Tokens of Open-I's findings and impressions, at every 5 % of the reports, by a BPE of 8,000 pieces learnt from them.
OPEN_I_LENGTHS = (15, 25, 28, 30, 33, 35, 38, 40, 42, 43, 45, 48, 49, 53, 57, 62, 67, 73, 81, 97, 272)
IMAGE_TOKENS = 32
SMOLLM2 = LlamaConfig(
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    tie_word_embeddings=True,
)
Tokens = dict[str, list[int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer studies")
    options = parser.parse_args()
    torch.manual_seed(0)
    texts = phantom_reports(2000)
    parts: dict[str, float] = {}
    groups, size = (1, 16) if options.quick else (2, 24)  # one by one, a study of the small model takes seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        studies = make_studies(folder, 2 * groups * size)
        for label, checkpoint in (("tiny", tiny(texts)), ("small", small(texts))):
            share = studies if label == "tiny" else studies[: groups * size]
            ratios = compare(checkpoint, share, folder, batch_size=size // 2)
            parts |= {f"{label}_{key}": value for key, value in ratios.items()}
            say(f"{label}: {ratios}")
            for count in (1,) if options.quick else (1, 2, 4, 8):
                share = studies[: max(count, 2)]
                parts[f"{label}_speculative_{count}_rows"] = speculative_ratio(checkpoint, share, folder, count, texts)
            say(
                f"{label}: "
                + str({key: value for key, value in parts.items() if "speculative" in key and label in key})
            )
    record = {
        "name": "generate",
        "ratio": parts["small_static_by_length"],
        "parts": parts,
        "limit_fraction": parts["small_limit_fraction"],
        "machine": {"cpus": os.cpu_count(), "threads": torch.get_num_threads(), "processor": platform.processor()},
    }
    print(json.dumps(record))


def phantom_reports(count: int) -> list[str]:
    generator = np.random.default_rng(0)
    reports = [word_report(draw_findings(generator), draw_style(generator)) for _ in range(count)]
    return [f"{each.findings} {each.impression}" for each in reports]


def tiny(texts: Sequence[str]) -> Checkpoint:
    model, processor = new_model(NewModel(), texts, seed=0)
    return Checkpoint(model.eval(), processor, Format(template="plain", image_tokens=8, aspect="black"))


def small(texts: Sequence[str]) -> Checkpoint:
    """The tiny model's tower and tokenizer before a language model of SmolLM2-135M's shape."""
    _, processor = new_model(NewModel(image_tokens=IMAGE_TOKENS), texts, seed=0)
    tokenizer = processor.tokenizer
    config = LlavaConfig(
        vision_config=ConvTowerConfig(tokens=IMAGE_TOKENS),
        text_config=SMOLLM2,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config).eval()
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return Checkpoint(model, processor, Format(template="plain", image_tokens=IMAGE_TOKENS, aspect="black"))


def make_studies(folder: Path, count: int) -> list[tuple[Conversation, int]]:
    """Studies of one or two images, some with an indication, each with the length of its report."""
    generator = np.random.default_rng(1)
    lengths = np.interp(generator.random(count), np.linspace(0, 1, len(OPEN_I_LENGTHS)), OPEN_I_LENGTHS).astype(int)
    studies = []
    for number in range(count):
        views = []
        for kind in (FRONTAL, LATERAL)[: 1 + number % 2]:
            path = f"{number}-{kind}.png"
            Image.fromarray(generator.integers(0, 256, (128, 128), dtype=np.uint8)).save(folder / path)
            views.append(View(path, kind))
        sections = {"indication": "Cough and fever for three days."} if number % 3 else {}
        study = Study(f"{number}", "", views=tuple(views), sections=sections)
        studies.append((study_conversation(study), int(lengths[number])))
    return studies


def compare(
    checkpoint: Checkpoint, studies: Sequence[tuple[Conversation, int]], folder: Path, batch_size: int
) -> dict[str, float]:
    """Ratios over static batches and one by one, and the share of the machine's limit that ours reaches."""
    by_length = sorted(studies, key=lambda study: study[1])
    sides: dict[str, Callable[[Sequence[tuple[Conversation, int]]], Tokens]] = {
        "ours": lambda some: ours(checkpoint, some, folder, batch_size),
        "static_by_length": lambda some: theirs(checkpoint, some, folder, batch_size),
        "one_by_one": lambda some: theirs(checkpoint, some, folder, 1),
    }
    for side in sides.values():  # the first call of each is slower
        side(studies[:1])
    times: dict[str, float] = {}
    written: dict[str, Tokens] = {}
    for name, side in sides.items():
        before = time.perf_counter()
        written[name] = side(by_length if name == "static_by_length" else studies)
        times[name] = time.perf_counter() - before
        assert written[name] == written["ours"], f"{name} wrote other tokens"
    least = least_time(checkpoint, studies, batch_size)
    ratios = {name: round(times[name] / times["ours"], 2) for name in sides if name != "ours"}
    return {**ratios, "limit_fraction": round(least / times["ours"], 3)}


def ours(checkpoint: Checkpoint, some: Sequence[tuple[Conversation, int]], folder: Path, batch_size: int) -> Tokens:
    lengths = {each.id: length for each, length in some}
    tokens: Tokens = {each.id: [] for each, _ in some}
    end = checkpoint.tokenizer.eos_token_id

    def choose(logits: torch.Tensor, studies: Sequence[str], steps: Sequence[int]) -> list[int]:
        logits[:, end] = -torch.inf
        chosen = logits.argmax(dim=-1).tolist()
        for place, (study, step) in enumerate(zip(studies, steps)):
            if step == lengths[study] - 1:
                chosen[place] = end
            else:
                tokens[study].append(chosen[place])
        return chosen

    for _ in write_reports(checkpoint, [each for each, _ in some], folder, batch_size, 1024, choose):
        pass
    return tokens


def theirs(checkpoint: Checkpoint, some: Sequence[tuple[Conversation, int]], folder: Path, batch_size: int) -> Tokens:
    """transformers' generate on left-padded batches in the given order; a batch runs to its longest report."""
    tokens: Tokens = {}
    for start in range(0, len(some), batch_size):
        batch = some[start : start + batch_size]
        prompts = [encode_prompt(each.turns, checkpoint.tokenizer, checkpoint.format) for each, _ in batch]
        width = max(map(len, prompts))
        ids = torch.full((len(batch), width), checkpoint.tokenizer.pad_token_id)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask = torch.tensor([[column >= width - len(prompt) for column in range(width)] for prompt in prompts]).long()
        images = [folder / name for each, _ in batch for name in each.images]
        longest = max(length for _, length in batch)
        written = checkpoint.model.generate(
            input_ids=ids,
            attention_mask=mask,
            pixel_values=image_pixels(images, checkpoint.processor.image_processor, checkpoint.format),
            do_sample=False,
            min_new_tokens=longest,
            max_new_tokens=longest,
        )
        for (each, length), row in zip(batch, written[:, width:].tolist()):
            tokens[each.id] = row[: length - 1]
    return tokens


def speculative_ratio(
    checkpoint: Checkpoint,
    some: Sequence[tuple[Conversation, int]],
    folder: Path,
    batch_size: int,
    texts: Sequence[str],
) -> float:
    """Time without speculative decoding over time with it, for phantom reports that the n-gram table does not hold."""
    encoded = [[*each, checkpoint.tokenizer.eos_token_id] for each in checkpoint.tokenizer(list(texts))["input_ids"]]
    held = {each.id: encoded[number] for number, (each, _) in enumerate(some)}
    ngrams = NgramTable(encoded[len(some) :])

    def choose(logits: torch.Tensor, studies: Sequence[str], steps: Sequence[int]) -> list[int]:
        logits.argmax(dim=-1)
        return [held[study][min(step, len(held[study]) - 1)] for study, step in zip(studies, steps)]

    asked = [each for each, _ in some]
    times = {True: 0.0, False: 0.0}
    reports = {}
    for speculative in times:
        before = time.perf_counter()
        table = ngrams if speculative else None
        reports[speculative] = dict(write_reports(checkpoint, asked, folder, batch_size, 1024, choose, table))
        times[speculative] = time.perf_counter() - before
    assert reports[True] == reports[False]
    return round(times[False] / times[True], 2)


def least_time(checkpoint: Checkpoint, studies: Sequence[tuple[Conversation, int]], batch_size: int) -> float:
    """Seconds for the arithmetic of all tokens, or for reading the weights once a step of a full batch."""
    model = checkpoint.model
    body = sum(value.numel() for value in model.model.language_model.layers.parameters())
    head = model.lm_head.weight.numel()
    written = sum(length for _, length in studies)
    read = sum(len(encode_prompt(each.turns, checkpoint.tokenizer, checkpoint.format)) for each, _ in studies)
    operations = 2.0 * body * (read + written) + 2.0 * head * written
    bytes_a_step: float = 4.0 * (body + head)
    return float(max(operations / product_rate(), written / batch_size * bytes_a_step / reading_rate()))


def product_rate() -> float:
    """Floating-point operations a second of a large matrix product, the best of ten."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    return 2.0 * 1024**3 / _best(lambda: a @ b)


def reading_rate() -> float:
    """Bytes a second of a sum over an array far larger than the caches, the best of ten."""
    values = torch.randn(1 << 26)
    return 4.0 * values.numel() / _best(values.sum)


def _best(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(10):
        before = time.perf_counter()
        work()
        times.append(time.perf_counter() - before)
    return min(times)


if __name__ == "__main__":
    main()
