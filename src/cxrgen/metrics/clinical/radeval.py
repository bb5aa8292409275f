"""RaTEScore, GREEN and SRR-BERT, as the package radeval computes them.

radeval runs in a process of its own (`radeval_process.py`). Each different pair of texts, or text, is computed once;
with `--cache` also once for all runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cxrgen.core.errors import unknown
from cxrgen.metrics import Floats, Metric, MetricResult, Option, always, mean_of_studies
from cxrgen.metrics.clinical.radeval_process import lacking, radeval
from cxrgen.metrics.row_cache import CACHE, Item, kept_rows
from cxrgen.metrics.several import best_of, by_score

SRR_LABELS = {"leaves-with-statuses": 163, "leaves": 55, "upper-with-statuses": 73, "upper": 25}  # of each model
DEFAULT_LEVEL = "leaves-with-statuses"
RADEVAL = Option("--radeval", "python", "the Python that has radeval (default: this one)", "PYTHON")
_GREEN_AT_ONCE = 64  # some minutes of work


def measure_ratescore(
    hypotheses: Sequence[str], references: Sequence[str], python: Path | None = None, cache: Path | None = None
) -> MetricResult:
    """`ratescore` (Zhao et al. 2024, its weights for long reports); counts are (N, 2): the pair's value and 1."""
    details = "affinity:long|no entity or no sentence:0.5"
    return _scored_by("ratescore", details, hypotheses, references, python, cache)


def measure_green(
    hypotheses: Sequence[str], references: Sequence[str], python: Path | None = None, cache: Path | None = None
) -> MetricResult:
    """`green` (Ostmeier et al. 2024); counts are (N, 2): the pair's value and 1. A 7B model; use a GPU."""
    return _scored_by("green", "unreadable answer:0", hypotheses, references, python, cache, _GREEN_AT_ONCE)


def measure_srr(
    hypotheses: Sequence[str],
    references: Sequence[str],
    python: Path | None = None,
    cache: Path | None = None,
    preset: str = DEFAULT_LEVEL,
) -> MetricResult:
    """`srr_f1_weighted` over L labels of SRR-BERT; counts are (N, 3 L): hits, false alarms, misses.

    The preset is the level of its labels: `leaves` or `upper` findings, with their statuses or without. The value of a
    set is weighted by the labels' support in it, as radeval's default is. Of one study it is therefore the share of the
    reference's labels that were found, not radeval's per-sample F1. Raises UsageError for an unknown preset.
    """
    if preset not in SRR_LABELS:
        raise unknown("preset of srr", preset, SRR_LABELS)
    labels, own = SRR_LABELS[preset], "srr" if preset == DEFAULT_LEVEL else f"srr.{preset}"
    aggregate = partial(_weighted_f1, preset=preset)
    details = f"labels:{preset.replace('-', ' ')}|average:weighted by support"
    if not hypotheses:
        return MetricResult(np.zeros((0, 3 * labels)), aggregate, f"srr|radeval|{details}")
    with radeval(own, python) as process:

        def compute(items: list[Item]) -> Floats:
            rows = np.zeros((len(items), labels))
            for row, found in zip(rows, process.ask({"texts": [text for (text,) in items]}), strict=True):
                row[found] = 1
            return rows

        signature = f"srr|{process.signature}|{details}"
        folder = cache if process.weights else None
        items = [(text,) for texts in (hypotheses, references) for text in texts]
        hyp, ref = np.split(kept_rows(items, compute, labels, signature, folder), 2)
    return MetricResult(np.concatenate([hyp * ref, hyp * (1 - ref), (1 - hyp) * ref], axis=1), aggregate, signature)


def _weighted_f1(sums: Floats, preset: str) -> dict[str, Floats]:
    hits, alarms, misses = np.split(sums, 3, axis=-1)
    support = hits + misses
    each = 2 * hits / np.maximum(2 * hits + alarms + misses, 1)
    ending = "" if preset == DEFAULT_LEVEL else f".{preset}"
    return {f"srr_f1_weighted{ending}": (each * support).sum(-1) / support.sum(-1)}


def _scored_by(
    name: str,
    details: str,
    hypotheses: Sequence[str],
    references: Sequence[str],
    python: Path | None,
    cache: Path | None,
    at_once: int = 256,
) -> MetricResult:
    """A metric that gives each pair one value."""
    if not hypotheses:
        return mean_of_studies({name: []}, f"{name}|radeval|{details}|level:mean of studies")
    with radeval(name, python) as process:

        def compute(items: list[Item]) -> Floats:
            hyp, ref = (list(texts) for texts in zip(*items))
            return np.array(process.ask({"hypotheses": hyp, "references": ref}), dtype=np.float64)[:, None]

        signature = f"{name}|{process.signature}|{details}"
        folder = cache if process.weights else None
        rows = kept_rows(list(zip(hypotheses, references)), compute, 1, signature, folder, at_once)
    return mean_of_studies({name: rows[:, 0]}, f"{signature}|level:mean of studies")


def lacks(metric: str, given: Mapping[str, Any]) -> str:
    """What a metric of radeval cannot run without, by its options; empty where nothing is missing."""
    return lacking(metric, given.get("python"))


def _record(measure: Any, name: str, **fields: Any) -> Metric:
    return Metric(
        measure,
        "clinical",
        options=(RADEVAL, CACHE),
        weights=True,
        by_pair=always,
        lacks=partial(lacks, name),
        several=best_of(measure, by_score(best_by := fields.pop("best_by", name)), f"the best {best_by}"),
        **fields,
    )


RATESCORE = _record(measure_ratescore, "ratescore")
GREEN = _record(measure_green, "green")
SRR = _record(measure_srr, "srr", best_by="srr_f1_weighted", presets=tuple(SRR_LABELS), default_preset=DEFAULT_LEVEL)
