"""Validation while training: the loss, and the scores of reports that the model writes, on the same few studies.

The loss alone does not show whether findings are right, so reports are written as `cxrgen generate` writes them and
scored by BLEU-4 and the rule labels. All processes write the same reports: a sharded model needs every process for each
token, and a subset this small is not worth sharing out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from cxrgen.core.records import Conversation
from cxrgen.generate.decoding.reports import write_reports
from cxrgen.metrics import measure
from cxrgen.model.batches import Sample
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.families import family_of
from cxrgen.model.features import in_slices, raw_pixels
from cxrgen.train.config import EvalConfig
from cxrgen.train.distributed import Processes
from cxrgen.train.trainer import supervised_loss

SCORES = (("bleu", "bleu_4"), ("rule", "rule_f1_micro_14"), ("rule", "rule_f1_macro_14"))


@dataclass(frozen=True)
class Subset:
    """The validation set: conversations with their answer, and the same as samples."""

    conversations: tuple[Conversation, ...]
    samples: tuple[Sample, ...]
    folder: Path
    config: EvalConfig


def fixed_part(conversations: Sequence[Conversation], count: int) -> list[Conversation]:
    """`count` of them, chosen by their ids alone, so that every run of every length takes the same."""
    chosen = sorted(conversations, key=lambda each: sha256(each.id.encode()).digest())[:count]
    return sorted(chosen, key=lambda each: each.id)


@dataclass(frozen=True)
class Validated:
    """`eval_loss` (mean over supervised tokens) and, with reports, the `SCORES`; the reports in the subset's order."""

    values: dict[str, float]
    reports: tuple[str, ...] = ()


def validate_sets(
    checkpoint: Checkpoint, subsets: Mapping[str, Subset], processes: Processes, bf16: bool = False
) -> Validated:
    """What `validate` says of one set; of several the means over sets, each set's own as `eval_loss/NAME`, and the
    reports of the first."""
    found = {name: validate(checkpoint, subset, processes, bf16) for name, subset in subsets.items()}
    first = next(iter(found.values()))
    if len(found) == 1:
        return first
    scores = list(dict.fromkeys(score for of in found.values() for score in of.values))
    means = {score: sum(of.values[score] for of in found.values()) / len(found) for score in scores}
    own = {f"{score}/{name}": found[name].values[score] for name in found for score in scores}
    return Validated(means | own, first.reports)


def validate(checkpoint: Checkpoint, subset: Subset, processes: Processes, bf16: bool = False) -> Validated:
    """Loss, reports and their scores; equal on all processes."""
    with writing(checkpoint.model, processes, bf16):
        values = {"eval_loss": _loss(checkpoint, subset, processes)}
        reports = _reports(checkpoint, subset) if subset.config.eval_reports else ()
    return Validated(values | (_scores(subset, reports) if reports else {}), reports)


@contextmanager
def writing(model: Any, processes: Processes, bf16: bool) -> Iterator[None]:
    """Within this context the model computes without learning; random state and training modes are as before then."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    autocast = torch.autocast(processes.device.type, torch.bfloat16, enabled=bf16)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), raw_pixels(model), autocast:
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
            if hasattr(module, "reshard"):  # FSDP does this after a backward pass only
                module.reshard()


def _loss(checkpoint: Checkpoint, subset: Subset, processes: Processes) -> float:
    total = count = 0.0

    collator = family_of(checkpoint).collator(subset.folder)
    for some in in_slices(subset.samples, subset.config.per_device_eval_batch_size):
        batch = collator(some)
        moved = {k: v.to(processes.device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
        loss, tokens = supervised_loss(checkpoint.model, moved)
        total, count = total + float(loss), count + float(tokens)
    return total / max(1.0, count)


def _reports(checkpoint: Checkpoint, subset: Subset) -> tuple[str, ...]:
    config = subset.config
    settings = (config.per_device_eval_batch_size, config.eval_max_new_tokens)
    written = dict(write_reports(checkpoint, subset.conversations, subset.folder, *settings))
    return tuple(written[number].report for number in range(len(subset.conversations)))


def _scores(subset: Subset, reports: Sequence[str]) -> dict[str, float]:
    references = [each.turns[-1].text for each in subset.conversations]
    values: dict[str, float] = {}
    for module in dict.fromkeys(module for module, _ in SCORES):
        measured = measure(module, list(reports), references)
        found = measured.aggregate(measured.counts.sum(0))
        values |= {name: float(found[name]) for owner, name in SCORES if owner == module}
    return values
