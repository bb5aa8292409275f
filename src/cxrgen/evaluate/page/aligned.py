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

from cxrgen.metrics.clinical.labels import ABSENT, PRESENT, one_sided
from cxrgen.text.rule_labels import read_sentence
from cxrgen.text.sentences import sentences

_DEVICES, _ANY_FINDING = "Support Devices", "Pleural Effusion"
_ALIKE = 0.5  # shared words of all words, from which on sentences that state nothing are matched
RIGHT, MISSING, INVENTED, CONTRADICTED, UNJUDGED = "right", "missing", "invented", "contradicted", "not judged"


@dataclass(frozen=True)
class Row:
    """One line of the comparison; an empty text where a side has no sentence for it."""

    kind: str
    reference: str
    report: str


@dataclass(frozen=True)
class _Sentence:
    text: str
    words: frozenset[str]
    plain: str  # lower case, blanks squeezed
    stated: frozenset[tuple[str, bool]]  # finding, whether it is there
    opposite: frozenset[tuple[str, bool]]  # of what is stated
    named: frozenset[str]  # findings, there or not
    there: frozenset[str]  # findings that are present or possible
    side: int  # the only side it names, 0 for none or both


@dataclass(frozen=True)
class _Text:
    """A text's sentences, and what all of them say."""

    parts: tuple[_Sentence, ...]
    stated: frozenset[tuple[str, bool]]
    there: frozenset[str]


def aligned(reference: str, report: str) -> list[Row]:
    """The rows in the reference's order; sentences that only the report has come last."""
    left, right = _text(reference), _text(report)
    partner = _matched(left.parts, right.parts)
    taken = set(partner.values())
    rows = []
    for i, one in enumerate(left.parts):
        if i in partner:
            two = right.parts[partner[i]]
            rows.append(Row(_kind_of_pair(one, two, left.there, right.there), one.text, two.text))
        else:
            rows.append(Row(_kind_alone(one, right, MISSING), one.text, ""))
    lone = (two for j, two in enumerate(right.parts) if j not in taken)
    return rows + [Row(_kind_alone(two, left, INVENTED), "", two.text) for two in lone]


@lru_cache(1 << 14)  # references are compared with several systems
def _text(text: str) -> _Text:
    parts = tuple(_sentence(piece) for piece in sentences(text) if piece.strip())
    stated = frozenset().union(*(part.stated for part in parts))
    return _Text(parts, stated, frozenset().union(*(part.there for part in parts)))


@lru_cache(1 << 16)
def _sentence(piece: str) -> _Sentence:
    plain, stated = read_sentence(piece)
    facts = frozenset((name, value != ABSENT) for name, value in stated)
    opposite = frozenset((name, not present) for name, present in facts)
    side = one_sided([(plain, ((_ANY_FINDING, PRESENT),))]).get(_ANY_FINDING, 0)
    named, there = frozenset(name for name, _ in facts), frozenset(name for name, present in facts if present)
    return _Sentence(piece.strip(), frozenset(plain.split()), plain, facts, opposite, named, there, side)


def _matched(left: Sequence[_Sentence], right: Sequence[_Sentence]) -> dict[int, int]:
    """Index of each reference sentence's partner: equal ones, then the likest pairs first, each sentence once."""
    partner: dict[int, int] = {}
    equal: dict[str, list[int]] = {}
    for j in reversed(range(len(right))):
        equal.setdefault(right[j].plain, []).append(j)
    for i, one in enumerate(left):
        if equal.get(one.plain):
            partner[i] = equal[one.plain].pop()
    taken = set(partner.values())
    rest = [[k for k in range(len(of)) if k not in done] for of, done in ((left, partner), (right, taken))]
    pairs = [(_likeness(left[i], right[j]), -i, -j) for i in rest[0] for j in rest[1]]
    for _, minus_i, minus_j in sorted((pair for pair in pairs if pair[0] > 0), reverse=True):
        if -minus_i not in partner and -minus_j not in taken:
            partner[-minus_i] = -minus_j
            taken.add(-minus_j)
    return partner


def _likeness(one: _Sentence, two: _Sentence) -> float:
    """Above 0 for sentences that belong together: by the findings they name, then by their words."""
    named = one.named & two.named
    if not named and (one.named or two.named):
        return 0.0
    words = len(one.words & two.words) / max(1, len(one.words | two.words))
    if not named or named == {_DEVICES}:
        return words if words >= _ALIKE else 0.0
    return len(one.stated & two.stated) + len(named) + words


def _kind_of_pair(one: _Sentence, two: _Sentence, of_reference: frozenset[str], of_report: frozenset[str]) -> str:
    if one.plain == two.plain:
        return RIGHT
    if _contradicts(one, two.stated) or _on_other_side(one, two):
        return CONTRADICTED
    if not one.stated and not two.stated:
        return UNJUDGED
    return MISSING if one.there - of_report else INVENTED if two.there - of_reference else RIGHT


def _kind_alone(one: _Sentence, other: _Text, lacking: str) -> str:
    """The kind of a sentence without a partner: other sentences may say the same, or the opposite."""
    if not one.stated:
        return UNJUDGED
    if _contradicts(one, other.stated) or (len(other.parts) == 1 and _on_other_side(one, other.parts[0])):
        return CONTRADICTED
    if any(present and name != _DEVICES for name, present in one.stated - other.stated):
        return lacking
    if (_DEVICES, True) in one.stated:
        return UNJUDGED if (_DEVICES, True) in other.stated else lacking
    return RIGHT if one.stated <= other.stated else UNJUDGED


def _contradicts(one: _Sentence, stated: frozenset[tuple[str, bool]]) -> bool:
    """Whether a finding is there in one and not in what is stated, or the other way round."""
    return any((name, not present) not in stated for name, present in one.opposite & stated)


def _on_other_side(one: _Sentence, two: _Sentence) -> bool:
    """Whether both have a finding, each on one side only and not on the same."""
    return bool(one.there & two.there and one.side and two.side and one.side != two.side)
