"""N-grams of many pairs of texts at once, as arrays: what BLEU, ROUGE-1/2 and CIDEr count.

Counting n-grams text by text in Python is what makes the usual scorers slow. Here the texts of some thousand pairs are
one long array of token numbers, an n-gram is a number made of those of its tokens, and counting is sorting. Pairs are
taken some thousands at a time, so that the arrays stay in the processor's cache and memory does not grow with the set.
Everything is exact: numbers are assigned, nothing is hashed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cxrgen.metrics import Floats
from cxrgen.metrics.lexical.token_table import Ints, Numbered, token_table

Cut = Callable[[str], Sequence[str]]
_PAIRS_AT_ONCE = 4_096
_CHARACTERS_AT_ONCE = 8_000_000
_PACKED = 31  # bits of a token's number beside another one


@dataclass(frozen=True)
class Counted:
    """The distinct n-grams of one order in texts: text `text[i]` has n-gram `ngram[i]` `times[i]` times."""

    text: Ints
    ngram: Ints
    times: Ints


@dataclass(frozen=True)
class Order:
    """The n-grams of one order of N studies, in the reports and the references; `shared` are pairs of rows of both."""

    hyp: Counted
    ref: Counted
    shared: tuple[Ints, Ints]
    studies: int

    def totals(self) -> tuple[Floats, Floats]:
        """How many n-grams each report and each reference has, shape (N,) each."""
        hyp, ref = (np.bincount(side.text, side.times, self.studies) for side in (self.hyp, self.ref))
        return hyp.astype(np.float64), ref.astype(np.float64)

    def matches(self) -> Floats:
        """Clipped matches of each study, shape (N,)."""
        first, second = self.shared
        clipped = np.minimum(self.hyp.times[first], self.ref.times[second])
        return np.bincount(self.hyp.text[first], clipped, self.studies).astype(np.float64)


@dataclass(frozen=True)
class Part:
    """Some thousand pairs of texts: `rows` of the set, and their tokens."""

    rows: slice
    hyp: Numbered
    ref: Numbered


def parts(cut: Cut, hypotheses: Sequence[str], references: Sequence[str]) -> Iterator[Part]:
    """The pairs of a set, some thousands at a time, cut by a tokenizer."""
    table = token_table(cut)
    for rows in slices([len(hyp) + len(ref) for hyp, ref in zip(hypotheses, references)]):
        yield Part(rows, table.numbered(hypotheses[rows]), table.numbered(references[rows]))


def slices(characters: Sequence[int]) -> Iterator[slice]:
    """Rows to be counted together: some thousands, fewer where they are long."""
    start = total = 0
    for row, length in enumerate(characters):
        if row > start and (row - start == _PAIRS_AT_ONCE or total + length > _CHARACTERS_AT_ONCE):
            yield slice(start, row)
            start, total = row, 0
        total += length
    if characters:
        yield slice(start, len(characters))


class Ngrams:
    """The n-grams of texts, order by order, as numbers.

    `bigrams` are the distinct pairs of tokens, packed and sorted; longer n-grams are made of positions in it.
    """

    def __init__(self, *sides: Numbered) -> None:
        lengths = np.concatenate([side.lengths for side in sides])
        self.word = np.concatenate([side.flat for side in sides])
        self.text = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
        self._left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(self.word))  # tokens from here to the end
        first = np.flatnonzero(self._left >= 2)
        self.bigrams, numbers = np.unique(self.word[first] << _PACKED | self.word[first + 1], return_inverse=True)
        self._bigram = np.zeros(len(self.word), dtype=np.int64)
        self._bigram[first] = numbers
        self._word_bits = int(self.word.max(initial=0)).bit_length()
        self._bigram_bits = len(self.bigrams).bit_length()

    def of_order(self, order: int) -> tuple[Ints, Ints]:
        """Text and number of each n-gram of an order from 1 to 4."""
        if order == 1:
            return self.text, self.word
        first = np.flatnonzero(self._left >= order)
        ngram = self._bigram[first]
        if order == 3:
            ngram = ngram << self._word_bits | self.word[first + 2]
        elif order == 4:
            ngram = ngram << self._bigram_bits | self._bigram[first + 2]
        return self.text[first], ngram

    def packed(self, order: int, ngram: Ints, bigrams: Ints) -> Ints:
        """Numbers of n-grams as keys that mean the same for other texts; `bigrams` are the numbers of `self.bigrams`.

        A key below 0 has a bigram whose number is below 0.
        """
        if order == 1:
            return ngram
        if order == 2:
            return bigrams[ngram]
        bits = self._word_bits if order == 3 else self._bigram_bits
        begin, end = bigrams[ngram >> bits], ngram & ((1 << bits) - 1)
        end = end if order == 3 else bigrams[end]
        return np.where((begin < 0) | (end < 0), -1, begin << _PACKED | end)


def orders(part: Part, highest: int) -> Iterator[Order]:
    """The n-grams of a part of a set, order 1 to `highest`."""
    ngrams = Ngrams(part.hyp, part.ref) if highest else None
    for order in range(1, highest + 1):
        if ngrams is not None:
            yield counted(*ngrams.of_order(order), len(part.hyp.lengths))


def counted(text: Ints, ngram: Ints, studies: int) -> Order:
    """Count n-grams; texts from `studies` on are references. One sort puts both sides of a study's n-gram together."""
    names = None
    bits = int(ngram.max(initial=0)).bit_length() + 1
    if bits + studies.bit_length() > 63:
        names, ngram = np.unique(ngram, return_inverse=True)
        bits = len(names).bit_length() + 1
    side = text >= studies
    keys = np.sort((text - side * studies) << bits | ngram << 1 | side)
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    times, keys = np.diff(starts, append=len(keys)), keys[starts]
    of_ref = (keys & 1).astype(bool)
    study, number = keys >> bits, (keys & ((1 << bits) - 1)) >> 1
    number = number if names is None else names[number]
    hyp, ref = (Counted(study[of], number[of], times[of]) for of in (~of_ref, of_ref))
    pairs = np.flatnonzero((keys[1:] == keys[:-1] + 1) & of_ref[1:])
    row = np.where(of_ref, np.cumsum(of_ref), np.cumsum(~of_ref)) - 1
    return Order(hyp, ref, (row[pairs], row[pairs + 1]), studies)
