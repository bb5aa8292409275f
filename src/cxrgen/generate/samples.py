"""Several reports of each study: each sample is a question of its own, and those of one study stand together.

So all that holds for questions holds for samples: they are finished, resumed and counted one by one, and drawn by the
study and their number, not by the batch. Samples that stand together share the prompt, and one process writes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from cxrgen.core.candidates import Candidates
from cxrgen.core.records import Conversation, Prediction

Item = TypeVar("Item")


def sampled(conversations: Sequence[Conversation], samples: int) -> list[Conversation]:
    """Each conversation as often as it is to be answered: sample s of question q has the number q * samples + s."""
    return [replace(each, sample=number) for each in conversations for number in range(max(1, samples))]


def by_study(items: Mapping[int, Item], samples: int, all_of_it: bool = True) -> dict[int, list[Item]]:
    """The number of each question to what belongs to its samples; `all_of_it` leaves out questions that lack some."""
    count = max(1, samples)
    found: dict[int, list[Item]] = {}
    for number in sorted(items):
        found.setdefault(number // count, []).append(items[number])
    return {number: of for number, of in found.items() if len(of) == count or not all_of_it}


def as_candidates(reports: Sequence[Prediction]) -> Candidates:
    """The samples of one study."""
    means = tuple(each.log_probability for each in reports)
    return Candidates(reports[0].study_id, tuple(each.report for each in reports), means)
