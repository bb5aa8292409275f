"""The 14 chest X-ray observations read from a report by rules: present, absent, uncertain or not mentioned.

Three steps a sentence, as in the NegEx and ConText family: phrases name an observation, cue words open a scope of
negation or doubt before or after them, and words such as "but" close it. Over the sentences of a report, present beats
uncertain beats absent. Rules are fast and can be read and argued with; they miss what needs understanding. They are no
CheXbert and carry another name. The word lists are this project's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from cxrgen.text.chexpert import OBSERVATIONS
from cxrgen.text.rule_phrases import BOTH_AIR_AND_FLUID, CUES, HAS_SUBJECT, MARKS, PHRASES, SUBJECTS


def _one_of(words: dict[str, str], marks: dict[str, str]) -> tuple[re.Pattern[str], tuple[str, ...]]:
    """One pattern with a group for each entry, and the entries' names by group number less one."""
    alternatives = ("|".join(map(str.strip, rows.strip().split("\n"))) for rows in words.values())
    groups = "|".join(f"({rows})" for rows in alternatives)
    pattern = "|".join([rf"\b(?=[a-z])(?:{groups})\b", *(f"({mark})" for mark in marks.values())])
    return re.compile(pattern), (*words, *marks)


_PHRASE, _PHRASE_NAMES = _one_of(PHRASES, {})
_CUE, _CUE_KINDS = _one_of(CUES, MARKS)
_SENTENCE = re.compile(r"(?<!\bdr)[.!?]+(?=\s|$)|\.(?=[a-z]{2})|\n\s*\n|\s\d+[.)]\s")
_LISTED = re.compile(r"[^,;]*(?:,[^,;]*)*?,?\s(?:or|and|versus|vs)\b")


def label(report: str) -> dict[str, int]:
    """The observations of a report: 1 present, 0 absent, -1 uncertain; what is not mentioned has no key.

    "No Finding" is 1 when nothing but devices is present or uncertain, and has no key otherwise or for a text without
    words. Keys are in the order of `OBSERVATIONS`.
    """
    found: dict[str, int] = {}
    for _, stated in statements(report):
        for name, value in stated:
            before = found.get(name, 0)
            found[name] = 1 if 1 in (before, value) else -1 if -1 in (before, value) else 0
    abnormal = any(value for name, value in found.items() if name != "Support Devices")
    if not abnormal and any(map(str.isalnum, report)):
        found["No Finding"] = 1
    return {name: found[name] for name in OBSERVATIONS if name in found}


def statements(report: str) -> Iterator[tuple[str, tuple[tuple[str, int], ...]]]:
    """Each sentence of a report, lower case, with what it states: (observation, 1, 0 or -1) in reading order."""
    for piece in _SENTENCE.split(report.lower()):
        sentence = " ".join(piece.split())
        yield sentence, _statements(sentence)


@lru_cache(maxsize=1 << 16)  # report sentences repeat: "No pneumothorax." is written thousands of times
def _statements(sentence: str) -> tuple[tuple[str, int], ...]:
    """What one lower-case sentence states: (observation, value) in reading order."""
    mentions = _mentions(sentence)
    if not mentions:
        return ()
    cues = [_Event(cue.start(), _CUE_KINDS[(cue.lastindex or 1) - 1]) for cue in _CUE.finditer(sentence)]
    _apply_scopes(sentence, sorted(mentions + cues, key=lambda event: (event.start, event.kind == "mention")))
    return tuple((name, event.value) for event in mentions for name in event.names if event.value is not None)


@dataclass
class _Event:
    """A mention (with observation names and a value: 1, 0, -1, None = states nothing) or a cue, and where it starts."""

    start: int
    kind: str
    names: tuple[str, ...] = ()
    value: int | None = None


def _mentions(sentence: str) -> list[_Event]:
    found = []
    for match in _PHRASE.finditer(sentence):
        name = _PHRASE_NAMES[(match.lastindex or 1) - 1]
        names = ("Pneumothorax", "Pleural Effusion") if name == BOTH_AIR_AND_FLUID else (name,)
        if name:
            found.append(_Event(match.start(), "mention", names, 1))
    if HAS_SUBJECT.search(sentence):
        places = set()
        for name, value, pattern in SUBJECTS:
            for match in pattern.finditer(sentence):
                if (name, match.start("at")) not in places:
                    places.add((name, match.start("at")))
                    found.append(_Event(match.start("at"), "mention", (name,), value))
    return found


def _apply_scopes(sentence: str, events: list[_Event]) -> None:
    """Set the mentions' values from the cues around them, in one walk that knows the open scope and its reach."""
    scope = ""  # "absent", "doubt", "removed" or "dropped": what the last cue says of the mentions that follow
    fresh = False  # nothing was mentioned since that cue
    clause: list[_Event] = []  # mentions that a cue after them still reaches
    near: list[_Event] = []  # of those, the ones since the last comma
    either = False  # "or" stands between the last mention and here
    for event in events:
        kind = event.kind
        if kind == "mention":
            _put_in_scope(event, scope)
            if either and near and not scope and {near[-1].value, event.value} == {1} and near[-1].names != event.names:
                near[-1].value = event.value = -1
            clause.append(event)
            near.append(event)
            fresh = either = False
        elif kind == "or":
            either = True
        elif kind == "stop":
            scope, clause, near = "", [], []
        elif kind == "verb":
            clause, near = [], []
        elif kind == "comma":
            near = []
            if scope == "doubt" and not _LISTED.match(sentence, event.start + 1):
                scope = ""
        elif kind in ("absent before", "removed before"):
            scope, fresh = kind.partition(" ")[0], True
        elif kind == "implies" and scope == "absent" and (fresh or near):
            pass  # "no opacity to suggest pneumonia" denies both
        elif kind == "dropped" or (kind in ("doubt before", "implies") and scope == "dropped" and fresh):
            scope, fresh = "dropped", True  # "evaluate for possible pneumonia" states nothing
        elif kind in ("doubt before", "implies"):
            if near and sentence.startswith(("versus", "vs"), event.start):
                _change(near[-1:], 1, -1)
            if not (scope == "absent" and fresh):  # "no findings to suggest" stays a negation
                scope, fresh = "doubt", True
        elif kind == "doubt after":
            _change(near, 1, -1)
            scope, clause, near = "", [], []
        elif kind in ("absent after", "removed after"):
            for mention in clause:
                if mention.value and (kind == "absent after" or "Support Devices" in mention.names):
                    mention.value = 0
            scope, clause, near = "", [], []


def _put_in_scope(mention: _Event, scope: str) -> None:
    device = "Support Devices" in mention.names
    if scope == "dropped" and not device:
        mention.value = None
    elif scope == "removed":
        mention.value = 0 if device else mention.value
    elif scope == "absent":
        mention.value = 0 if mention.value else None  # "not normal" states nothing
    elif scope == "doubt" and mention.value == 1:
        mention.value = -1


def _change(mentions: list[_Event], old: int, new: int) -> None:
    for mention in mentions:
        if mention.value == old:
            mention.value = new
