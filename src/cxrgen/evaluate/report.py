"""report.html: the scores as a researcher wants to look at them, from the scoreboard down to single studies.

Numbers come first with their uncertainty and their floors, then what they are made of: each finding's counts, groups of
studies, repetition, how scores go together, and the worst, middling and best studies with films and both texts. The
page holds report texts, so it is written for its owner only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import cxrgen
from cxrgen.evaluate.cases import case, examples, ranks
from cxrgen.evaluate.degeneration import degeneration
from cxrgen.evaluate.findings import label_table, no_finding, per_finding
from cxrgen.evaluate.floors import best_floor
from cxrgen.evaluate.intervals import ends_text
from cxrgen.evaluate.pairs import Pairs
from cxrgen.evaluate.scores import ARROWS, Score, Scores, headline, is_finer
from cxrgen.evaluate.strata import groups, strata
from cxrgen.files import write_text
from cxrgen.page import Bar, Html, Section, heat_map, note, number, render, table, tag, whisker_chart
from cxrgen.records import Study

_ENOUGH = 10  # studies that a correlation needs


@dataclass(frozen=True)
class Scored:
    """All that the page shows: texts, scores, floors and limits by name, and the prepared set if there is one."""

    pairs: Pairs
    subjects: Sequence[str]
    scores: Scores
    floors: Mapping[str, Scores]
    limits: Mapping[str, Mapping[str, float]]
    studies: Mapping[str, Study]
    prepared: Path | None
    notes: Sequence[str]


def write_report(path: Path, scored: Scored) -> None:
    """Write the page atomically with mode 600; films are read for the shown studies only."""
    scores, pairs = scored.scores, scored.pairs
    said, wanted = label_table(pairs.hypotheses), label_table(pairs.references)
    masks = groups(pairs.study_ids, pairs.references, no_finding(wanted), scored.studies)
    sections = [
        _scoreboard(scored),
        per_finding(said, wanted, scores.groups),
        strata(scores, scored.subjects, masks),
        degeneration(pairs.hypotheses, pairs.references),
        _together(scores),
        _cases(scored),
        _to_copy(scores),
    ]
    head = f"{scores.n:,} studies of {scores.patients:,} patients · {scores.signature()} · cxrgen {cxrgen.__version__}"
    write_text(path, render("Report scores", [part for part in sections if part], head), private=True)


def _scoreboard(scored: Scored) -> Section:
    floors = {name: of.metrics for name, of in scored.floors.items()}
    parts: list[Html] = [note(remark) for remark in scored.notes]
    shown = {name: score for name, score in scored.scores.metrics.items() if not is_finer(name)}
    bars = {name: _bar(name, score, floors) for name, score in shown.items()}
    in_unit = [name for name, bar in bars.items() if not any(abs(v) > 1 for v in (bar.value, *bar.marks.values()))]
    if in_unit:
        parts.append(whisker_chart([bars[name] for name in in_unit]))
    parts += [whisker_chart([bar]) for name, bar in bars.items() if name not in in_unit]
    known = {name: values for name, values in scored.limits.items() if values.keys() & shown.keys()}
    rows = [
        [*_score_row(name, score, floors), *(number(of[name]) if name in of else "" for of in known.values())]
        for name, score in shown.items()
    ]
    columns = ("score", "", "value", "95 % interval", "best floor", "", "above floor", "95 % interval", "p", *known)
    parts.append(table(columns, rows, left=(0, 1, 5)))
    signatures = dict.fromkeys(score.signature for score in shown.values())
    parts.append(tag("p", "Signatures: ", *(tag("code", text, " ") for text in signatures), class_="soft"))
    return Section(
        "Scoreboard",
        parts,
        "Bars are the scored reports with 95 % intervals (between patients); coloured ticks are floors: what reports "
        "get that were written without looking at any film. ↑ higher is better, ↓ lower is better, →1 the nearer to 1. "
        "p is of the paired test against the best floor, corrected for the number of scores.",
    )


def _bar(name: str, score: Score, floors: Mapping[str, Mapping[str, Score]]) -> Bar:
    marks = {floor: of[name].value for floor, of in floors.items() if name in of}
    return Bar(f"{name} {ARROWS[score.direction]}", score.value, score.interval, marks)


def _score_row(name: str, score: Score, floors: Mapping[str, Mapping[str, Score]]) -> list[object]:
    ends_of_score = ends_text(score.interval, score.no_interval)
    row: list[object] = [name, ARROWS[score.direction], tag("b", number(score.value)), ends_of_score]
    best = best_floor(name, score.direction, floors)
    if best is None or score.against is None:
        return [*row, "–", "", "–", "–", "–"]
    against, better = score.against, 1 if score.direction == "up" else -1
    ends = sorted(better * end for end in against.interval) if against.interval else None
    gain = [number(better * against.difference), ends_text((ends[0], ends[1]) if ends else None)]
    return [*row, number(best[1].value), best[0], *gain, f"{against.p_corrected:.3f}"]


def _together(scores: Scores) -> Section | None:
    """Spearman's correlation of the headline scores over studies."""
    names = [name for name in headline(scores.per_study) if np.isfinite(scores.per_study[name]).all()]
    if len(names) < 2 or scores.n < _ENOUGH:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        table_of = np.corrcoef([ranks(scores.per_study[name]) for name in names])
    return Section(
        "How scores go together",
        [heat_map(names, names, table_of.tolist(), digits=2, shares=False)],
        "Rank correlation (Spearman) of each study's own scores. Scores that hardly go together measure "
        "different things.",
    )


def _cases(scored: Scored) -> Section:
    chosen, rule = examples(scored.scores)
    parts = []
    for kind, places in chosen.items():
        parts.append(tag("h3", kind))
        for place in places:
            study = scored.studies.get(scored.pairs.study_ids[place])
            parts.append(case(place, scored.pairs, scored.scores, study, scored.prepared))
    return Section("Studies", parts, rule)


def _to_copy(scores: Scores) -> Section:
    """A row for a paper's table."""
    names = headline(scores.metrics, at_most=8) or list(scores.metrics)[:8]
    head = " & ".join(["model", *(name.replace("_", r"\_") for name in names)])
    cells = []
    for name in names:
        score = scores.metrics[name]
        low, high = score.interval or (float("nan"), float("nan"))
        cells.append(rf"{score.value:.3f} {{\scriptsize [{low:.3f}, {high:.3f}]}}")
    return Section("To copy", [tag("pre", f"{head} \\\\\nours & {' & '.join(cells)} \\\\")], "A row of a LaTeX table.")
