"""Which token comes next, when a report ends, and what of the written text is the report.

Chance is drawn per study: the number that decides a study's n-th token is a hash of seed, study and n. So a sampled
report is the same in any batch, in any process, after any interruption, and with drafts or without.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch

# Logits (n, V), the study of each row, how many tokens each has already; returns n token ids.
Sampler = Callable[[torch.Tensor, Sequence[str], Sequence[int]], "list[int]"]

STOP_TEXTS = {"v0": "###", "v1": "</s>"}  # beside the end token; v0 writes its mark as text
_TAIL = 12  # tokens that are read again when a token may have completed a stop text
_SPEAKER = re.compile(r"^(?:###\s*)?(?:assistant|response|gpt)\s*:\s*", re.IGNORECASE)


def greedy(logits: torch.Tensor, studies: Sequence[str], steps: Sequence[int]) -> list[int]:
    """The most probable token."""
    chosen: list[int] = logits.argmax(dim=-1).tolist()
    return chosen


def sampling(temperature: float, top_p: float = 1.0, seed: int = 0) -> Sampler:
    """Draw from softmax(logits / temperature), of which only the most probable tokens of total `top_p` are kept."""

    def choose(logits: torch.Tensor, studies: Sequence[str], steps: Sequence[int]) -> list[int]:
        probabilities = torch.softmax(logits.float() / temperature, dim=-1)
        if top_p < 1.0:
            ordered, order = probabilities.sort(dim=-1, descending=True)
            ordered[ordered.cumsum(dim=-1) - ordered >= top_p] = 0.0  # the first one always stays
            probabilities = torch.zeros_like(probabilities).scatter(-1, order, ordered)
        reached = probabilities.double().cumsum(dim=-1)
        numbers = [_chance(seed, study, step) for study, step in zip(studies, steps)]
        total = reached[:, -1:].contiguous()
        wanted = torch.tensor(numbers, dtype=torch.double, device=logits.device)[:, None] * total
        last = torch.searchsorted(reached, total)  # behind it, no token has any probability
        chosen: list[int] = torch.searchsorted(reached, wanted, right=True).minimum(last)[:, 0].tolist()
        return chosen

    return choose


def _chance(seed: int, study: str, step: int) -> float:
    """In [0, 1), the same everywhere."""
    return (study_seed(seed, f"{study}\0{step}") >> 11) / 2.0**53


def study_seed(seed: int, study: str) -> int:
    """64 bits from a run's seed and a study's id, the same everywhere."""
    return int.from_bytes(blake2b(f"{seed}\0{study}".encode(), digest_size=8).digest(), "big")


@dataclass(frozen=True)
class StopCriteria:
    """When a report ends: at one of `tokens`, or as soon as `text` is written, which needs one of `suspects`."""

    tokens: frozenset[int]
    text: str
    suspects: frozenset[int]
    decode: Callable[[Sequence[int]], str]

    def reached(self, answer: Sequence[int]) -> bool:
        if answer[-1] in self.tokens:
            return True
        return answer[-1] in self.suspects and self.text in self.decode(answer[-_TAIL:])


def stop_criteria(tokenizer: Any, generation_config: Any, template: str) -> StopCriteria:
    """Where this checkpoint ends a report: its tokenizer's end, its generation settings', its template's mark."""
    named = generation_config.eos_token_id
    tokens = {tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])} - {None}
    text = STOP_TEXTS.get(template, "")

    def decode(ids: Sequence[int]) -> str:
        return str(tokenizer.decode(list(ids), skip_special_tokens=True))

    pieces: Sequence[Any] = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))) if text else ()
    suspects = frozenset(number for number, piece in enumerate(pieces) if text[-1] in str(piece))
    return StopCriteria(frozenset(tokens), text, suspects, decode)


def report_text(answer: Sequence[int], stop: StopCriteria) -> str:
    """The report among the written tokens: up to the end, without the answering speaker's name.

    A NUL, which a token of a single byte can be, is left out: no reader of CSV files would take it.
    """
    text = stop.decode([token for token in answer if token not in stop.tokens]).replace("\0", "")
    if stop.text:
        text = _SPEAKER.sub("", text.strip())
        text = text.split(stop.text, 1)[0]
    return text.strip()
