"""Conversations to reports: every row stops by itself, and a free row takes the next study at once.

Reports differ much in length, so a batch that waits for its longest row wastes most of its work. What a row computes
does not depend on its neighbours (see `rows`), so any batch size writes what one-by-one would write. What all prompts
begin with is computed once, and so is each image. Drafted tokens are checked several at a time; one counts only if it
is the token that would have been chosen, so drafts change the speed and never the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from cxrgen.core.errors import InputError
from cxrgen.core.records import Conversation, Prediction
from cxrgen.generate.decoding.kv_cache import RowKVCache, compute
from cxrgen.generate.decoding.ngram_drafts import Drafts, drafted_tokens
from cxrgen.generate.decoding.prefill import Images, Prompt, embed, read_prompt
from cxrgen.generate.decoding.sampling import Sampler, greedy, report_text, stop_criteria
from cxrgen.model.checkpoint import Checkpoint

Failed = Callable[[int, str], None]  # index of the conversation, what is wrong with it
DraftsFor = Callable[[Images, Prompt], Drafts]  # the reports that a study's drafts come from
_PROMPT_TOKENS = 8192  # computed at a time; more is no faster and takes memory
_SHORTEST_BEGINNING = 8  # tokens; a shorter common beginning is not worth keeping


def write_reports(
    checkpoint: Checkpoint,
    conversations: Sequence[Conversation],
    folder: Path,
    batch_size: int,
    max_new_tokens: int,
    choose: Sampler = greedy,
    drafts: DraftsFor | None = None,
    failed: Failed | None = None,
) -> Iterator[tuple[int, Prediction]]:
    """Yield (index into `conversations`, report) as each report is finished; short ones come first.

    Only the first turn, the question, is read. Image paths are relative to `folder`. What is wrong with one study (a
    image that cannot be read, a prompt that is too long) is told to `failed`, or raised as InputError without it.
    """
    checkpoint.model.eval()
    batch = _Batch(checkpoint, conversations, folder, min(batch_size, len(conversations)), max_new_tokens)
    batch.choose, batch.drafts, batch.failed = choose, drafts, failed
    while True:
        batch.refill()
        for number, answer in batch.finished():
            yield number, Prediction(conversations[number].id, report_text(answer, batch.stop))
        if batch.exhausted and not any(batch.rows):
            return
        if any(batch.rows):
            batch.step()


@dataclass
class _Row:
    """A study being written: `length` tokens of prompt, then the answer, whose last token is not computed yet."""

    number: int
    length: int
    most: int  # tokens of an answer
    answer: list[int] = field(default_factory=list)
    drafts: Drafts | None = None


class _Batch:
    """The studies that are being written at present, one a row; None is a free row."""

    choose: Sampler
    drafts: DraftsFor | None
    failed: Failed | None

    def __init__(
        self,
        checkpoint: Checkpoint,
        conversations: Sequence[Conversation],
        folder: Path,
        size: int,
        max_new_tokens: int,
    ) -> None:
        self.checkpoint, self.conversations, self.max_new_tokens = checkpoint, conversations, max_new_tokens
        self.images = Images(checkpoint, folder)
        self.stop = stop_criteria(checkpoint.tokenizer, checkpoint.model.generation_config, checkpoint.format.template)
        self.longest = int(checkpoint.model.config.get_text_config().max_position_embeddings)
        self.rows: list[_Row | None] = [None] * size
        self.cache = RowKVCache(size)
        self.waiting = iter(range(len(conversations)))
        self.exhausted = not conversations
        self.beginning: tuple[list[int], RowKVCache] | None = None  # what prompts begin with, and its keys and values

    @torch.inference_mode()
    def refill(self) -> None:
        """Give free rows the next studies, with their first tokens; at the end, drop the free rows."""
        free = [slot for slot, row in enumerate(self.rows) if row is None]
        if self.exhausted:
            if len(free) >= len(self.rows) / 2:
                self.cache.keep([slot for slot, row in enumerate(self.rows) if row is not None])
                self.rows = [row for row in self.rows if row is not None]
            return
        # Prompts are cheaper process_group, so a few rows may idle until an eighth of the batch is free.
        if len(free) < max(1, len(self.rows) // 8):
            return
        numbers = [number for _, number in zip(free, self.waiting)]
        self.exhausted = len(numbers) < len(free)
        prompts = [prompt for number in numbers if (prompt := self._read(number)) is not None]
        if self.beginning is None and prompts:
            self.beginning = self._common_beginning(prompts)
        for some in self._computed_together(prompts):
            self._admit(free[: len(some)], some)
            free = free[len(some) :]

    def finished(self) -> Iterator[tuple[int, list[int]]]:
        """The answers that have come to their end; their rows become free."""
        for slot, row in enumerate(self.rows):
            if row is not None and (self.stop.reached(row.answer) or len(row.answer) >= row.most):
                self.rows[slot] = None
                yield row.number, row.answer

    @torch.inference_mode()
    def step(self) -> None:
        """One call for all rows: the last token of each and what is drafted behind it, padded on the right."""
        rows = [(slot, row) for slot, row in enumerate(self.rows) if row is not None]
        written = {slot: [row.answer[-1], *self._draft(row, len(rows))] for slot, row in rows}
        width = max(map(len, written.values()))
        tokens = [written.get(slot, []) + [0] * (width - len(written.get(slot, []))) for slot in range(len(self.rows))]
        first = [0 if row is None else row.length + len(row.answer) - 1 for row in self.rows]
        embeddings = self.checkpoint.model.get_input_embeddings()(
            torch.tensor(tokens, device=self.checkpoint.model.device)
        )
        hidden = compute(self.checkpoint.model, self.cache, range(len(self.rows)), embeddings, first)
        places = [(slot, row, place) for slot, row in rows for place in range(len(written[slot]))]
        chosen = iter(self._chosen(hidden, places))
        for slot, row in rows:
            following = [next(chosen) for _ in written[slot]]
            for drafted, token in zip([*written[slot][1:], None], following):
                row.answer.append(token)
                if token != drafted or self.stop.reached(row.answer) or len(row.answer) >= row.most:
                    break

    def _read(self, number: int) -> Prompt | None:
        try:
            prompt = read_prompt(self.checkpoint, self.images, number, self.conversations[number])
            if len(prompt.ids) >= self.longest:
                raise InputError(f"the prompt has {len(prompt.ids)} tokens, the model takes {self.longest}; show less")
        except InputError as error:
            if self.failed is None:
                raise
            self.failed(number, str(error))
            return None
        return prompt

    def _common_beginning(self, prompts: Sequence[Prompt]) -> tuple[list[int], RowKVCache]:
        """The words before the first image that all these prompts share, computed; empty when that saves little."""
        shared = min(prompt.words for prompt in prompts)
        for tokens in (prompt.ids for prompt in prompts[1:]):
            shared = next((n for n in range(shared) if tokens[n] != prompts[0].ids[n]), shared)
        shared = min(shared, *(len(prompt.ids) - 1 for prompt in prompts), len(prompts[0].ids) - 1)
        if len(prompts) == 1 or shared < _SHORTEST_BEGINNING:
            return [], RowKVCache(1)
        tokens, cache = prompts[0].ids[:shared], RowKVCache(1)
        ids = torch.tensor([tokens], device=self.checkpoint.model.device)
        compute(self.checkpoint.model, cache, [0], self.checkpoint.model.get_input_embeddings()(ids), [0])
        return tokens, cache

    def _done(self, prompt: Prompt) -> int:
        """How many of the prompt's tokens are known already."""
        known = self.beginning[0] if self.beginning else []
        return len(known) if len(prompt.ids) > len(known) and prompt.ids[: len(known)] == known else 0

    def _computed_together(self, prompts: Sequence[Prompt]) -> Iterator[list[Prompt]]:
        """Groups with the same number of known tokens, none with too many tokens to compute."""
        for done in sorted({self._done(prompt) for prompt in prompts}):
            group: list[Prompt] = []
            for prompt in (prompt for prompt in prompts if self._done(prompt) == done):
                longest = max(len(each.ids) for each in [*group, prompt])
                if group and longest * (len(group) + 1) > _PROMPT_TOKENS:
                    yield group
                    group = []
                group.append(prompt)
            yield group

    def _admit(self, slots: Sequence[int], prompts: Sequence[Prompt]) -> None:
        done = self._done(prompts[0])
        if done and self.beginning:
            self.cache.begin(slots, self.beginning[1], done)
        embeddings = embed(self.checkpoint, self.images, prompts, done)
        hidden = compute(self.checkpoint.model, self.cache, slots, embeddings, [done] * len(slots))
        places = []
        for place, (slot, prompt) in enumerate(zip(slots, prompts)):
            length = len(prompt.ids)
            row = _Row(prompt.number, length, min(self.max_new_tokens, self.longest - length))
            row.drafts = self.drafts(self.images, prompt) if self.drafts else None
            self.rows[slot] = row
            places.append((place, row, length - done - 1))
        for (_, row, _), token in zip(places, self._chosen(hidden, places)):
            row.answer.append(token)

    def _chosen(self, hidden: torch.Tensor, places: Sequence[tuple[int, _Row, int]]) -> list[int]:
        """The tokens that follow at `places`: (row of `hidden`, what is written there, column of `hidden`)."""
        logits = self.checkpoint.model.lm_head(
            hidden[[row for row, _, _ in places], [column for _, _, column in places]]
        )
        studies = [self.conversations[row.number].id for _, row, _ in places]
        steps: list[int] = []
        seen: dict[int, int] = {}
        for _, row, _ in places:
            seen[row.number] = seen.get(row.number, -1) + 1
            steps.append(len(row.answer) + seen[row.number])
        return self.choose(logits, studies, steps)

    def _draft(self, row: _Row, active: int) -> list[int]:
        most = min(drafted_tokens(active), row.most - len(row.answer) - 1)
        return row.drafts.after(row.answer, most) if row.drafts else []
