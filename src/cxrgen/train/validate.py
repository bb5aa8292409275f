"""Validation while training: the loss, and the scores of reports that the model writes, on the same few studies.

The loss alone does not show whether findings are right, so reports are written as `cxrgen generate` writes them and
scored by BLEU-4 and the rule labels. Each process takes its share of the studies. A sharded model is gathered once for
that, not for every token; where a device has no room for it, all processes compute all studies in step.
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
from cxrgen.train.distributed import Processes, precision, whole_weights
from cxrgen.train.trainer import supervised_loss
from cxrgen.train.watch_config import EvalConfig

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


@dataclass(frozen=True)
class _Share:
    """What one process found: summed loss, supervised tokens, and its reports by their numbers in the subset."""

    loss: float
    tokens: float
    reports: dict[int, str]


def validate(checkpoint: Checkpoint, subset: Subset, processes: Processes, bf16: bool = False) -> Validated:
    """Loss, reports and their scores; equal on all processes.

    Raises InputError in all processes for an image that one of them cannot read.
    """
    with writing(checkpoint.model, processes, bf16) as alone:
        part = slice(processes.rank, None, processes.count) if alone else slice(None)
        shares = processes.agreed(lambda: _share(checkpoint, subset, processes.device, part))
    if not alone:
        shares = shares[:1]
    values = {"eval_loss": sum(share.loss for share in shares) / max(1.0, sum(share.tokens for share in shares))}
    written = {number: report for share in shares for number, report in share.reports.items()}
    reports = tuple(written[number] for number in sorted(written))
    return Validated(values | (_scores(subset, reports) if reports else {}), reports)


@contextmanager
def writing(model: Any, processes: Processes, bf16: bool) -> Iterator[bool]:
    """Within this context the model computes without learning; random state and training modes are as before then.

    Gives whether each process can compute by itself, as `whole_weights` says.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with (
            torch.random.fork_rng(devices=[]),
            torch.no_grad(),
            raw_pixels(model),
            precision(model, processes.device, bf16),
            whole_weights(model, processes, bf16) as alone,
        ):
            yield alone
    finally:
        for module, mode in modes.items():
            module.training = mode


def _share(checkpoint: Checkpoint, subset: Subset, device: torch.device, part: slice) -> _Share:
    loss, tokens = _loss(checkpoint, subset, device, part)
    return _Share(loss, tokens, _reports(checkpoint, subset, part) if subset.config.eval_reports else {})


def _loss(checkpoint: Checkpoint, subset: Subset, device: torch.device, part: slice) -> tuple[float, float]:
    total = count = 0.0
    collator = family_of(checkpoint).collator(subset.folder)
    for some in in_slices(subset.samples[part], subset.config.per_device_eval_batch_size):
        batch = collator(some)
        moved = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
        loss, tokens = supervised_loss(checkpoint.model, moved)
        total, count = total + float(loss), count + float(tokens)
    return total, count


def _reports(checkpoint: Checkpoint, subset: Subset, part: slice) -> dict[int, str]:
    config = subset.config
    settings = (config.per_device_eval_batch_size, config.eval_max_new_tokens)
    numbers = range(len(subset.conversations))[part]
    written = write_reports(checkpoint, subset.conversations[part], subset.folder, *settings)
    return {numbers[place]: prediction.report for place, prediction in written}


def _scores(subset: Subset, reports: Sequence[str]) -> dict[str, float]:
    references = [each.turns[-1].text for each in subset.conversations]
    values: dict[str, float] = {}
    for module in dict.fromkeys(module for module, _ in SCORES):
        measured = measure(module, list(reports), references)
        found = measured.aggregate(measured.counts.sum(0))
        values |= {name: float(found[name]) for owner, name in SCORES if owner == module}
    return values
