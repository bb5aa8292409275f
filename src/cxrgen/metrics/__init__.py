"""Texts to numbers. A metric is one module with a `measure` function and one row in `METRICS`.

Every metric is split in two so that confidence intervals cost nothing: `measure` turns each pair of texts into a row of
counts, `aggregate` turns a *sum* of rows into the metric's values. The corpus value is `aggregate(counts.sum(0))`, the
value of study i is `aggregate(counts[i])`, and a bootstrap sample is `aggregate(weights @ counts)`.

A name is a metric ("bleu"), a metric in another program's way ("bleu.sacrebleu"), or a score that one of these gives
("bleu_2.sacrebleu", "prior_rate").
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrgen.errors import UsageError

Floats = NDArray[np.float64]
Columns = tuple[int, int, int]  # of hits, false alarms and misses in a table of counts


@dataclass(frozen=True)
class Measured:
    """Counts of shape (N studies, K) and the function from (..., K) sums to named values of shape (...)."""

    counts: Floats
    aggregate: Callable[[Floats], dict[str, Floats]]
    signature: str  # all that another person needs to get the same number: preset, tokens, version
    down: frozenset[str] = field(default_factory=frozenset)  # names where lower is better
    one: frozenset[str] = field(default_factory=frozenset)  # names where 1 is best
    f1: Mapping[str, tuple[Columns, ...]] = field(default_factory=dict)  # F1 of a finding, or the mean F1 of several


METRICS = {  # "module", or "module:function" where a module has several
    "bleu": "cxrgen.metrics.bleu",
    "rouge": "cxrgen.metrics.rouge",
    "cider": "cxrgen.metrics.cider",
    "meteor": "cxrgen.metrics.meteor",
    "rule": "cxrgen.metrics.rule",
    "temporal": "cxrgen.metrics.temporal",
    "flips": "cxrgen.metrics.flips",
    "form": "cxrgen.metrics.form",
    "findings": "cxrgen.metrics.findings",
    "chexbert": "cxrgen.metrics.chexbert",
    "bertscore": "cxrgen.metrics.bertscore",
    "bertscore_minilm": "cxrgen.metrics.bertscore:measure_minilm",
    "bertscore_encoder": "cxrgen.metrics.bertscore:measure_encoder",
    "radgraph": "cxrgen.metrics.radgraph",
    "radgraph_combined": "cxrgen.metrics.radgraph:measure_combined",
    "ratescore": "cxrgen.metrics.clinical:measure_ratescore",
    "green": "cxrgen.metrics.clinical:measure_green",
    "srr": "cxrgen.metrics.clinical:measure_srr",
    "radcliq": "cxrgen.metrics.composite",
}
SCORES = {  # scores whose names do not begin with their metric's
    "prior_rate": "temporal",
    "side_flips": "flips",
    "negation_flips": "flips",
    "repetition": "form",
    "length_ratio": "form",
    "finding": "findings",
}


def metric_of(name: str) -> str:
    """The metric that gives the score `name`: "bleu_2.sacrebleu" -> "bleu.sacrebleu", "bleu" -> "bleu".

    Raises UsageError, naming what there is, for a name or a preset that is none.
    """
    stem, dot, preset = name.partition(".")
    known = {**{metric: metric for metric in METRICS}, **SCORES}
    fitting = [begin for begin in known if stem == begin or stem.startswith(f"{begin}_")]
    if not fitting:
        raise UsageError(f"no metric {name!r}; there are: {', '.join(METRICS)}")
    metric = known[max(fitting, key=len)]
    if dot:
        module = importlib.import_module(METRICS[metric].partition(":")[0])
        presets = getattr(module, "PRESETS", {})
        if preset == getattr(module, "DEFAULT", None):
            return metric  # its scores carry no suffix
        if preset not in presets:
            raise UsageError(f"no preset {preset!r} of {metric}; there are: {', '.join(presets) or 'none'}")
    return metric + dot + preset


def measure(name: str, hypotheses: Sequence[str], references: Sequence[str], **extra: Any) -> Measured:
    """Run the metric `name` on N pairs of texts; `extra` is what some need besides: a truth, weights, settings."""
    metric, _, preset = name.partition(".")
    module, _, function = METRICS[metric].partition(":")
    if preset:
        extra["preset"] = preset
    result: Measured = getattr(importlib.import_module(module), function or "measure")(hypotheses, references, **extra)
    return result
