"""N-grams of a report and several references: what BLEU and CIDEr-D count then.

Written for few texts, n-gram by n-gram: test sets with several references have some hundred studies. One reference goes
the fast way (`ngrams.py`), and gives the same numbers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from cxrgen.metrics import Floats
from cxrgen.metrics.lexical.ngrams import Cut
from cxrgen.metrics.several import References

_ORDERS = (1, 2, 3, 4)
Words = Sequence[str]
Counts = Counter[tuple[str, ...]]


def bleu_counts(cut: Cut, hypotheses: Sequence[str], references: References) -> Floats:
    """Matches and totals of orders 1-4, reference length, 1: shape (N, 10).

    A word run matches as often as the reference that has it most often allows. The length is that of the reference
    nearest in length, of two as near the shorter one (Papineni et al. 2002).
    """
    rows = []
    for hypothesis, of in zip(hypotheses, references):
        hyp, refs = list(cut(hypothesis)), [list(cut(text)) for text in of]
        matches, totals = [], []
        for order in _ORDERS:
            counted, most = _ngrams(hyp, order), Counter[tuple[str, ...]]()
            for ref in refs:
                most |= _ngrams(ref, order)
            matches.append((counted & most).total())
            totals.append(counted.total())
        length = min((abs(len(ref) - len(hyp)), len(ref)) for ref in refs)[1]
        rows.append([*matches, *totals, length, 1])
    return np.array(rows, dtype=np.float64).reshape(-1, 10)


def cider_d(cut: Cut, hypotheses: Sequence[str], references: References, sigma: float) -> Floats:
    """CIDEr-D (Vedantam et al. 2015) as pycocoevalcap computes it, shape (N,): the mean over a study's references.

    An n-gram occurs in a study where one of its references has it.
    """
    refs = [[_all_ngrams(cut(text)) for text in of] for of in references]
    documents = Counter(ngram for of in refs for ngram in set().union(*of))
    log_studies = math.log(max(1, len(refs)))

    def weights(counts: Counts) -> list[dict[tuple[str, ...], float]]:
        by_order: list[dict[tuple[str, ...], float]] = [{} for _ in _ORDERS]
        for ngram, times in counts.items():
            by_order[len(ngram) - 1][ngram] = times * (log_studies - math.log(max(1, documents[ngram])))
        return by_order

    values = []
    for hypothesis, of in zip(hypotheses, refs):
        hyp = _all_ngrams(cut(hypothesis))
        own = weights(hyp)
        each = [
            math.exp(-((_bigrams(hyp) - _bigrams(ref)) ** 2) / (2 * sigma**2))
            * sum(_clipped_cosine(*pair) for pair in zip(own, weights(ref)))
            for ref in of
        ]
        values.append(10 / len(_ORDERS) * sum(each) / len(each))
    return np.array(values, dtype=np.float64)


def _clipped_cosine(hyp: dict[tuple[str, ...], float], ref: dict[tuple[str, ...], float]) -> float:
    shared = sum(min(hyp[ngram], weight) * weight for ngram, weight in ref.items() if ngram in hyp)
    lengths = math.sqrt(sum(weight**2 for weight in hyp.values()) * sum(weight**2 for weight in ref.values()))
    return shared / lengths if lengths > 0 else 0.0


def _bigrams(counts: Counts) -> int:
    """How long a text is to the original."""
    return sum(times for ngram, times in counts.items() if len(ngram) == 2)


def _all_ngrams(words: Words) -> Counts:
    found: Counts = Counter()
    for order in _ORDERS:
        found += _ngrams(words, order)
    return found


def _ngrams(words: Words, order: int) -> Counts:
    return Counter(tuple(words[start : start + order]) for start in range(len(words) - order + 1))
