"""Token numbers of many texts, each text cut once however often it is scored.

References are read again for every baseline, and several metrics cut texts the same way. What is kept is four bytes a
token instead of a string: a test set of 100,000 reports takes some 50 MB for a tokenizer.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
_MOST_TEXTS = 1 << 19  # a table that has grown beyond starts again


@dataclass(frozen=True)
class Numbered:
    """Token numbers of N texts one after the other, and how many each text has (N,)."""

    flat: Ints
    lengths: Ints


@dataclass(frozen=True)
class InPieces:
    """A tokenizer that cuts a text in `pieces`, mostly its sentences, which repeat, and gives the `tokens` of each."""

    pieces: Callable[[str], Iterable[str]]
    tokens: Callable[[str], Sequence[str]]

    def __call__(self, text: str) -> tuple[str, ...]:
        return tuple(token for piece in self.pieces(text) for token in self.tokens(piece))


@dataclass(frozen=True)
class CutAgain:
    """A tokenizer whose tokens are those of a `coarser` one, cut again at white space."""

    coarser: InPieces

    def __call__(self, text: str) -> tuple[str, ...]:
        return tuple(part for token in self.coarser(text) for part in token.split())


class Table(Protocol):
    """Gives the token numbers of texts, the same for equal tokens."""

    def numbered(self, texts: Sequence[str]) -> Numbered:
        """The token numbers of N texts."""

    def lengths(self, texts: Sequence[str]) -> Ints:
        """How many tokens each of N texts has."""


class TokenTable:
    """The tokens of all texts seen so far by one tokenizer, as numbers that are the same for equal tokens."""

    def __init__(self, cut: Callable[[str], Sequence[str]]) -> None:
        self._cut = cut
        self._numbers: defaultdict[str, int] = defaultdict(count().__next__)
        self._forget_texts()

    def _forget_texts(self) -> None:
        self._rows: dict[str, int] = {}
        self._pieces: dict[str, array[int]] = {}
        self._flat = array("i")
        self._ends = array("q", [0])

    def numbered(self, texts: Sequence[str]) -> Numbered:
        """The token numbers of N texts."""
        rows = self._rows_of(texts)
        ends = np.frombuffer(self._ends, dtype=np.int64)
        starts, lengths = ends[rows], ends[rows + 1] - ends[rows]
        return Numbered(np.frombuffer(self._flat, dtype=np.intc)[_places(starts, lengths)].astype(np.int64), lengths)

    def lengths(self, texts: Sequence[str]) -> Ints:
        """How many tokens each of N texts has."""
        rows = self._rows_of(texts)
        ends = np.frombuffer(self._ends, dtype=np.int64)
        return ends[rows + 1] - ends[rows]

    def tokens(self, start: int = 0) -> list[str]:
        """The tokens from a number on, in the order of their numbers."""
        return list(islice(self._numbers, start, None)) if start < len(self._numbers) else []

    def _rows_of(self, texts: Sequence[str]) -> Ints:
        if len(self._rows) > _MOST_TEXTS:
            self._forget_texts()
        for text in texts:
            if text not in self._rows:
                self._rows[text] = len(self._rows)
                self._append(text)
                self._ends.append(len(self._flat))
        return np.fromiter(map(self._rows.__getitem__, texts), dtype=np.int64, count=len(texts))

    def _append(self, text: str) -> None:
        """Append the numbers of a text's tokens."""
        if not isinstance(self._cut, InPieces):
            self._flat.extend(map(self._numbers.__getitem__, self._cut(text)))
            return
        known, flat = self._pieces, self._flat
        for piece in self._cut.pieces(text):
            numbers = known.get(piece)
            if numbers is None:
                numbers = known[piece] = array("i", map(self._numbers.__getitem__, self._cut.tokens(piece)))
            flat.extend(numbers)


class FinerTable:
    """The tokens of another table cut again at white space: nearly all are whole, so no text is read a second time.

    Tokens are numbered in the order in which they are read, as if texts were cut by this tokenizer alone.
    """

    def __init__(self, coarser: TokenTable) -> None:
        self._coarser = coarser
        self._numbers: defaultdict[str, int] = defaultdict(count().__next__)
        self._flat = np.zeros(0, dtype=np.int64)  # the numbers of the parts of the other table's tokens
        self._ends = np.zeros(1, dtype=np.int64)
        self._whole = True  # no token of the other table was cut: numbers are the same

    def numbered(self, texts: Sequence[str]) -> Numbered:
        """The token numbers of N texts."""
        found = self._coarser.numbered(texts)
        self._learn()
        if self._whole:
            return found
        parts = np.diff(self._ends)[found.flat]
        ends = np.append(0, np.cumsum(parts))[np.append(0, np.cumsum(found.lengths))]
        return Numbered(self._flat[_places(self._ends[found.flat], parts)], np.diff(ends))

    def lengths(self, texts: Sequence[str]) -> Ints:
        """How many tokens each of N texts has."""
        lengths = self._coarser.lengths(texts)
        self._learn()
        return lengths if self._whole else self.numbered(texts).lengths

    def _learn(self) -> None:
        """Number the parts of tokens that are new to the other table."""
        tokens = self._coarser.tokens(len(self._ends) - 1)
        if tokens:
            parts = [token.split() for token in tokens]
            self._whole &= all(of == [token] for of, token in zip(parts, tokens))
            numbers = [self._numbers[part] for of_token in parts for part in of_token]
            self._flat = np.append(self._flat, np.array(numbers, dtype=np.int64))
            self._ends = np.append(self._ends, self._ends[-1] + np.cumsum(list(map(len, parts))))


def _places(starts: Ints, lengths: Ints) -> Ints:
    """Where the elements of N runs stand, one run after the other."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()), dtype=np.int64)


@lru_cache(maxsize=8)
def token_table(cut: Callable[[str], Sequence[str]]) -> Table:
    """The table of one tokenizer."""
    if not isinstance(cut, CutAgain):
        return TokenTable(cut)
    coarser = token_table(cut.coarser)
    assert isinstance(coarser, TokenTable)
    return FinerTable(coarser)
