"""The KV cache of the studies being written: one row per study, and the token of position p is stored in column p.

A query at position p sees the columns up to p of its own row and nothing else. So neither padding nor what an earlier
study left behind needs clearing: it lies in columns that are written again before they are seen. Prefill, single steps
and steps that check proposed tokens are one and the same operation. The price is that all rows are as wide as the
longest.

Shapes: R rows of the cache, r rows of one call, q query positions of a call, P columns, H key-value heads, D values a
head, C hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

_GROWTH = 64  # columns added when a row needs more


class RowKVCache:
    """Used in place of a transformers cache: the model calls `update` in every layer.

    Buffers are (R, P, H, D), keys and values of each layer. Given 4-D masks and positions, the model asks nothing else
    of a cache.
    """

    def __init__(self, count: int) -> None:
        self.count = count  # R
        self.columns = 0  # P
        self.layers: list[list[torch.Tensor]] = []
        self.slots = torch.empty(0, dtype=torch.long)  # (r,), rows of the present call
        self.positions = torch.empty(0, dtype=torch.long)  # (r, q), of the present call
        self.seen = 0  # columns that the present call may see

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, ...]:
        """Store keys and values (r, H, q, D) of one layer; returns those rows up to column `seen`, (r, H, seen, D)."""
        if layer == len(self.layers):
            self.layers.append([_empty(new.transpose(1, 2), self.count, self.columns) for new in (keys, values)])
        result = []
        for buffer, new in zip(self.layers[layer], (keys, values)):
            buffer[self.slots[:, None], self.positions] = new.transpose(1, 2)  # (r, q, H, D)
            rows = buffer if len(self.slots) == self.count else buffer[self.slots]  # (r, P, H, D)
            result.append(rows[:, : self.seen].transpose(1, 2))
        return tuple(result)

    def copy_prefix(self, slots: Sequence[int], prefix: RowKVCache, length: int) -> None:
        """Fill the first `length` columns of `slots` from `prefix`, a cache of one row."""
        self.reserve(length)
        if not self.layers:
            self.layers = [[_empty(each, self.count, self.columns) for each in pair] for pair in prefix.layers]
        for pair, others in zip(self.layers, prefix.layers):
            for buffer, other in zip(pair, others):
                buffer[list(slots), :length] = other[:, :length]

    def row(self, slot: int, length: int) -> RowKVCache:
        """The first `length` columns of a row, copied, as a cache of one row."""
        one = RowKVCache(1)
        one.columns = length
        one.layers = [[buffer[slot : slot + 1, :length].clone() for buffer in pair] for pair in self.layers]
        return one

    def reserve(self, columns: int) -> None:
        """Room for at least `columns` columns."""
        if columns > self.columns:
            more = (columns - self.columns + _GROWTH - 1) // _GROWTH * _GROWTH
            self.columns += more
            padding = (0, 0, 0, 0, 0, more)
            self.layers = [[torch.nn.functional.pad(buffer, padding) for buffer in pair] for pair in self.layers]

    def keep(self, slots: Sequence[int]) -> None:
        """Drop all rows but these, which are renumbered from 0."""
        self.count = len(slots)
        self.layers = [[buffer[list(slots)] for buffer in pair] for pair in self.layers]


def _empty(like: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    return like.new_zeros(rows, columns, *like.shape[2:])


def compute(
    model: Any, cache: RowKVCache, slots: Sequence[int], embeddings: torch.Tensor, first: Sequence[int]
) -> torch.Tensor:
    """Run embeddings (r, q, C) through the language model, into rows `slots`; row i starts at position first[i].

    Returns the last hidden states (r, q, C). `slots` is in rising order when it names all rows.
    """
    device = embeddings.device
    width = embeddings.shape[1]  # q
    positions = torch.tensor(first, device=device)[:, None] + torch.arange(width, device=device)  # (r, q)
    cache.reserve(max(first) + width)
    cache.slots, cache.positions, cache.seen = torch.tensor(list(slots), device=device), positions, max(first) + width
    mask = torch.arange(cache.seen, device=device) <= positions[:, :, None]  # (r, q, seen)
    hidden: torch.Tensor = model.model.language_model(
        inputs_embeds=embeddings,
        attention_mask=mask[:, None],  # (r, 1, q, seen)
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    return hidden
