"""Reports by transformers' own `generate`, for classes whose cache and positions the refilling engine does not know.

Prompts are sorted by length and padded on the left, so a batch holds little padding. A batch waits for its longest
report; that is the price for any class. Tokens are chosen by the same sampler as elsewhere, plainly: a checkpoint's
generation settings, such as a penalty for repetition, are not applied, and so a report is the same in any batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import GenerationConfig, LogitsProcessor

from cxrgen.core.errors import InputError
from cxrgen.core.records import Conversation, Prediction
from cxrgen.generate.decoding.sampling import (
    Failed,
    Sampler,
    StopCriteria,
    drawn_for,
    greedy,
    log_probabilities,
    report_text,
    stop_criteria,
)
from cxrgen.model.batches import merge_inputs
from cxrgen.model.chat import ChatFamily
from cxrgen.model.checkpoint import Checkpoint

_SORTED_BATCHES = 32  # batches whose prompts are sorted by length together


@dataclass(frozen=True)
class _Prompt:
    number: int
    length: int


def write_in_static_batches(
    checkpoint: Checkpoint,
    conversations: Sequence[Conversation],
    folder: Path,
    batch_size: int,
    max_new_tokens: int,
    sampler: Sampler = greedy,
    failed: Failed | None = None,
    scored: bool = False,
) -> Iterator[tuple[int, Prediction]]:
    """Yield (index into `conversations`, report), a batch at a time. Arguments and errors as in `write_reports`."""
    checkpoint.model.eval()
    family = ChatFamily(checkpoint.processor, checkpoint.format)
    batch = _Batch(checkpoint, family, folder, max_new_tokens, sampler, scored)
    window = batch_size * _SORTED_BATCHES
    for start in range(0, len(conversations), window):
        prompts = []
        for number in range(start, min(start + window, len(conversations))):
            try:
                prompts.append(_Prompt(number, batch.length(conversations[number])))
            except InputError as error:
                _fail(failed, number, error)
        prompts.sort(key=lambda prompt: prompt.length)
        for first in range(0, len(prompts), batch_size):
            numbers = [prompt.number for prompt in prompts[first : first + batch_size]]
            yield from batch.write({number: conversations[number] for number in numbers}, failed)


def _fail(failed: Failed | None, number: int, error: InputError) -> None:
    if failed is None:
        raise error
    failed(number, str(error))


class _Batch:
    """What all batches of a run share."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        family: ChatFamily,
        folder: Path,
        max_new_tokens: int,
        sampler: Sampler,
        scored: bool,
    ) -> None:
        self.model, self.family, self.folder, self.sampler = checkpoint.model, family, folder, sampler
        self.max_new_tokens, self.scored = max_new_tokens, scored
        self.longest = int(self.model.config.get_text_config().max_position_embeddings)
        stop = stop_criteria(checkpoint.tokenizer, self.model.generation_config, checkpoint.format.template)
        self.stop: StopCriteria = replace(stop, tokens=stop.tokens | family.stop_tokens)
        self.pad = int(checkpoint.tokenizer.pad_token_id)

    def length(self, conversation: Conversation) -> int:
        """Tokens of the prompt. Raises InputError for images that cannot be read and a prompt that is too long."""
        length = self.family.prompt_length(conversation, self.folder)
        if length >= self.longest:
            raise InputError(f"the prompt has {length} tokens, the model takes {self.longest}; show less")
        return length

    @torch.inference_mode()
    def write(self, asked: dict[int, Conversation], failed: Failed | None) -> Iterator[tuple[int, Prediction]]:
        rows = {}
        for number, conversation in asked.items():
            try:
                rows[number] = self.family.prompt_inputs(conversation, self.folder)
            except InputError as error:
                _fail(failed, number, error)
        if not rows:
            return
        lengths = {number: row["input_ids"].shape[1] for number, row in rows.items()}
        inputs = {name: self._placed(value) for name, value in merge_inputs([*rows.values()], self.pad, True).items()}
        width = max(lengths.values())
        chosen = _Chosen(self.sampler, [drawn_for(asked[number]) for number in rows], width, self.scored)
        sequences = self.model.generate(
            **inputs,
            generation_config=self._plainly(min(self.max_new_tokens, self.longest - min(lengths.values()))),
            logits_processor=[chosen],
        )
        for place, ((number, length), row) in enumerate(zip(lengths.items(), sequences[:, width:].tolist())):
            row = row[: min(self.max_new_tokens, self.longest - length)]
            answer = self._up_to_the_end(row)
            written = row[: len(answer) + 1]  # the end token counts
            mean = chosen.mean(place, len(written)) if self.scored else None
            tokens = tuple(written) if self.scored else ()
            yield number, Prediction(asked[number].id, report_text(answer, self.stop), mean, tokens)

    def _placed(self, value: torch.Tensor) -> torch.Tensor:
        dtype = self.model.dtype if value.is_floating_point() else value.dtype
        return value.to(self.model.device, dtype)

    def _plainly(self, most: int) -> GenerationConfig:
        return GenerationConfig(
            max_new_tokens=most,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            eos_token_id=sorted(self.stop.tokens),
            pad_token_id=self.pad,
            use_cache=True,
        )

    def _up_to_the_end(self, row: Sequence[int]) -> list[int]:
        end = next((place for place, token in enumerate(row) if token in self.stop.tokens), len(row))
        return list(row[:end])


class _Chosen(LogitsProcessor):  # type: ignore[misc]
    """Leaves one token a row: the one that the sampler chooses for this study and position."""

    def __init__(self, sampler: Sampler, studies: Sequence[str], width: int, scored: bool) -> None:
        self.sampler, self.studies, self.width, self.scored = sampler, studies, width, scored
        self.log_probabilities: list[list[float]] = []  # of each step, for each row

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        steps = [input_ids.shape[1] - self.width] * len(self.studies)
        tokens = self.sampler(scores, self.studies, steps)
        if self.scored:
            self.log_probabilities.append(log_probabilities(scores, tokens))
        chosen = torch.tensor(tokens, device=scores.device)
        return torch.full_like(scores, -torch.inf).scatter(1, chosen[:, None], 0.0)

    def mean(self, row: int, count: int) -> float:
        """The mean log-probability of a row's first `count` tokens."""
        return sum(step[row] for step in self.log_probabilities[:count]) / count
