"""Word sequences of many pairs of texts at once, as arrays: what BLEU, ROUGE-1/2 and CIDEr count.

Counting n-grams text by text in Python is what makes the usual scorers slow. Here all texts are one long array of word
numbers; an n-gram is a number too, the same for both sides, made from the (n-1)-gram before it and one more word.
Everything is exact: numbers are given out, nothing is hashed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from cxrgen.metrics import Floats

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Counted:
    """The distinct n-grams of one side: study `study[i]` has n-gram `ngram[i]` `times[i]` times; sorted by both."""

    study: Ints
    ngram: Ints
    times: Ints


@dataclass(frozen=True)
class Order:
    """The n-grams of one order in the reports and in the references of N studies; `kinds` different ones in all."""

    hyp: Counted
    ref: Counted
    studies: int
    kinds: int

    def totals(self) -> tuple[Floats, Floats]:
        """How many n-grams each report and each reference has, shape (N,) each."""
        hyp, ref = (np.bincount(side.study, side.times, self.studies) for side in (self.hyp, self.ref))
        return hyp.astype(np.float64), ref.astype(np.float64)

    def shared(self) -> tuple[Ints, Ints]:
        """Positions in `hyp` and in `ref` of the n-grams that both texts of a study have."""
        keys = [side.study * self.kinds + side.ngram for side in (self.hyp, self.ref)]
        _, first, second = np.intersect1d(keys[0], keys[1], assume_unique=True, return_indices=True)
        return first, second

    def matches(self) -> Floats:
        """Clipped matches of each study, shape (N,)."""
        first, second = self.shared()
        clipped = np.minimum(self.hyp.times[first], self.ref.times[second])
        return np.bincount(self.hyp.study[first], clipped, self.studies).astype(np.float64)


def orders(hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[str]], highest: int) -> Iterator[Order]:
    """The n-grams of N pairs of token sequences, order 1 to `highest`."""
    studies = len(hypotheses)
    texts = [*hypotheses, *references]
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    numbers = {word: number for number, word in enumerate(dict.fromkeys(chain.from_iterable(texts)))}
    word = np.fromiter(map(numbers.__getitem__, chain.from_iterable(texts)), dtype=np.int64, count=int(lengths.sum()))
    text_of = np.repeat(np.arange(len(texts), dtype=np.int64), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(word))  # words from here to the text's end
    start, ngram, kinds = np.arange(len(word)), word, len(numbers)
    for order in range(1, highest + 1):
        if order > 1:
            kept = left[start] >= order
            start = start[kept]
            ngram = ngram[kept] * len(numbers) + word[start + order - 1]
            names, ngram = np.unique(ngram, return_inverse=True)
            kinds = len(names)
        text, counted, times = _count(text_of[start], ngram, max(1, kinds))
        border = np.searchsorted(text, studies)
        hyp = Counted(text[:border], counted[:border], times[:border])
        ref = Counted(text[border:] - studies, counted[border:], times[border:])
        yield Order(hyp, ref, studies, max(1, kinds))


def _count(text: Ints, ngram: Ints, kinds: int) -> tuple[Ints, Ints, Ints]:
    keys, times = np.unique(text * kinds + ngram, return_counts=True)
    return keys // kinds, keys % kinds, times
