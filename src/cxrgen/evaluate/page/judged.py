"""Errors that a judge listed, on the page: chips on a study's card, and kinds to filter by.

What a judge calls a finding may be words of a report, so they are shown only where texts are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cxrgen.evaluate.page.study_cards import Chip
from cxrgen.evaluate.scores import Scores
from cxrgen.metrics import Noted

_KINDS = {  # of error: the word on its chip, and the class of its look
    "missing_finding": ("missed", "missed"),
    "invented_finding": ("invented", "invented"),
    "wrong_location": ("wrong place", "side"),
    "wrong_severity": ("wrong severity", "side"),
    "invented_comparison": ("invented comparison", "prior"),
    "omitted_comparison": ("omitted comparison", "prior"),
}
_URGENT = "judge_urgent"


def noted_by_study(scores: Scores) -> list[tuple[Noted, ...]]:
    """The errors that metrics listed in each study; none where no metric lists any."""
    lists = [result.noted for result in scores.measured.values() if result.noted]
    return [tuple(noted for of in lists for noted in of[row]) for row in range(scores.n)]


def _keys(noted: Noted) -> tuple[str, ...]:
    """What a filter finds an error by."""
    return (f"{_key(noted.kind)}:", *([f"{_URGENT}:"] if noted.urgent else []))


def options(of_studies: Sequence[Sequence[Noted]]) -> Mapping[str, str]:
    """The choices of a filter, each with its count of studies; none where nothing is noted."""
    if not any(of_studies):
        return {}
    words = {_key(kind): f"judge: {name}" for kind, (name, _) in _KINDS.items()} | {_URGENT: "judge: urgent"}
    found = [{key for each in noted for key in _keys(each)} for noted in of_studies]
    return {key: f"{name} ({sum(f'{key}:' in of for of in found):,})" for key, name in words.items()}


def chips(noted: Sequence[Noted], texts: bool) -> list[Chip]:
    """One for each error, the urgent first."""
    ordered = sorted(noted, key=lambda each: not each.urgent)
    return [
        Chip(_words(each, texts), f"judge {_KINDS[each.kind][1]}", _keys(each))
        for each in ordered
        if each.kind in _KINDS
    ]


def _words(noted: Noted, texts: bool) -> str:
    urgent, finding = ("! urgent, " if noted.urgent else ""), (f": {noted.finding}" if texts else "")
    return f"judge: {urgent}{_KINDS[noted.kind][0]}{finding}"


def _key(kind: str) -> str:
    return f"judge_{kind}"
