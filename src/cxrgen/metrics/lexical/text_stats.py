"""How a report is made rather than what it says: does it repeat itself, is it as long as its reference?

Overlap scores hardly notice a text that has fallen into a loop, and BLEU falls with length for reasons that have
nothing to do with findings. These two numbers say when to distrust the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxrgen.metrics import Floats, Measured

_RUN = 3  # words


def measure(hypotheses: Sequence[str], references: Sequence[str]) -> Measured:
    """`repetition` and `length_ratio` of N pairs; counts are (N, 4): repeated runs, runs, words said, words wanted.

    `repetition` is the share of a report's three-word runs that have stood in it before, over all runs of the set.
    `length_ratio` is the words of all reports by the words of all references; 1 is best, and NaN without any.
    """
    known = {text: _runs(text) for text in set(hypotheses)}
    rows = [(*known[said], len(wanted.split())) for said, wanted in zip(hypotheses, references)]
    counts = np.array(rows, dtype=np.float64).reshape(len(rows), 4)
    signature = "form|tokens:white space|case:lower|runs of 3 words|level:corpus"
    return Measured(counts, _values, signature, frozenset({"repetition"}), frozenset({"length_ratio"}))


def _runs(text: str) -> tuple[int, int, int]:
    words = text.lower().split()
    runs = list(zip(*(words[start:] for start in range(_RUN))))
    return len(runs) - len(set(runs)), len(runs), len(words)


def _values(sums: Floats) -> dict[str, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        repeated = np.where(sums[..., 1] > 0, sums[..., 0] / sums[..., 1], 0.0)
        return {"repetition": repeated, "length_ratio": sums[..., 2] / sums[..., 3]}
