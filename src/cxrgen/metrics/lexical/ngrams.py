"""N-grams of many pairs of texts at once, as arrays: what BLEU, ROUGE-1/2 and CIDEr count.

Counting n-grams text by text in Python is what makes the usual scorers slow. Here the texts of some thousand pairs are
one long array of token numbers, an n-gram is a number made of those of its tokens, and counting is sorting. Pairs are
taken some thousands at a time, so that the arrays stay in the processor's cache and memory does not grow with the set.
Everything is exact: numbers are assigned, nothing is hashed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np

from cxrgen.metrics import Floats
from cxrgen.metrics.lexical.token_table import Ints, Numbered, token_table

Cut = Callable[[str], Sequence[str]]
ORDERS = (1, 2, 3, 4)
_PAIRS_AT_ONCE = 2_048  # a set of up to twice as many is taken whole
_CHARACTERS_AT_ONCE = 8_000_000
_PACKED = 31  # bits of a token's number beside another one
_NUMBER_BITS = 63


@dataclass(frozen=True)
class Order:
    """The distinct n-grams of one order in the texts of N studies.

    Row i says that study `study[i]` has n-gram `ngram[i]` `times[i]` times, in its report or, where `of_ref[i]` is 1,
    its reference. Rows of one study's n-gram stand together: the report's at `pairs`, the reference's right behind.
    """

    study: Ints
    ngram: Ints
    times: Ints
    of_ref: Ints
    pairs: Ints
    studies: int

    def summed(self, values: Floats | Ints) -> tuple[Floats, Floats]:
        """A value of each row summed over each report and over each reference, shape (N,) each."""
        sums: Floats = np.bincount(self.study << 1 | self.of_ref, values, 2 * self.studies).astype(np.float64)
        return sums[::2], sums[1::2]

    def totals(self) -> tuple[Floats, Floats]:
        """How many n-grams each report and each reference has, shape (N,) each."""
        return self.summed(self.times)

    def matches(self) -> Floats:
        """Clipped matches of each study, shape (N,)."""
        clipped = np.minimum(self.times[self.pairs], self.times[self.pairs + 1])
        return np.bincount(self.study[self.pairs], clipped, self.studies).astype(np.float64)


@dataclass(frozen=True)
class Part:
    """Some thousand pairs of texts: `rows` of the set, and their tokens; n-grams are counted when first asked for."""

    rows: slice
    hyp: Numbered
    ref: Numbered
    _matches: Floats  # of the set, (N, 4): the part's rows are filled in
    _orders: dict[int, Order] = field(default_factory=dict)

    @cached_property
    def ngrams(self) -> Ngrams:
        return Ngrams(self.hyp, self.ref)

    def order(self, number: int) -> Order:
        """The n-grams of an order from 1 to 4."""
        if number not in self._orders:
            found = counted(*self.ngrams.of_order(number), len(self.hyp.lengths))
            self._matches[self.rows, number - 1] = found.matches()
            self._orders[number] = found
        return self._orders[number]


def parts(cut: Cut, hypotheses: Sequence[str], references: Sequence[str]) -> Iterator[Part]:
    """The pairs of a set, some thousands at a time, cut by a tokenizer."""
    table, matches = token_table(cut), _known_matches(cut, tuple(hypotheses), tuple(references))
    for some in _rows_of_parts(hypotheses, references):
        yield Part(some, table.numbered(hypotheses[some]), table.numbered(references[some]), matches)


def read_in_order(cut: Cut, hypotheses: Sequence[str], references: Sequence[str]) -> None:
    """Number all tokens of a set in the order in which `parts` meets them.

    N-grams are summed in the order of their tokens' numbers: so sums are rounded alike whatever is asked for first.
    """
    table = token_table(cut)
    for rows in _rows_of_parts(hypotheses, references):
        table.lengths(hypotheses[rows])
        table.lengths(references[rows])


def _rows_of_parts(hypotheses: Sequence[str], references: Sequence[str]) -> list[slice]:
    return list(slices([len(hyp) + len(ref) for hyp, ref in zip(hypotheses, references)]))


def match_counts(cut: Cut, hypotheses: Sequence[str], references: Sequence[str]) -> Floats:
    """Clipped matches of orders 1-4 of each pair, (N, 4); nothing is counted again where another metric did so."""
    found = _known_matches(cut, tuple(hypotheses), tuple(references))
    if np.isnan(found).any():
        for part in parts(cut, hypotheses, references):
            for number in ORDERS:
                found[part.rows, number - 1] = part.order(number).matches()
    return found


@lru_cache(maxsize=3)  # several metrics ask for the n-grams of a set and of two baselines
def _known_matches(cut: Cut, hypotheses: tuple[str, ...], references: tuple[str, ...]) -> Floats:
    """The matches of a set as far as they were counted, else NaN."""
    return np.full((len(hypotheses), len(ORDERS)), np.nan)


def slices(characters: Sequence[int]) -> Iterator[slice]:
    """Rows to be counted together: some thousands, fewer where they are long."""
    start = total = 0
    at_once = max(_PAIRS_AT_ONCE, len(characters) if len(characters) <= 2 * _PAIRS_AT_ONCE else 0)
    for row, length in enumerate(characters):
        if row > start and (row - start == at_once or total + length > _CHARACTERS_AT_ONCE):
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
        self._word_bits = int(self.word.max(initial=0)).bit_length()
        first = np.flatnonzero(self._left >= 2)
        self.bigrams, numbers = self._numbered(self.word[first], self.word[first + 1])
        self._bigram = np.zeros(len(self.word), dtype=np.int64)
        self._bigram[first] = numbers
        self._bigram_bits = len(self.bigrams).bit_length()

    def _numbered(self, first: Ints, second: Ints) -> tuple[Ints, Ints]:
        """The distinct pairs of tokens, packed and sorted, and the position of each pair among them."""
        pairs, numbers = distinct(first << self._word_bits | second, 2 * self._word_bits)
        return pairs >> self._word_bits << _PACKED | pairs & ((1 << self._word_bits) - 1), numbers

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

    def bits(self, order: int) -> int:
        """How many bits the number of an n-gram of order 3 or 4 has at most."""
        return self._bigram_bits + (self._word_bits if order == 3 else self._bigram_bits)

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


def distinct(keys: Ints, bits: int) -> tuple[Ints, Ints]:
    """The distinct ones of keys of so many bits, sorted, and the position of each key among them.

    Where a key and its place fit in one number, sorting those is faster than sorting places by keys.
    """
    place_bits = len(keys).bit_length()
    if bits + place_bits > _NUMBER_BITS:
        found, positions = np.unique(keys, return_inverse=True)
        return found, positions.astype(np.int64)
    placed = np.sort(keys << place_bits | np.arange(len(keys), dtype=np.int64))
    keys, places = placed >> place_bits, placed & ((1 << place_bits) - 1)
    new = np.diff(keys, prepend=-1) != 0
    positions = np.empty(len(keys), dtype=np.int64)
    positions[places] = np.cumsum(new) - 1
    return keys[new], positions


def counted(text: Ints, ngram: Ints, studies: int) -> Order:
    """Count n-grams; texts from `studies` on are references. One sort puts both sides of a study's n-gram together."""
    names = None
    bits = int(ngram.max(initial=0)).bit_length() + 1
    if bits + studies.bit_length() > _NUMBER_BITS:
        names, ngram = np.unique(ngram, return_inverse=True)
        bits = len(names).bit_length() + 1
    numbers = np.arange(studies, dtype=np.int64) << bits
    keys = np.concatenate([numbers, numbers | 1])[text]
    keys |= ngram << 1
    keys.sort()
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    times, keys = np.diff(starts, append=len(keys)), keys[starts]
    number = (keys & ((1 << bits) - 1)) >> 1
    of_ref = keys & 1
    pairs = np.flatnonzero((keys[1:] == keys[:-1] + 1) & (of_ref[1:] == 1))
    return Order(keys >> bits, number if names is None else names[number], times, of_ref, pairs, studies)
