"""Keys and values of the studies being written: one row a study, and a token stands in the column of its position.

A query at position p sees the columns up to p of its own row and nothing else. So neither padding nor what an earlier
study left behind needs clearing: it lies in columns that are written again before they are seen. Prompts, single steps
and steps with drafted tokens are one and the same operation. The price is that all rows are as wide as the longest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

_GROWTH = 64  # columns added when a row needs more


class RowKVCache:
    """It takes the place of a transformers cache: the model calls `update` in every layer.

    Buffers are (R, columns, H, D), two a layer. Given 4-D masks and positions, the model asks nothing else of a cache.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.columns = 0
        self.layers: list[list[torch.Tensor]] = []
        self.slots = torch.empty(0, dtype=torch.long)  # the rows of the present call
        self.positions = torch.empty(0, dtype=torch.long)  # (r, q), of the present call
        self.seen = 0  # columns that the present call may see

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, ...]:
        """Write (r, H, q, D) to the call's rows and positions; returns these rows, (r, H, seen, D) each."""
        if layer == len(self.layers):
            self.layers.append([_empty(new.transpose(1, 2), self.count, self.columns) for new in (keys, values)])
        shown = []
        for buffer, new in zip(self.layers[layer], (keys, values)):
            buffer[self.slots[:, None], self.positions] = new.transpose(1, 2)
            rows = buffer if len(self.slots) == self.count else buffer[self.slots]
            shown.append(rows[:, : self.seen].transpose(1, 2))
        return tuple(shown)

    def begin(self, slots: Sequence[int], known: RowKVCache, length: int) -> None:
        """Let rows start with the first `length` columns of `known`, which has one row."""
        self.reserve(length)
        if not self.layers:
            self.layers = [[_empty(each, self.count, self.columns) for each in two] for two in known.layers]
        for two, others in zip(self.layers, known.layers):
            for buffer, other in zip(two, others):
                buffer[list(slots), :length] = other[:, :length]

    def reserve(self, columns: int) -> None:
        """Room for at least `columns` columns."""
        if columns > self.columns:
            more = (columns - self.columns + _GROWTH - 1) // _GROWTH * _GROWTH
            self.columns += more
            padding = (0, 0, 0, 0, 0, more)
            self.layers = [[torch.nn.functional.pad(buffer, padding) for buffer in two] for two in self.layers]

    def keep(self, slots: Sequence[int]) -> None:
        """Drop all rows but these, which are numbered anew."""
        self.count = len(slots)
        self.layers = [[buffer[list(slots)] for buffer in two] for two in self.layers]


def _empty(like: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    return like.new_zeros(rows, columns, *like.shape[2:])


def compute(
    model: Any, rows: RowKVCache, slots: Sequence[int], embeddings: torch.Tensor, first: Sequence[int]
) -> torch.Tensor:
    """Run (r, q, C) embeddings through the language model into `slots`; row i begins at position first[i].

    Returns the last hidden states (r, q, C). `slots` is in rising order when it names all rows.
    """
    device = embeddings.device
    width = embeddings.shape[1]
    positions = torch.tensor(first, device=device)[:, None] + torch.arange(width, device=device)
    rows.reserve(max(first) + width)
    rows.slots, rows.positions, rows.seen = torch.tensor(list(slots), device=device), positions, max(first) + width
    seen = torch.arange(rows.seen, device=device) <= positions[:, :, None]
    hidden: torch.Tensor = model.model.language_model(
        inputs_embeds=embeddings,
        attention_mask=seen[:, None],
        position_ids=positions,
        past_key_values=rows,
        use_cache=True,
    ).last_hidden_state
    return hidden
