"""Which token comes next, when a report ends, and what of the written text is the report.

The random number of a token is a hash of (seed, study, sample, position). So a sampled report is the same in any batch,
in any process, after any interruption, and with speculative decoding or without.

Shapes: n rows of logits, V tokens of the vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch

from cxrgen.core.errors import InputError
from cxrgen.core.records import Conversation

# Logits (n, V), `drawn_for` of each row, how many tokens each has already; returns n token ids.
Sampler = Callable[[torch.Tensor, Sequence[str], Sequence[int]], "list[int]"]
Failed = Callable[[int, str], None]  # index of the conversation, what is wrong with it

STOP_TEXTS = {"v0": "###", "v1": "</s>"}  # beside the end token; v0 writes its mark as text
_TAIL = 12  # tokens that are read again when a token may have completed a stop text
_SPEAKER = re.compile(r"^(?:###\s*)?(?:assistant|response|gpt)\s*:\s*", re.IGNORECASE)


def make_sampler(temperature: float, top_p: float = 1.0, seed: int = 0) -> Sampler:
    """Greedy for temperature 0; else draw from softmax(logits / temperature), cut to the likeliest `top_p`."""
    return greedy if temperature == 0.0 else _nucleus(temperature, top_p, seed)


def greedy(logits: torch.Tensor, studies: Sequence[str], steps: Sequence[int]) -> list[int]:
    """The most probable token. Raises InputError for logits that are NaN or infinite; the study is its detail."""
    _check_finite(logits.amax(dim=-1), studies)
    chosen: list[int] = logits.argmax(dim=-1).tolist()
    return chosen


def _nucleus(temperature: float, top_p: float, seed: int) -> Sampler:
    def sample(logits: torch.Tensor, studies: Sequence[str], steps: Sequence[int]) -> list[int]:
        _check_finite(logits.amax(dim=-1), studies)
        probabilities = torch.softmax(logits.float() / temperature, dim=-1)  # (n, V)
        if top_p < 1.0:
            ordered, order = probabilities.sort(dim=-1, descending=True)
            ordered[ordered.cumsum(dim=-1) - ordered >= top_p] = 0.0  # the first one always stays
            probabilities = torch.zeros_like(probabilities).scatter(-1, order, ordered)
        cumulated = probabilities.double().cumsum(dim=-1)  # (n, V)
        numbers = [_uniform(seed, study, step) for study, step in zip(studies, steps)]
        total = cumulated[:, -1:].contiguous()  # (n, 1)
        drawn = torch.tensor(numbers, dtype=torch.double, device=logits.device)[:, None] * total
        last = torch.searchsorted(cumulated, total)  # behind it, no token has any probability
        chosen: list[int] = torch.searchsorted(cumulated, drawn, right=True).minimum(last)[:, 0].tolist()
        return chosen

    return sample


def drawn_for(conversation: Conversation) -> str:
    """What random numbers belong to: the study, and which of its samples. The first is the only one of a plain run."""
    return f"{conversation.id}\0{conversation.sample}" if conversation.sample else conversation.id


def log_probabilities(logits: torch.Tensor, tokens: Sequence[int]) -> list[float]:
    """The model's own log-probability of each of n tokens: at temperature 1, of all tokens."""
    rows = logits.float().log_softmax(dim=-1)  # (n, V)
    found: list[float] = rows.gather(1, torch.tensor(tokens, device=logits.device)[:, None])[:, 0].tolist()
    return found


def _check_finite(largest: torch.Tensor, studies: Sequence[str]) -> None:
    """`largest`: the largest logit of each row, (n,); NaN where any logit of the row is."""
    finite = torch.isfinite(largest)
    if not bool(finite.all()):
        study = studies[int((~finite).nonzero()[0])]
        raise InputError(
            "the model's logits are NaN or infinite; its weights are damaged, or --dtype is too narrow",
            detail=f"study {study!r}",
        )


def _uniform(seed: int, study: str, step: int) -> float:
    """In [0, 1), the same everywhere."""
    return (study_seed(seed, f"{study}\0{step}") >> 11) / 2.0**53


def study_seed(seed: int, study: str) -> int:
    """64 bits from a run's seed and a study's id, the same everywhere."""
    return int.from_bytes(blake2b(f"{seed}\0{study}".encode(), digest_size=8).digest(), "big")


@dataclass(frozen=True)
class StopCriteria:
    """A report ends at one of `tokens`, or as soon as `text` is written, whose last token is one of `completing`."""

    tokens: frozenset[int]
    text: str
    completing: frozenset[int]
    decode: Callable[[Sequence[int]], str]

    def reached(self, answer: Sequence[int]) -> bool:
        if answer[-1] in self.tokens:
            return True
        return answer[-1] in self.completing and self.text in self.decode(answer[-_TAIL:])


def stop_criteria(tokenizer: Any, generation_config: Any, template: str) -> StopCriteria:
    """By the tokenizer's end token, the generation config's end tokens, and the template's end mark."""
    named = generation_config.eos_token_id
    tokens = {tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])} - {None}
    text = STOP_TEXTS.get(template, "")

    def decode(ids: Sequence[int]) -> str:
        return str(tokenizer.decode(list(ids), skip_special_tokens=True))

    pieces: Sequence[Any] = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))) if text else ()
    completing = frozenset(number for number, piece in enumerate(pieces) if text[-1] in str(piece))
    return StopCriteria(frozenset(tokens), text, completing, decode)


def report_text(answer: Sequence[int], stop: StopCriteria) -> str:
    """The report among the written tokens: up to the end, without the answering speaker's name.

    A NUL, which a token of a single byte can be, is left out: no reader of CSV files would take it.
    """
    text = stop.decode([token for token in answer if token not in stop.tokens]).replace("\0", "")
    if stop.text:
        text = _SPEAKER.sub("", text.strip())
        text = text.split(stop.text, 1)[0]
    return text.strip()
