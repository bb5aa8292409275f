"""What a label reader sees in the images of a study, in words that stand in its prompt.

A reader's scores become two steps, "likely" and "possible", so a prompt holds few words and no number that a language
model would have to learn to weigh. Places stand in brackets behind what they are of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cxrgen.core.records import Study

STEPS = LIKELY, POSSIBLE = "likely", "possible"
NOTHING_SEEN = "none"
PLACE = " | "  # between an observation and its place in a label's name


def words_of(steps: Mapping[str, str]) -> str:
    """Label -> step (others are left out) as words: "likely pleural effusion (left), edema; possible nodule"."""
    said = []
    for step in STEPS:
        places: dict[str, list[str]] = {}
        for name in (name for name, of in steps.items() if of == step):
            observation, _, place = name.partition(PLACE)
            places.setdefault(observation.lower(), []).extend([place.lower()] if place else [])
        if places:
            said.append(f"{step} {', '.join(_with_places(*each) for each in places.items())}")
    return "; ".join(said) or NOTHING_SEEN


def _with_places(observation: str, places: Sequence[str]) -> str:
    return f"{observation} ({', '.join(places)})" if places else observation


def with_words(study: Study, views: str, words: str) -> Study:
    """The study with the words that are read from its images of `views`, as a prompt's rule finds them."""
    return replace(study, sections={**study.sections, _section(views): words})


def stated_words(study: Study, views: str) -> str:
    """The words of `with_words` for the same views; "" where there are none."""
    return study.sections.get(_section(views), "")


def _section(views: str) -> str:
    """A name that no section of a report can have."""
    return f"|label words of {views}|"
