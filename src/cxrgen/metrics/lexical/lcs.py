"""Lengths of the longest common subsequences of many pairs of texts.

Bit-parallel (Hyyro 2004), over hundreds of pairs at a time: a bit of a row of machine words is a token of the report;
one step takes one token of all references. The usual table takes a step for each pair of tokens; the lengths are equal.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cxrgen.metrics import Floats
from cxrgen.metrics.lexical.token_table import Ints, Numbered

_COMPARED_AT_ONCE = 4_000_000  # pairs of tokens
_BITS = 64
Tokens = NDArray[np.int32]
Words = NDArray[np.uint64]


def common_lengths(hyp: Numbered, ref: Numbered) -> Floats:
    """The length for each of N pairs of token sequences, shape (N,)."""
    found = np.zeros(len(hyp.lengths))
    for rows in _batches(hyp.lengths, ref.lengths):
        found[rows] = _of_batch(_padded(hyp, rows, _BITS, -1), _padded(ref, rows, 1, -2))
    return found


def _batches(hyp: Ints, ref: Ints) -> Iterator[Ints]:
    """Rows of pairs of like length, as many as can be compared at once."""
    order = np.lexsort((ref, hyp))
    start = 0
    while start < len(order):
        area = (hyp[order[start]] + _BITS) * (ref[order[start]] + _BITS)
        rows = order[start : start + max(1, int(_COMPARED_AT_ONCE // area))]
        yield rows
        start += len(rows)


def _padded(texts: Numbered, rows: Ints, multiple: int, filler: int) -> Tokens:
    """The tokens of B texts as (B, L), where L is a multiple of `multiple`."""
    lengths, starts = texts.lengths[rows], (np.cumsum(texts.lengths) - texts.lengths)[rows]
    width = -(-max(1, int(lengths.max())) // multiple) * multiple
    columns = np.arange(width)
    inside = columns < lengths[:, None]
    table = np.full((len(rows), width), filler, dtype=np.int32)
    table[inside] = texts.flat[(starts[:, None] + columns)[inside]]
    return table


def _of_batch(hyp: Tokens, ref: Tokens) -> Floats:
    """Common lengths of B pairs from (B, L) and (B, M) tokens; fillers of both sides differ."""
    equal = hyp[:, None, :] == ref[:, :, None]  # (B, M, L)
    matches: Words = np.packbits(equal, axis=2, bitorder="little").view(np.uint64)  # (B, M, words)
    words = matches.shape[2]
    row = np.full((words, len(hyp)), np.iinfo(np.uint64).max, dtype=np.uint64)
    for column in range(ref.shape[1]):
        carry = np.zeros(len(hyp), dtype=np.uint64)
        for word in range(words):
            before = row[word]
            matched = before & matches[:, column, word]
            once = before + matched
            total = once + carry
            carry = ((once < before) | (total < once)).astype(np.uint64)
            row[word] = total | (before - matched)
    ones = np.unpackbits(np.ascontiguousarray(row.T).view(np.uint8), axis=1).sum(axis=1)
    return np.asarray(words * _BITS - ones, dtype=np.float64)
