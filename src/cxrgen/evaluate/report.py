"""report.html: the scores as a researcher wants to look at them, from the scoreboard down to single studies.

Numbers come first with their uncertainty and their floors, then what they are made of: each finding's counts, then the
worst, middling and best studies with films and both texts. The page holds report texts, so it is written for its owner
only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cxrgen
from cxrgen.evaluate.cases import case, examples
from cxrgen.evaluate.floors import best_floor
from cxrgen.evaluate.pairs import Pairs
from cxrgen.evaluate.scores import Score, Scores
from cxrgen.evaluate.statistics import interval
from cxrgen.files import write_text
from cxrgen.page import Bar, Html, Section, note, number, render, table, tag, whisker_chart
from cxrgen.records import Study

ARROWS = {"up": "↑", "down": "↓"}


def write_report(
    path: Path,
    pairs: Pairs,
    scores: Scores,
    floors: Mapping[str, Scores],
    studies: Mapping[str, Study],
    prepared: Path | None,
    notes: Sequence[str],
) -> None:
    """Write the page atomically with mode 600; films are read from `prepared` for the shown studies only."""
    sections = [_scoreboard(scores, floors, notes)]
    sections.append(_cases(pairs, scores, studies, prepared))
    head = f"{scores.n:,} studies of {scores.patients:,} patients · {scores.signature()} · cxrgen {cxrgen.__version__}"
    write_text(path, render("Report scores", sections, head), private=True)


def _scoreboard(scores: Scores, floors: Mapping[str, Scores], notes: Sequence[str]) -> Section:
    of_floors = {name: of.metrics for name, of in floors.items()}
    parts: list[Html] = [note(remark) for remark in notes]
    shown = scores.metrics
    in_unit = {name: score for name, score in shown.items() if abs(score.value) <= 1}
    if in_unit:
        parts.append(whisker_chart([_bar(name, score, of_floors) for name, score in in_unit.items()]))
    for name in shown.keys() - in_unit.keys():
        parts.append(whisker_chart([_bar(name, shown[name], of_floors)]))
    rows = [_score_row(name, score, of_floors) for name, score in shown.items()]
    columns = ("score", "", "value", "95 % interval", "best floor", "", "above floor", "95 % interval")
    parts.append(table(columns, rows, left=(0, 1, 5)))
    signatures = dict.fromkeys(score.signature for score in shown.values())
    parts.append(tag("p", "Signatures: ", *(tag("code", text, " ") for text in signatures), class_="soft"))
    return Section(
        "Scoreboard",
        parts,
        "Bars are the scored reports with 95 % intervals (patients resampled); coloured ticks are floors: what reports "
        "get that were written without looking at any film. ↑ higher is better, ↓ lower is better.",
    )


def _bar(name: str, score: Score, floors: Mapping[str, Mapping[str, Score]]) -> Bar:
    marks = {floor: of[name].value for floor, of in floors.items() if name in of}
    return Bar(f"{name} {ARROWS[score.direction]}", score.value, score.interval, marks)


def _score_row(name: str, score: Score, floors: Mapping[str, Mapping[str, Score]]) -> list[object]:
    best = best_floor(name, score.direction, floors)
    row: list[object] = [name, ARROWS[score.direction], tag("b", number(score.value)), _ends(score.interval)]
    if best is None:
        return [*row, "–", "", "–", "–"]
    floor, other = best
    sign = -1 if score.direction == "down" else 1
    gain = interval(sign * (score.samples - other.samples))
    return [*row, number(other.value), floor, number(sign * (score.value - other.value)), _ends(gain)]


def _ends(ends: tuple[float, float] | None) -> str:
    return f"{number(ends[0])} to {number(ends[1])}" if ends else "–"


def _cases(pairs: Pairs, scores: Scores, studies: Mapping[str, Study], prepared: Path | None) -> Section:
    chosen, rule = examples(scores)
    parts = []
    for kind, places in chosen.items():
        parts.append(tag("h3", kind))
        for place in places:
            parts.append(case(place, pairs, scores, studies.get(pairs.study_ids[place]), prepared))
    return Section("Studies", parts, rule)
