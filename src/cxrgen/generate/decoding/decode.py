"""Conversations to reports: every row stops by itself, and a free row takes the next study at once.

Reports differ much in length, so a batch that waits for its longest row wastes most of its work. What a row computes
does not depend on its neighbours (see `kv_cache`), so any batch size writes what one-by-one would write. What all
prompts begin with is computed once, and so are each image and the prompt of several samples of one study. Speculative
decoding checks several proposed tokens in one call; one counts only if it is the token that would have been chosen, so
it changes the speed and never the text.

Shapes: r rows of one call, q positions of the longest of them, C hidden size, n chosen tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from cxrgen.core.errors import InputError
from cxrgen.core.records import Conversation, Prediction, Turn
from cxrgen.generate.decoding.kv_cache import RowKVCache, compute
from cxrgen.generate.decoding.ngram_drafts import NgramTable, tokens_to_propose
from cxrgen.generate.decoding.prefill import Images, Prompt, embed, read_prompt
from cxrgen.generate.decoding.sampling import Failed as Failed
from cxrgen.generate.decoding.sampling import (
    Sampler,
    drawn_for,
    greedy,
    log_probabilities,
    report_text,
    stop_criteria,
)
from cxrgen.model.checkpoint import Checkpoint

_PROMPT_TOKENS = 8192  # computed at a time; more is no faster and takes memory
_SHORTEST_PREFIX = 8  # tokens; a shorter common prefix is not worth keeping
_Question = tuple[tuple[str, ...], tuple[Turn, ...]]  # what the prompt of a conversation is made of
_Start = tuple[int, Prompt, torch.Tensor]  # a free row, what is asked, the hidden state (C,) of the prompt's last token


def write_reports(
    checkpoint: Checkpoint,
    conversations: Sequence[Conversation],
    folder: Path,
    batch_size: int,
    max_new_tokens: int,
    sampler: Sampler = greedy,
    ngrams: NgramTable | None = None,
    failed: Failed | None = None,
    scored: bool = False,
) -> Iterator[tuple[int, Prediction]]:
    """Yield (index into `conversations`, report) as each report is finished; short ones come first.

    Only the first turn, the question, is read; conversations with one question that stand together share its prompt.
    Image paths are relative to `folder`. `ngrams` switches on speculative decoding, `scored` asks for the reports'
    log-probabilities and tokens. What is wrong with one study (an image that cannot be read, a prompt that is too long)
    goes to `failed`, or is raised as InputError without it. Raises InputError when logits are NaN or infinite.
    """
    checkpoint.model.eval()
    batch = _Batch(checkpoint, conversations, folder, min(batch_size, len(conversations)), max_new_tokens)
    batch.sampler, batch.ngrams, batch.failed, batch.scored = sampler, ngrams, failed, scored
    while True:
        batch.refill()
        for row in batch.finished():
            mean = row.log_probability / len(row.answer) if scored else None
            text, tokens = report_text(row.answer, batch.stop), tuple(row.answer) if scored else ()
            yield row.number, Prediction(conversations[row.number].id, text, mean, tokens)
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
    log_probability: float = 0.0  # of the answer so far, where it is asked for

    def add(self, token: int, log_probability: float) -> None:
        self.answer.append(token)
        self.log_probability += log_probability


@dataclass(frozen=True)
class _Computed:
    """A computed prompt: its KV cache as one row, and the hidden state (C,) that the first token is chosen from."""

    question: _Question
    cache: RowKVCache
    hidden: torch.Tensor


class _Batch:
    """The studies that are being written at present, one a row; None is a free row."""

    sampler: Sampler
    ngrams: NgramTable | None
    failed: Failed | None
    scored: bool

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
        self.prefix: tuple[list[int], RowKVCache] | None = None  # tokens that all prompts begin with, and their cache
        self.kept: _Computed | None = None  # the prompt of a study of which more samples are waiting

    @torch.inference_mode()
    def refill(self) -> None:
        """Give free rows the next studies, with their first tokens; at the end, drop the free rows."""
        free = [slot for slot, row in enumerate(self.rows) if row is None]
        if self.exhausted:
            if len(free) >= len(self.rows) / 2:
                self.cache.keep([slot for slot, row in enumerate(self.rows) if row is not None])
                self.rows = [row for row in self.rows if row is not None]
            return
        # Prefill is cheaper for several prompts at once, so a few rows may idle until an eighth of the batch is free.
        if len(free) < max(1, len(self.rows) // 8):
            return
        numbers = [number for _, number in zip(free, self.waiting)]
        self.exhausted = len(numbers) < len(free)
        if numbers:
            self._start(iter(free), numbers)

    def _start(self, free: Iterator[int], numbers: Sequence[int]) -> None:
        """Put these studies into free rows; each question's prompt is computed once, for all of its samples."""
        asked = self._by_question(numbers)
        if self.kept is not None:
            self._begin(self._shared(free, self.kept, asked.pop(self.kept.question, [])))
        prompts = [samples[0] for samples in asked.values()]
        if self.prefix is None and len(prompts) > 1:
            self.prefix = self._common_prefix(prompts)
        following = numbers[-1] + 1
        upcoming = self._question(following) if following < len(self.conversations) else None
        self.kept = self.kept if self.kept is not None and self.kept.question == upcoming else None
        for some in self._computed_together(prompts):
            own = [next(free) for _ in some]
            starts = list(zip(own, some, self._compute(own, some)))
            for slot, prompt, hidden in list(starts):
                question = self._question(prompt.number)
                if len(asked[question]) > 1 or question == upcoming:
                    computed = _Computed(question, self.cache.row(slot, len(prompt.ids)), hidden)
                    starts += self._shared(free, computed, asked[question][1:])
                    self.kept = computed if question == upcoming else self.kept
            self._begin(starts)

    def finished(self) -> Iterator[_Row]:
        """The rows whose answer has come to its end; they become free."""
        for slot, row in enumerate(self.rows):
            if row is not None and (self.stop.reached(row.answer) or len(row.answer) >= row.most):
                self.rows[slot] = None
                yield row

    @torch.inference_mode()
    def step(self) -> None:
        """One call for all rows: the last token of each and the tokens proposed after it, padded on the right."""
        model = self.checkpoint.model
        rows = [(slot, row) for slot, row in enumerate(self.rows) if row is not None]
        inputs = {slot: [row.answer[-1], *self._propose(row, len(rows))] for slot, row in rows}
        width = max(map(len, inputs.values()))  # q
        tokens = [inputs.get(slot, []) + [0] * (width - len(inputs.get(slot, []))) for slot in range(len(self.rows))]
        first = [0 if row is None else row.length + len(row.answer) - 1 for row in self.rows]
        embeddings = model.get_input_embeddings()(torch.tensor(tokens, device=model.device))  # (r, q, C)
        hidden = compute(model, self.cache, range(len(self.rows)), embeddings, first)  # (r, q, C)
        at = [(slot, column) for slot, _ in rows for column in range(len(inputs[slot]))]
        selected = hidden[[slot for slot, _ in at], [column for _, column in at]]  # (n, C)
        chosen = iter(self._choose(selected, [row for slot, row in rows for _ in inputs[slot]]))
        for slot, row in rows:
            following = [next(chosen) for _ in inputs[slot]]
            for proposed, (token, log_probability) in zip([*inputs[slot][1:], None], following):
                row.add(token, log_probability)
                if token != proposed or self.stop.reached(row.answer) or len(row.answer) >= row.most:
                    break

    def _question(self, number: int) -> _Question:
        return self.conversations[number].images, self.conversations[number].turns[:1]

    def _by_question(self, numbers: Sequence[int]) -> dict[_Question, list[Prompt]]:
        """The prompts of these conversations that can be read, those with one question together."""
        asked: dict[_Question, list[Prompt]] = {}
        for number in numbers:
            same = asked.get(self._question(number))
            if same:
                same.append(replace(same[0], number=number))
            elif (prompt := self._read(number)) is not None:
                asked[self._question(number)] = [prompt]
        return asked

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

    def _common_prefix(self, prompts: Sequence[Prompt]) -> tuple[list[int], RowKVCache]:
        """The words before the first image that all these prompts share, computed; empty when that saves little."""
        shared = min(prompt.words for prompt in prompts)
        for tokens in (prompt.ids for prompt in prompts[1:]):
            shared = next((n for n in range(shared) if tokens[n] != prompts[0].ids[n]), shared)
        shared = min(shared, *(len(prompt.ids) - 1 for prompt in prompts), len(prompts[0].ids) - 1)
        if shared < _SHORTEST_PREFIX:
            return [], RowKVCache(1)
        tokens, cache = prompts[0].ids[:shared], RowKVCache(1)
        ids = torch.tensor([tokens], device=self.checkpoint.model.device)  # (1, q)
        compute(self.checkpoint.model, cache, [0], self.checkpoint.model.get_input_embeddings()(ids), [0])
        return tokens, cache

    def _done(self, prompt: Prompt) -> int:
        """How many of the prompt's tokens the common prefix has already."""
        prefix = self.prefix[0] if self.prefix else []
        return len(prefix) if len(prompt.ids) > len(prefix) and prompt.ids[: len(prefix)] == prefix else 0

    def _computed_together(self, prompts: Sequence[Prompt]) -> Iterator[list[Prompt]]:
        """Groups with the same number of tokens done, none with too many tokens to compute."""
        for done in sorted({self._done(prompt) for prompt in prompts}):
            group: list[Prompt] = []
            for prompt in (prompt for prompt in prompts if self._done(prompt) == done):
                longest = max(len(each.ids) for each in [*group, prompt])
                if group and longest * (len(group) + 1) > _PROMPT_TOKENS:
                    yield group
                    group = []
                group.append(prompt)
            yield group

    def _compute(self, slots: Sequence[int], prompts: Sequence[Prompt]) -> torch.Tensor:
        """Prefill: compute the prompts into free rows; returns the hidden state (r, C) of each one's last token."""
        done = self._done(prompts[0])
        if done and self.prefix:
            self.cache.copy_prefix(slots, self.prefix[1], done)
        embeddings = embed(self.checkpoint, self.images, prompts, done)  # (r, q, C)
        hidden = compute(self.checkpoint.model, self.cache, slots, embeddings, [done] * len(slots))  # (r, q, C)
        return hidden[range(len(prompts)), [len(prompt.ids) - done - 1 for prompt in prompts]]

    def _shared(self, slots: Iterator[int], computed: _Computed, prompts: Sequence[Prompt]) -> list[_Start]:
        """More samples of a study whose prompt is computed: its KV cache copied into a free row for each."""
        starts = [(next(slots), prompt, computed.hidden) for prompt in prompts]
        if starts:
            self.cache.copy_prefix([slot for slot, _, _ in starts], computed.cache, len(prompts[0].ids))
        return starts

    def _begin(self, starts: Sequence[_Start]) -> None:
        """Rows for these answers, each with its first token."""
        rows = []
        for slot, prompt, _ in starts:
            length = len(prompt.ids)
            rows.append(_Row(prompt.number, length, min(self.max_new_tokens, self.longest - length)))
            self.rows[slot] = rows[-1]
        if rows:
            for row, chosen in zip(rows, self._choose(torch.stack([hidden for _, _, hidden in starts]), rows)):
                row.add(*chosen)

    def _choose(self, hidden: torch.Tensor, rows: Sequence[_Row]) -> list[tuple[int, float]]:
        """The token that follows each hidden state (n, C) of these rows, and its log-probability if it is asked for.

        A row that is named again is one token further.
        """
        logits = self.checkpoint.model.lm_head(hidden)  # (n, V)
        steps: list[int] = []
        seen: dict[int, int] = {}
        for row in rows:
            seen[row.number] = seen.get(row.number, -1) + 1
            steps.append(len(row.answer) + seen[row.number])
        tokens = self.sampler(logits, [drawn_for(self.conversations[row.number]) for row in rows], steps)
        return list(zip(tokens, log_probabilities(logits, tokens) if self.scored else [0.0] * len(tokens)))

    def _propose(self, row: _Row, active: int) -> list[int]:
        most = min(tokens_to_propose(active), row.most - len(row.answer) - 1)
        return self.ngrams.propose(row.answer, most) if self.ngrams else []
