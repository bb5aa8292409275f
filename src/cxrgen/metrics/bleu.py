"""BLEU-1 to BLEU-4 over the whole set, as the COCO caption scorers compute it.

Four n-gram match counts, four totals and two lengths per study are all BLEU needs, so the corpus value, a study's own
value and every bootstrap sample come from sums of the same nine numbers. The value of a set is not the mean of its
studies' values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from cxrgen.metrics import Floats, Measured
from cxrgen.metrics.ptb import tokens

ORDERS = (1, 2, 3, 4)
_ABOVE, _BELOW = 1e-15, 1e-9  # the scorer's guards against 0/0; they show in values of short texts


def measure(hypotheses: Sequence[str], references: Sequence[str]) -> Measured:
    """BLEU of N pairs of texts; counts are (N, 9): matches of orders 1-4, totals of orders 1-4, reference length."""
    rows = [_row(tokens(hypothesis), tokens(reference)) for hypothesis, reference in zip(hypotheses, references)]
    counts = np.array(rows, dtype=np.float64).reshape(len(rows), 9)
    return Measured(counts, _coco, "bleu|coco-ptb|tokens:ptb|case:lower|level:corpus|eff:closest|smooth:1e-15/1e-9")


def _row(hypothesis: Sequence[str], reference: Sequence[str]) -> list[int]:
    matches = []
    for order in ORDERS:
        said, wanted = _ngrams(hypothesis, order), _ngrams(reference, order)
        matches.append(sum(min(times, wanted[ngram]) for ngram, times in said.items() if ngram in wanted))
    return [*matches, *(max(0, len(hypothesis) - order + 1) for order in ORDERS), len(reference)]


def _ngrams(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[start:] for start in range(order))))


def _coco(sums: Floats) -> dict[str, Floats]:
    matches, totals, wanted = sums[..., 0:4], sums[..., 4:8], sums[..., 8]
    precision = np.cumprod((matches + _ABOVE) / (totals + _BELOW), axis=-1)
    ratio = (totals[..., 0] + _ABOVE) / (wanted + _BELOW)
    penalty = np.exp(np.minimum(0.0, 1 - 1 / ratio))
    return {f"bleu_{order}": penalty * precision[..., order - 1] ** (1 / order) for order in ORDERS}
