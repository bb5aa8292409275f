"""What stands above all scores: what was scored, and one sentence that says what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from cxrgen.evaluate.baselines import best_baseline
from cxrgen.evaluate.page.errors import Errors, in_words
from cxrgen.evaluate.scores import Score, Scores
from cxrgen.evaluate.suites import headline
from cxrgen.evaluate.verdicts import BETTER, WORSE, against_baseline
from cxrgen.html import Html, join, number, tag
from cxrgen.metrics.cards import plain_name

_ENOUGH = 10  # studies with a finding, for its misses to be named
_NAMED = 3  # findings at most
_HALF = 0.5  # recall below which a finding is named


@dataclass(frozen=True)
class About:
    """What was scored; empty where it is not known."""

    name: str
    data: str = ""
    split: str = ""
    date: str = ""  # of the file with the reports
    command: str = ""
    links: Mapping[str, str] = field(default_factory=dict)  # name -> address of another page


def identity(about: About, scores: Scores) -> Html:
    """Data set, split, size, date and command in a few lines."""
    rows = {
        "data set": about.data,
        "split": about.split,
        "studies": f"{scores.n:,} of {scores.patients:,} patients",
        "reports of": about.date,
        "see also": join((tag("a", name, href=address) for name, address in about.links.items()), ", "),
    }
    shown = [tag("div", tag("dt", label), tag("dd", value)) for label, value in rows.items() if value]
    if about.command:
        folded = tag("details", tag("summary", "command"), tag("code", about.command))
        shown.append(tag("div", tag("dd", folded)))
    return tag("dl", *shown, class_="identity", id="identity", data_name=about.name)


def summary(scores: Scores, baselines: Mapping[str, Scores], found: Errors) -> str:
    """One sentence: against the baselines, the first score with its interval, the findings that are mostly missed."""
    parts = [_against_baselines(scores), _first_score(scores, baselines), _misses(found)]
    return "; ".join(part for part in parts if part) + "."


def _against_baselines(scores: Scores) -> str:
    compared = [s for s in scores.metrics.values() if s.against is not None and not s.single_finding]
    verdicts = [against_baseline(score, score.against) for score in compared if score.against]
    if not verdicts:
        return ""
    words = f"Better than every baseline on {verdicts.count(BETTER)} of {len(verdicts)} scores"
    return f"{words}, worse than one on {verdicts.count(WORSE)}" if WORSE in verdicts else words


def _first_score(scores: Scores, baselines: Mapping[str, Scores]) -> str:
    names = headline(scores.metrics) or list(scores.metrics)
    name = next((each for each in names if np.isfinite(scores.metrics[each].value)), None)
    if name is None:
        return ""
    best = best_baseline(name, scores.metrics[name].better, {key: of.metrics for key, of in baselines.items()})
    beside = f", best baseline {number(best[1].value)}" if best else ""
    return f"{plain_name(name)}: {value_text(scores.metrics[name])}{beside}"


def value_text(score: Score) -> str:
    """ "0.811 (0.796 to 0.827)"."""
    ends = score.interval
    return f"{number(score.value)} ({number(ends[0])} to {number(ends[1])})" if ends else number(score.value)


def _misses(found: Errors) -> str:
    caught, there = found.caught.sum(axis=0), (found.caught | found.missed).sum(axis=0)
    enough = [i for i in range(len(there)) if there[i] >= _ENOUGH and caught[i] < _HALF * there[i]]
    worst = sorted(enough, key=lambda i: caught[i] / there[i])[:_NAMED]
    if not worst:
        return ""
    named = [f"{in_words(found.findings[i])} ({caught[i]} of {there[i]} caught)" for i in worst]
    return f"mostly missed: {', '.join(named)}"
