"""A reference and a report sentence by sentence: what is right, missing, invented or contradicted.

Sentences are matched by what they state (rule labels), equal wording first; a sentence that states nothing is matched
by its words. The kind of a row goes by statements, not by wording, so "Heart normal" and "No cardiomegaly" agree. It
is as good as the rule labels are: sentences that they do not understand are shown side by side and not judged. Devices
share one label, so sentences about them are judged by their words and sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from cxrgen.metrics.clinical.labels import ABSENT, LEFT, RIGHT, sides_named
from cxrgen.text.chexpert import OBSERVATIONS
from cxrgen.text.rule_labels import read_sentence
from cxrgen.text.sentences import sentences

_BITS = {name: 1 << place for place, name in enumerate((*OBSERVATIONS, "other"))}  # sets of findings are numbers
_DEVICES = _BITS["Support Devices"]
_ALIKE = 0.5  # shared words of all words, from which on sentences that state nothing are matched
AGREED, MISSING, INVENTED, CONTRADICTED, UNJUDGED = "right", "missing", "invented", "contradicted", "not judged"


class Row(NamedTuple):
    """One line of the comparison; an empty text where a side has no sentence for it."""

    kind: str
    reference: str
    report: str


@dataclass(frozen=True)
class _Sentence:
    text: str
    words: frozenset[str]
    plain: str  # lower case, blanks squeezed
    there: int  # findings that it calls present or possible
    absent: int
    named: int  # findings, there or not
    sides: int  # that it names


_Numbered = tuple[int, _Sentence]  # with its place in its text


@dataclass(frozen=True)
class _Text:
    """A text's sentences, and what all of them say."""

    parts: tuple[_Sentence, ...]
    there: int
    absent: int


def aligned(reference: str, report: str) -> list[Row]:
    """The rows in the reference's order; sentences that only the report has come last."""
    left, right = _text(reference), _text(report)
    partner = _matched(left.parts, right.parts)
    taken = set(partner.values())
    rows = []
    for i, one in enumerate(left.parts):
        if i in partner:
            two = right.parts[partner[i]]
            rows.append(Row(_kind_of_pair(one, two, left, right), one.text, two.text))
        else:
            rows.append(Row(_kind_alone(one, right, MISSING), one.text, ""))
    lone = (two for j, two in enumerate(right.parts) if j not in taken)
    return rows + [Row(_kind_alone(two, left, INVENTED), "", two.text) for two in lone]


@lru_cache(1 << 14)  # references are compared with several systems
def _text(text: str) -> _Text:
    parts = tuple(map(_sentence, filter(None, sentences(text))))
    there = absent = 0
    for part in parts:
        there |= part.there
        absent |= part.absent
    return _Text(parts, there, absent)


@lru_cache(1 << 16)
def _sentence(piece: str) -> _Sentence:
    plain, stated = read_sentence(piece)
    there = absent = 0
    for name, value in stated:
        if value == ABSENT:
            absent |= _BITS[name]
        else:
            there |= _BITS[name]
    words = frozenset(plain.split())
    return _Sentence(piece.strip(), words, plain, there, absent, there | absent, sides_named(plain))


def _matched(left: Sequence[_Sentence], right: Sequence[_Sentence]) -> dict[int, int]:
    """Index of each reference sentence's partner: equal ones, then the likest pairs first, each sentence once."""
    partner: dict[int, int] = {}
    plain: list[str | None] = [two.plain for two in right]
    for i, one in enumerate(left):
        if one.plain in plain:
            partner[i] = j = plain.index(one.plain)
            plain[j] = None
    taken = set(partner.values())
    rest = [(i, one) for i, one in enumerate(left) if i not in partner]
    for i, j in _likest_first(rest, [(j, two) for j, two in enumerate(right) if j not in taken]):
        if i not in partner and j not in taken:
            partner[i] = j
            taken.add(j)
    return partner


def _likest_first(left: Sequence[_Numbered], right: Sequence[_Numbered]) -> list[tuple[int, int]]:
    """The pairs of sentences that belong together, the likest first, then in the order of the texts."""
    silent = [(j, two) for j, two in right if not two.named]
    found: list[tuple[float, int, int]] = []
    for i, one in left:
        for j, two in right if one.named else silent:
            if one.named & two.named or not one.named:
                likeness = _likeness(one, two)
                if likeness > 0:
                    found.append((-likeness, i, j))
    return [(i, j) for _, i, j in sorted(found)]


def _likeness(one: _Sentence, two: _Sentence) -> float:
    """Above 0 for sentences that belong together: by the findings that both name, then by their words."""
    named = one.named & two.named
    shared = len(one.words & two.words)
    words = shared / max(1, len(one.words) + len(two.words) - shared)
    if not named or named == _DEVICES:
        return words if words >= _ALIKE else 0.0
    stated = (one.there & two.there).bit_count() + (one.absent & two.absent).bit_count()
    return stated + named.bit_count() + words


def _kind_of_pair(one: _Sentence, two: _Sentence, reference: _Text, report: _Text) -> str:
    if one.plain == two.plain:
        return AGREED
    if _contradicts(one, two) or _on_other_side(one, two):
        return CONTRADICTED
    if not one.named and not two.named:
        return UNJUDGED
    return MISSING if one.there & ~report.there else INVENTED if two.there & ~reference.there else AGREED


def _kind_alone(one: _Sentence, other: _Text, lacking: str) -> str:
    """The kind of a sentence without a partner: other sentences may say the same, or the opposite."""
    if not one.named:
        return UNJUDGED
    if _contradicts(one, other) or (len(other.parts) == 1 and _on_other_side(one, other.parts[0])):
        return CONTRADICTED
    if one.there & ~other.there & ~_DEVICES:
        return lacking
    if one.there & _DEVICES:
        return UNJUDGED if other.there & _DEVICES else lacking
    return UNJUDGED if one.there & ~other.there or one.absent & ~other.absent else AGREED


def _contradicts(one: _Sentence, other: _Sentence | _Text) -> bool:
    """Whether a finding is there in one and, as far as the other says, absent, or the other way round."""
    return bool(one.there & other.absent & ~other.there or one.absent & other.there & ~other.absent)


def _on_other_side(one: _Sentence, two: _Sentence) -> bool:
    """Whether both have a finding, each on one side only and not on the same."""
    return bool(one.there & two.there) and {one.sides, two.sides} == {LEFT, RIGHT}
