"""Texts to numbers. A metric is one module with a `measure` function and one row in `METRICS`.

Every metric is split in two so that confidence intervals cost nothing: `measure` turns each pair of texts into a row of
counts, `aggregate` turns a *sum* of rows into the metric's values. The corpus value is `aggregate(counts.sum(0))`, the
value of study i is `aggregate(counts[i])`, and a bootstrap sample is `aggregate(weights @ counts)`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """Counts of shape (N studies, K) and the function from (..., K) sums to named values of shape (...)."""

    counts: Floats
    aggregate: Callable[[Floats], dict[str, Floats]]
    signature: str  # all that another person needs to get the same number: preset, tokens, version
    down: frozenset[str] = field(default_factory=frozenset)  # names where lower is better


METRICS = {  # "module", or "module:function" where a module has several
    "bleu": "cxrgen.metrics.bleu",
    "rouge": "cxrgen.metrics.rouge",
    "rule": "cxrgen.metrics.rule",
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
}


def measure(name: str, hypotheses: Sequence[str], references: Sequence[str], **extra: Any) -> Measured:
    """Run the metric `name` on N pairs of texts; `extra` is what some need besides: a truth, weights, settings."""
    module, _, function = METRICS[name].partition(":")
    result: Measured = getattr(importlib.import_module(module), function or "measure")(hypotheses, references, **extra)
    return result
