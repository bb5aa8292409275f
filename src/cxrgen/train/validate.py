"""Validation while training: the loss, and the scores of reports that the model writes, on the same few studies.

The loss alone cannot tell a fluent model from a right one, so reports are written as `cxrgen generate` writes them and
scored by BLEU-4 and the rule labels. All processes write the same reports: a sharded model needs every process for each
token, and a subset this small is not worth sharing out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch

from cxrgen.core.records import Conversation
from cxrgen.generate.decoding.decode import write_reports
from cxrgen.metrics import measure
from cxrgen.model.batches import Sample, collate
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.features import in_slices, raw_pixels
from cxrgen.model.pixels import image_pixels
from cxrgen.train.distributed import Processes
from cxrgen.train.trainer import supervised_loss

SCORES = (("bleu", "bleu_4"), ("rule", "rule_f1_micro_14"), ("rule", "rule_f1_macro_14"))


@dataclass(frozen=True)
class Subset:
    """What is validated on: conversations with their answer, and the same as samples."""

    conversations: tuple[Conversation, ...]
    samples: tuple[Sample, ...]
    folder: Path
    batch_size: int = 8
    reports: bool = True
    max_new_tokens: int = 256


def fixed_part(conversations: Sequence[Conversation], count: int) -> list[Conversation]:
    """`count` of them, chosen by their ids alone, so that every run of every length takes the same."""
    chosen = sorted(conversations, key=lambda each: sha256(each.id.encode()).digest())[:count]
    return sorted(chosen, key=lambda each: each.id)


def validate(bundle: Checkpoint, subset: Subset, processes: Processes, bf16: bool = False) -> dict[str, float]:
    """`eval_loss` (mean over supervised tokens) and, with reports, the `SCORES`; equal on all processes.

    Random state and training modes are left as they were.
    """
    model = bundle.model
    modes = {module: module.training for module in model.modules()}
    model.eval()
    autocast = torch.autocast(processes.device.type, torch.bfloat16, enabled=bf16)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), raw_pixels(model), autocast:
            values = {"eval_loss": _loss(bundle, subset, processes)}
            if subset.reports:
                values |= _scores(bundle, subset)
    finally:
        for module, mode in modes.items():
            module.training = mode
            if hasattr(module, "reshard"):  # FSDP does this after a backward pass only
                module.reshard()
    return values


def _loss(bundle: Checkpoint, subset: Subset, processes: Processes) -> float:
    total = count = 0.0

    def image(path: str) -> torch.Tensor:
        return image_pixels([subset.folder / path], bundle.processor.image_processor, bundle.format.aspect)[0]

    for some in in_slices(subset.samples, subset.batch_size):
        batch = collate(some, bundle.tokenizer.pad_token_id, image)
        moved = {k: v.to(processes.device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
        loss, tokens = supervised_loss(bundle.model, moved)
        total, count = total + float(loss), count + float(tokens)
    return total / max(1.0, count)


def _scores(bundle: Checkpoint, subset: Subset) -> dict[str, float]:
    written = dict(write_reports(bundle, subset.conversations, subset.folder, subset.batch_size, subset.max_new_tokens))
    hypotheses = [written[number].report for number in range(len(subset.conversations))]
    references = [each.turns[-1].text for each in subset.conversations]
    values: dict[str, float] = {}
    for module in dict.fromkeys(module for module, _ in SCORES):
        measured = measure(module, hypotheses, references)
        found = measured.aggregate(measured.counts.sum(0))
        values |= {name: float(found[name]) for owner, name in SCORES if owner == module}
    return values
