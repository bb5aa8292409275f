"""Conversations to reports: greedy, every row stopping by itself, free rows refilled with the next study.

Reports differ much in length, so a batch that waits for its longest row wastes most of its work. Here all rows share
one key-value buffer whose columns are time: a new study's prompt is computed apart and copied in so that it *ends* at
the current column, whatever stands to its left being masked. Positions are each row's own, so a row's tokens do not
depend on its neighbours: any batch size writes what one-by-one would write.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from cxrgen.model.batches import Sample, collate
from cxrgen.model.bundle import Bundle
from cxrgen.model.conversation import encode_prompt
from cxrgen.model.pixels import film_pixels
from cxrgen.records import Conversation, Prediction

_GROWTH = 64  # columns added when the buffer is full


@dataclass
class _Row:
    """A study being written: `start` is the buffer column where its prompt begins."""

    number: int
    start: int
    length: int  # prompt and answer so far, in tokens
    answer: list[int] = field(default_factory=list)


class _Columns:
    """Keys and values of all rows and layers, (R, H, columns, D) each; `stop` is the column of the next token.

    It stands for a transformers cache: the model calls `update` in every layer. Given 4-D masks and positions, it asks
    nothing else of a cache.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.stop = 0
        self.layers: list[list[torch.Tensor]] = []

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any) -> tuple[torch.Tensor, ...]:
        """Write one new column of every row; returns all columns up to and including it."""
        for buffer, new in zip(self.layers[layer], (keys, values)):
            buffer[:, :, self.stop : self.stop + 1] = new
        return tuple(buffer[:, :, : self.stop + 1] for buffer in self.layers[layer])

    def admit(self, slots: Sequence[int], prompts: Any) -> None:
        """Copy the keys and values of left-padded `prompts` (a filled cache of len(slots) rows) to end at `stop`."""
        length = prompts.get_seq_length()
        if not self.layers:
            self.layers = [
                [
                    states.new_zeros(self.rows, states.shape[1], 0, states.shape[3])
                    for states in (each.keys, each.values)
                ]
                for each in prompts.layers
            ]
        if length > self.stop:  # longer than all that was: make room on the left
            self._pad(length - self.stop, left=True)
            self.stop = length
        self.reserve()
        for buffers, each in zip(self.layers, prompts.layers):
            for buffer, new in zip(buffers, (each.keys, each.values)):
                buffer[slots, :, self.stop - length : self.stop] = new

    def reserve(self) -> None:
        """Room for at least one more column."""
        if self.layers[0][0].shape[2] <= self.stop:
            self._pad(_GROWTH, left=False)

    def forget(self, columns: int) -> None:
        """Drop the first `columns`, which no row needs any more."""
        self.layers = [[buffer[:, :, columns:].clone() for buffer in buffers] for buffers in self.layers]
        self.stop -= columns

    def _pad(self, columns: int, left: bool) -> None:
        amount = (0, 0, columns, 0) if left else (0, 0, 0, columns)
        self.layers = [[torch.nn.functional.pad(buffer, amount) for buffer in buffers] for buffers in self.layers]


@torch.inference_mode()
def write_reports(
    bundle: Bundle, conversations: Sequence[Conversation], folder: Path, batch_size: int, max_new_tokens: int
) -> Iterator[tuple[int, Prediction]]:
    """Yield (index into `conversations`, report) as each report is finished; short ones come first.

    Only the human turns are read. Image paths are relative to `folder`; InputError names one that cannot be read.
    """
    tokenizer = bundle.tokenizer
    bundle.model.eval()
    columns = _Columns(min(batch_size, len(conversations)))
    slots: list[_Row | None] = [None] * columns.rows
    waiting = iter(range(len(conversations)))
    exhausted = False
    tokens = torch.zeros(columns.rows, dtype=torch.long)
    while True:
        free = [slot for slot, row in enumerate(slots) if row is None]
        # Prompts are cheaper together, so a few rows may idle until an eighth of the batch is free.
        if not exhausted and (len(free) >= max(1, columns.rows // 8) or len(free) == columns.rows):
            numbers = [number for _, number in zip(free, waiting)]
            exhausted = len(numbers) < len(free)
            if numbers:
                _admit(bundle, conversations, folder, columns, slots, tokens, free[: len(numbers)], numbers)
        active = [slot for slot, row in enumerate(slots) if row is not None]
        if not active:
            return
        for slot in active:
            row = slots[slot]
            assert row is not None
            token = int(tokens[slot])
            if token != tokenizer.eos_token_id:
                row.answer.append(token)
            if token == tokenizer.eos_token_id or len(row.answer) >= max_new_tokens:
                text = tokenizer.decode(row.answer, skip_special_tokens=True).strip()
                yield row.number, Prediction(conversations[row.number].id, text)
                slots[slot] = None
        if any(row is not None for row in slots):
            tokens = _next_tokens(bundle, columns, slots, tokens)


def _admit(
    bundle: Bundle,
    conversations: Sequence[Conversation],
    folder: Path,
    columns: _Columns,
    slots: list[_Row | None],
    tokens: torch.Tensor,
    free: Sequence[int],
    numbers: Sequence[int],
) -> None:
    """Compute the prompts of `numbers` together and put them into the `free` slots, with their first tokens."""
    image_processor, aspect = bundle.processor.image_processor, bundle.format.aspect
    samples = []
    for number in numbers:
        each = conversations[number]
        prompt = encode_prompt(each.turns[:1], bundle.tokenizer, bundle.format)
        samples.append(Sample(each.id, tuple(prompt), (), each.images))
    batch = collate(
        samples,
        bundle.tokenizer.pad_token_id,
        lambda path: film_pixels([folder / path], image_processor, aspect)[0],
        left=True,
    )
    device = bundle.model.device
    mask = batch["attention_mask"]
    outputs = bundle.model(
        input_ids=batch["input_ids"].to(device),
        attention_mask=mask.to(device),
        position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0).to(device),
        pixel_values=batch["pixel_values"].to(device, bundle.model.dtype) if "pixel_values" in batch else None,
        use_cache=True,
        logits_to_keep=1,
    )
    before = columns.stop
    columns.admit(free, outputs.past_key_values)
    for row in slots:
        if row is not None:
            row.start += columns.stop - before
    first = outputs.logits[:, -1].argmax(dim=-1).cpu()
    for place, (slot, sample) in enumerate(zip(free, samples)):
        length = len(sample.input_ids)
        slots[slot] = _Row(numbers[place], columns.stop - length, length)
        tokens[slot] = first[place]


def _next_tokens(bundle: Bundle, columns: _Columns, slots: Sequence[_Row | None], tokens: torch.Tensor) -> torch.Tensor:
    """One step of all rows; what idle rows compute is never read."""
    unused = min(row.start for row in slots if row is not None)
    if unused >= _GROWTH:
        columns.forget(unused)
        for row in slots:
            if row is not None:
                row.start -= unused
    columns.reserve()
    starts = torch.tensor([columns.stop if row is None else row.start for row in slots])
    lengths = torch.tensor([0 if row is None else row.length for row in slots])
    seen = torch.arange(columns.stop + 1)[None, :] >= starts[:, None]
    device = bundle.model.device
    outputs = bundle.model(
        input_ids=tokens[:, None].to(device),
        attention_mask=seen[:, None, None, :].to(device),
        position_ids=lengths[:, None].to(device),
        past_key_values=columns,
        use_cache=True,
    )
    columns.stop += 1
    for row in slots:
        if row is not None:
            row.length += 1
    chosen: torch.Tensor = outputs.logits[:, -1].argmax(dim=-1).cpu()
    return chosen
