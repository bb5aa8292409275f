"""Token numbers of many texts, each text cut once however often it is scored.

References are read again for every baseline, and several metrics cut texts the same way. What is kept is four bytes a
token instead of a string: a test set of 100,000 reports takes some 50 MB for a tokenizer.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Sequence
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


class TokenTable:
    """The tokens of all texts seen so far by one tokenizer, as numbers that are the same for equal tokens."""

    def __init__(self, cut: Callable[[str], Sequence[str]]) -> None:
        self._cut = cut
        self._numbers: defaultdict[str, int] = defaultdict(count().__next__)
        self._forget_texts()

    def _forget_texts(self) -> None:
        self._rows: dict[str, int] = {}
        self._flat = array("i")
        self._ends = array("q", [0])

    def numbered(self, texts: Sequence[str]) -> Numbered:
        """The token numbers of N texts."""
        if len(self._rows) > _MOST_TEXTS:
            self._forget_texts()
        for text in texts:
            if text not in self._rows:
                self._rows[text] = len(self._rows)
                self._flat.extend(map(self._numbers.__getitem__, self._cut(text)))
                self._ends.append(len(self._flat))
        rows = np.fromiter(map(self._rows.__getitem__, texts), dtype=np.int64, count=len(texts))
        ends = np.frombuffer(self._ends, dtype=np.int64)
        starts, lengths = ends[rows], ends[rows + 1] - ends[rows]
        before = np.cumsum(lengths) - lengths
        places = np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()), dtype=np.int64)
        return Numbered(np.frombuffer(self._flat, dtype=np.intc)[places].astype(np.int64), lengths)


@lru_cache(maxsize=8)
def token_table(cut: Callable[[str], Sequence[str]]) -> TokenTable:
    """The table of one tokenizer."""
    return TokenTable(cut)
