"""The form of a report rather than its content: does it repeat itself, is it as long as its reference?

Overlap scores hardly notice a text that repeats itself, and BLEU falls with length for reasons that have nothing to do
with findings. These two numbers say when to distrust the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from cxrgen.metrics import Floats, Metric, MetricResult
from cxrgen.metrics.several import best_of, by_score


def measure(hypotheses: Sequence[str], references: Sequence[str]) -> MetricResult:
    """`repetition` and `length_ratio` of N pairs; counts are (N, 4): trigrams repeated and in all, both lengths.

    `repetition` is the share of a report's trigrams that occurred in it before, over all trigrams of the set.
    `length_ratio` is the words of all reports by the words of all references; 1 is best, and NaN without any.
    """
    rows = [(*form_counts(hyp), form_counts(ref)[2]) for hyp, ref in zip(hypotheses, references)]
    counts = np.array(rows, dtype=np.float64).reshape(len(rows), 4)
    signature = "form|tokens:white space|case:lower|runs of 3 words|level:corpus"
    return MetricResult(counts, _rates, signature, frozenset({"repetition"}), frozenset({"length_ratio"}))


@lru_cache(1 << 18)  # the page reads the same texts
def form_counts(text: str) -> tuple[int, int, int]:
    """How many trigrams of a text occurred in it before, how many it has, and how many words; lower case."""
    words = text.lower().split()
    total = max(0, len(words) - 2)
    return total - len(set(zip(words, words[1:], words[2:]))), total, len(words)


def _rates(sums: Floats) -> dict[str, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        repeated = np.where(sums[..., 1] > 0, sums[..., 0] / sums[..., 1], 0.0)
        return {"repetition": repeated, "length_ratio": sums[..., 2] / sums[..., 3]}


METRIC = Metric(
    measure,
    "style",
    scores=("repetition", "length_ratio"),
    by_default=True,
    several=best_of(measure, by_score("length_ratio"), "the nearest length"),
)
