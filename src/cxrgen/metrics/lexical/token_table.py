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
from itertools import count

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
        before = np.cumsum(lengths) - lengths
        places = np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()), dtype=np.int64)
        return Numbered(np.frombuffer(self._flat, dtype=np.intc)[places].astype(np.int64), lengths)

    def lengths(self, texts: Sequence[str]) -> Ints:
        """How many tokens each of N texts has."""
        rows = self._rows_of(texts)
        ends = np.frombuffer(self._ends, dtype=np.int64)
        return ends[rows + 1] - ends[rows]

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
        for piece in self._cut.pieces(text):
            if piece not in self._pieces:
                self._pieces[piece] = array("i", map(self._numbers.__getitem__, self._cut.tokens(piece)))
            self._flat.extend(self._pieces[piece])


@lru_cache(maxsize=8)
def token_table(cut: Callable[[str], Sequence[str]]) -> TokenTable:
    """The table of one tokenizer."""
    return TokenTable(cut)
