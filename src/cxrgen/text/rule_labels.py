"""The 14 chest X-ray observations read from a report by rules: present, absent, uncertain or not mentioned.

Three steps a sentence, as in the NegEx and ConText family: phrases name an observation, cue words open a scope of
negation or doubt before or after them, and words such as "but", or a comma before a new statement, close it. Over the
sentences of a report, present beats uncertain beats absent. The layout of a report (headers, bullets, wrapped lines,
capitals) changes nothing. Rules are fast and can be read and argued with; they miss what needs understanding. They are
no CheXbert and carry another name. The word lists are this project's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from cxrgen.text.chexpert import OBSERVATIONS
from cxrgen.text.misspellings import put_right
from cxrgen.text.rule_phrases import (
    BEGIN_NO_CUE,
    BEGIN_NO_PHRASE,
    BOTH_AIR_AND_FLUID,
    BROKEN_DEVICE,
    CUES,
    LISTED,
    LISTED_BY_OR,
    MARKS,
    NEW_STATEMENT,
    PHRASES,
    SUBJECTS,
)
from cxrgen.text.sentences import sentences


def _one_of(words: dict[str, str], marks: dict[str, str], passed: str) -> tuple[re.Pattern[str], tuple[str, ...]]:
    """One pattern with a group for each entry, and the entries' names by group number less one.

    `passed`: common words that begin no entry, which are passed over quickly.
    """
    alternatives = ("|".join(map(str.strip, rows.strip().split("\n"))) for rows in words.values())
    groups = "|".join(f"({rows})" for rows in alternatives)
    pattern = "|".join([rf"\b(?=[a-z])(?!(?:{passed})\b)(?:{groups})\b", *(f"({mark})" for mark in marks.values())])
    return re.compile(pattern), (*words, *marks)


@cache  # compiled when a report is first read: it takes as long as all else that a command's help needs
def _phrases() -> tuple[re.Pattern[str], tuple[str, ...]]:
    return _one_of(PHRASES, {}, BEGIN_NO_PHRASE)


@cache
def _cues() -> tuple[re.Pattern[str], tuple[str, ...]]:
    return _one_of(CUES, MARKS, BEGIN_NO_CUE)


_MARK_OF_LIST = re.compile(r"\s*(?:(?:[-–—*+>•·‣▪◦●○■□]+|\(?(?:\d{1,2}|[A-Za-z])[.)](?=\s))\s*)+")
_HYPHEN_AT_LINE_END = re.compile(r"-(?<=\w-)[^\S\r\n]*[\r\n]+\s*")


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
    yield from map(read_sentence, pieces(report))


def pieces(report: str) -> Sequence[str]:
    """The sentences of a report as `read_sentence` takes them: a word that a line break has cut is whole."""
    return sentences(_HYPHEN_AT_LINE_END.sub("-", report))


@lru_cache(maxsize=1 << 16)  # report sentences repeat: "No pneumothorax." is written thousands of times
def read_sentence(piece: str) -> tuple[str, tuple[tuple[str, int], ...]]:
    """A sentence as it stands in a report, to its words in lower case and the (observation, 1, 0 or -1) they state."""
    mark = _MARK_OF_LIST.match(piece)
    sentence = put_right(" ".join(piece[mark.end() if mark else 0 :].lower().split()).rstrip(" .!"))
    return sentence, _statements(sentence)


def _statements(sentence: str) -> tuple[tuple[str, int], ...]:
    """What one lower-case sentence states: (observation, value) in reading order."""
    mentions = _mentions(sentence)
    if not mentions:
        return ()
    words, kinds = _cues()
    cues = [_Event(cue.start(), kinds[(cue.lastindex or 1) - 1]) for cue in words.finditer(sentence)]
    events = sorted(mentions + cues, key=lambda event: (event.start, event.kind == "mention"))
    _Scopes(sentence).walk(events)
    _settle_labels(events)
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
    broken = [match.span() for match in BROKEN_DEVICE.finditer(sentence)] if "fractur" in sentence else []
    phrases, kinds = _phrases()
    for match in phrases.finditer(sentence):
        name = kinds[(match.lastindex or 1) - 1]
        names = ("Pneumothorax", "Pleural Effusion") if name == BOTH_AIR_AND_FLUID else (name,)
        if name and not (name == "Fracture" and any(start <= match.start() < end for start, end in broken)):
            found.append(_Event(match.start(), "mention", names, 1))
    for name, word, rows in SUBJECTS:
        if word.search(sentence):
            at: dict[int, int] = {}
            for value, pattern in rows:
                for match in pattern.finditer(sentence):
                    at.setdefault(match.start("at"), value)
            found += [_Event(start, "mention", (name,), value) for start, value in at.items()]
    return found


class _Scopes:
    """One walk over a sentence's events that sets the mentions' values from the cues around them."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        self.scope = ""  # "absent", "doubt", "removed", "dropped", "differential": what is said of mentions that follow
        self.fresh = False  # nothing was mentioned since the cue that opened the scope
        self.clause: list[_Event] = []  # mentions that a cue after them still reaches
        self.near: list[_Event] = []  # of those, the ones since the last comma
        self.either = False  # "or" stands between the last mention and here
        self.once = False  # doubt of the next mention alone

    def walk(self, events: Sequence[_Event]) -> None:
        for event in events:
            kind = event.kind
            if kind == "mention":
                self._mention(event)
            elif kind == "or":
                self.either = True
            elif kind in ("stop", "colon"):
                self._close(kept=("differential", "dropped") if kind == "colon" and self.fresh else ("differential",))
            elif kind == "verb":
                self.clause, self.near = [], []
            elif kind == "comma":
                self._comma(event.start + 1)
            elif kind == "doubt next":
                self.once = True
            elif kind.endswith("after"):
                self._after(kind)
            else:
                self._before(kind, event.start)

    def _mention(self, event: _Event) -> None:
        _put_in_scope(event, "doubt" if self.once and self.scope != "absent" else self.scope)
        before = self.near[-1] if self.near and self.either and not self.scope else event
        if {before.value, event.value} == {1} and before.names != event.names:
            before.value = event.value = -1  # "atelectasis or pneumonia"
        self.clause.append(event)
        self.near.append(event)
        self.fresh = self.either = self.once = False

    def _close(self, kept: tuple[str, ...] = ()) -> None:
        if self.scope not in kept:
            self.scope = ""
        self.clause, self.near = [], []

    def _comma(self, place: int) -> None:
        self.near = []
        if self.scope not in ("doubt", "absent"):
            return
        new = NEW_STATEMENT.match(self.sentence, place) and not LISTED_BY_OR.match(self.sentence, place)
        if new or (self.scope == "doubt" and not LISTED.match(self.sentence, place)):
            self.scope = ""

    def _before(self, kind: str, start: int) -> None:
        """A cue whose scope lies behind it."""
        doubt = kind in ("doubt before", "implies")
        if kind == "implies" and self.scope == "absent" and (self.fresh or self.near):
            pass  # "no opacity to suggest pneumonia" denies both
        elif kind == "dropped" or (doubt and self.scope == "dropped" and self.fresh):
            self.scope, self.fresh = "dropped", True  # "evaluate for possible pneumonia" states nothing
        elif kind in ("absent before", "removed before", "resolved"):
            self.scope, self.fresh = "removed" if kind == "removed before" else "absent", True
        elif kind == "doubt to end":
            self.scope, self.fresh = "differential", True
        elif doubt:
            if self.near and self.sentence.startswith(("versus", "vs"), start):
                _change(self.near[-1:], 1, -1)
            if self.scope != "differential" and not (self.scope == "absent" and self.fresh):
                self.scope, self.fresh = "doubt", True  # "no findings to suggest" stays a negation

    def _after(self, kind: str) -> None:
        """A cue whose scope lies before it."""
        if kind == "doubt after":
            _change(self.near, 1, -1)
        else:
            for mention in self.clause:
                if mention.value and (kind != "removed after" or "Support Devices" in mention.names):
                    mention.value = 0
        self._close()


def _put_in_scope(mention: _Event, scope: str) -> None:
    device = "Support Devices" in mention.names
    if scope == "dropped" and not device:
        mention.value = None
    elif scope == "removed":
        mention.value = 0 if device else mention.value
    elif scope == "absent":
        mention.value = 0 if mention.value else None  # "not normal" states nothing
    elif scope in ("doubt", "differential") and mention.value == 1:
        mention.value = -1


def _change(mentions: list[_Event], old: int, new: int) -> None:
    for mention in mentions:
        if mention.value == old:
            mention.value = new


def _settle_labels(events: Sequence[_Event]) -> None:
    """Values of the names before a colon, from what follows: "Pneumothorax: no evidence", "Effusion: mild effusion"."""
    for place, event in enumerate(events):
        if event.kind == "colon":
            start = place
            while start and events[start - 1].kind in ("mention", "or", "comma"):
                start -= 1
            if not start or events[start - 1].kind in ("colon", "stop"):
                ends = (i for i in range(place + 1, len(events)) if events[i].kind in ("colon", "stop"))
                _settle(events[start:place], events[place + 1 : next(ends, len(events))])


def _settle(labels: Sequence[_Event], following: Sequence[_Event]) -> None:
    named = {name for event in following for name in event.names}
    kind = following[0].kind if following else ""
    for mention in labels:
        if named & {*mention.names}:
            mention.value = None  # said again behind the colon, which counts
        elif mention.kind == "mention" and not named and kind.startswith(("absent", "resolved")):
            mention.value = 0
        elif mention.kind == "mention" and not named and kind.startswith("doubt"):
            _change([mention], 1, -1)
