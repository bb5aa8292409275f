"""Several references of one study.

Some metrics have a definition for several references (`Metric.several`), as the programs do that they equal. Any metric
of pairs can be made one that takes, of each study, the reference that the report agrees with best: that is what
"the maximum over references" means for a mean over studies, and the nearest thing to it for scores of summed counts. A
metric that has neither is refused, because agreement with one reference says nothing about the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cxrgen.metrics import Floats, MetricResult

References = Sequence[Sequence[str]]  # those of each study, one at least
Measure = Callable[..., MetricResult]
Loss = Callable[[MetricResult], Floats]  # how bad each pair is, (N,)


def by_score(stem: str) -> Loss:
    """By a score of its own, whatever the preset; a pair without a value is the worst."""

    def loss(result: MetricResult) -> Floats:
        name, values = next(item for item in result.per_study().items() if item[0].partition(".")[0] == stem)
        better = result.better(name)
        bad = values if better == "lower" else np.abs(values - 1) if better == "nearer_to_1" else -values
        return np.asarray(np.nan_to_num(bad, nan=np.inf))

    return loss


def by_findings(result: MetricResult) -> Floats:
    """By the fewest false alarms and misses of findings, then by the most hits."""
    single = [of[0] for of in result.f1.values() if len(of) == 1]
    hits, alarms, misses = (result.counts[:, [columns[part] for columns in single]].sum(axis=1) for part in range(3))
    return np.asarray(alarms + misses - hits / (1 + len(single)))


def best_of(measure: Measure, loss: Loss, words: str) -> Measure:
    """A metric of pairs as one of several references, of which the best counts; `words` say by what it is the best."""

    def several(hypotheses: Sequence[str], references: References, **options: Any) -> MetricResult:
        result = measure(*flattened(hypotheses, references), **options)
        bad = loss(result)
        starts = starts_of(references)
        rows = [start + int(np.argmin(bad[start : start + len(of)])) for start, of in zip(starts, references)]
        signature = f"{result.signature}|references:several, of each study the one with {words}"
        noted = [result.noted[row] for row in rows] if result.noted else ()
        return replace(result, counts=result.counts[rows], noted=noted, signature=signature)

    return several


def without_references(measure: Measure) -> Measure:
    """A metric that does not use references, for any number of them."""

    def several(hypotheses: Sequence[str], references: References, **options: Any) -> MetricResult:
        return measure(hypotheses, [of[0] for of in references], **options)

    return several


def flattened(hypotheses: Sequence[str], references: References) -> tuple[list[str], list[str]]:
    """Each report once for each reference of its study, and these references."""
    repeated = [text for text, of in zip(hypotheses, references) for _ in of]
    return repeated, [text for of in references for text in of]


def starts_of(references: References) -> list[int]:
    """Where the references of each study begin when all stand in one list."""
    counts = np.array([len(of) for of in references], dtype=np.intp)
    return list(map(int, np.cumsum(counts) - counts))
