"""report.html: all scores of a test set, from the scoreboard down to single studies.

Scores come first with their intervals and their baselines, then the details: each finding's counts, groups of
studies, repetition, correlations of scores, and the worst, middle and best studies with images and both texts. The page
holds report texts, so only its owner can read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrgen.core import __version__
from cxrgen.core.files import write_text
from cxrgen.core.records import Study
from cxrgen.evaluate.baselines import best_baseline
from cxrgen.evaluate.intervals import ends_text
from cxrgen.evaluate.page.examples import example, examples, ranks
from cxrgen.evaluate.page.findings import no_finding, per_finding
from cxrgen.evaluate.page.repetition import degeneration
from cxrgen.evaluate.page.strata import groups, strata
from cxrgen.evaluate.pairs import Pairs
from cxrgen.evaluate.scores import ARROWS, Score, Scores
from cxrgen.evaluate.suites import SUMS, headline
from cxrgen.html import Bar, Html, Section, heat_map, note, number, render, table, tag, whisker_chart
from cxrgen.metrics.clinical.labels import rule_label_table

_ENOUGH = 10  # studies that a correlation needs


@dataclass(frozen=True)
class Scored:
    """All that the page shows: texts, scores, baselines and limits by name, and the prepared set if there is one."""

    pairs: Pairs
    subjects: Sequence[str]
    scores: Scores
    baselines: Mapping[str, Scores]
    limits: Mapping[str, Mapping[str, float]]
    studies: Mapping[str, Study]
    prepared: Path | None
    notes: Sequence[str]


def write_report(path: Path, scored: Scored) -> None:
    """Write the page atomically with mode 600; images are read for the shown studies only."""
    scores, pairs = scored.scores, scored.pairs
    hyp, ref = rule_label_table(pairs.hypotheses), rule_label_table(pairs.references)
    masks = groups(pairs.study_ids, pairs.references, no_finding(ref), scored.studies)
    sections = [
        _scoreboard(scored),
        per_finding(hyp, ref, scores.groups),
        strata(scores, scored.subjects, masks),
        degeneration(pairs.hypotheses, pairs.references),
        _correlations(scores),
        _studies(scored),
        _latex_row(scores),
    ]
    head = f"{scores.n:,} studies of {scores.patients:,} patients · {scores.signature()} · cxrgen {__version__}"
    write_text(path, render("Report scores", [part for part in sections if part], head), private=True)


def _scoreboard(scored: Scored) -> Section:
    baselines = {name: of.metrics for name, of in scored.baselines.items()}
    parts: list[Html] = [note(remark) for remark in scored.notes]
    shown = {name: score for name, score in scored.scores.metrics.items() if not score.single_finding}
    bars = {name: _bar(name, score, baselines) for name, score in shown.items()}
    in_unit = [name for name, bar in bars.items() if not any(abs(v) > 1 for v in (bar.value, *bar.marks.values()))]
    if in_unit:
        parts.append(whisker_chart([bars[name] for name in in_unit]))
    parts += [whisker_chart([bar]) for name, bar in bars.items() if name not in in_unit]
    known = {name: values for name, values in scored.limits.items() if values.keys() & shown.keys()}
    rows = [
        [*_score_row(name, score, baselines), *(number(of[name]) if name in of else "" for of in known.values())]
        for name, score in shown.items()
    ]
    columns = (
        "score",
        "",
        "value",
        "95 % interval",
        "best baseline",
        "",
        "above baseline",
        "95 % interval",
        "p",
        *known,
    )
    parts.append(table(columns, rows, left=(0, 1, 5)))
    parts += _sums(scored)
    signatures = dict.fromkeys(score.signature for score in shown.values())
    parts.append(tag("p", "Signatures: ", *(tag("code", text, " ") for text in signatures), class_="soft"))
    return Section(
        "Scoreboard",
        parts,
        "Bars are the scored reports with 95 % intervals (between patients); coloured ticks are baselines: values "
        "of reports written without looking at an image. ↑ higher is better, ↓ lower is better, →1 the nearer to 1. "
        "p is of the paired test against the best baseline, corrected for the number of scores.",
    )


def _sums(scored: Scored) -> list[Html]:
    """The sums of scores beside those of the baselines; nothing where a part is missing."""
    totals = {name: total for name, total in scored.scores.totals(scored.baselines).items() if total.value is not None}
    if not totals:
        return []
    rows = [
        [name, number(total.value), *map(number, total.baselines.values()), " + ".join(SUMS[name])]
        for name, total in totals.items()
    ]
    columns = ("sum", "value", *scored.baselines, "of")
    return [table(columns, rows, left=(0, len(columns) - 1))]


def _bar(name: str, score: Score, baselines: Mapping[str, Mapping[str, Score]]) -> Bar:
    marks = {baseline: of[name].value for baseline, of in baselines.items() if name in of}
    return Bar(f"{name} {ARROWS[score.better]}", score.value, score.interval, marks)


def _score_row(name: str, score: Score, baselines: Mapping[str, Mapping[str, Score]]) -> list[object]:
    ends_of_score = ends_text(score.interval, score.no_interval)
    row: list[object] = [name, ARROWS[score.better], tag("b", number(score.value)), ends_of_score]
    best = best_baseline(name, score.better, baselines)
    if best is None or score.against is None:
        return [*row, "–", "", "–", "–", "–"]
    against, sign = score.against, 1 if score.better == "higher" else -1
    ends = sorted(sign * end for end in against.interval) if against.interval else None
    gain = [number(sign * against.difference), ends_text((ends[0], ends[1]) if ends else None)]
    return [*row, number(best[1].value), best[0], *gain, f"{against.p_corrected:.3f}"]


def _correlations(scores: Scores) -> Section | None:
    """Spearman's correlation of the headline scores over studies."""
    names = [name for name in headline(scores.per_study) if np.isfinite(scores.per_study[name]).all()]
    if len(names) < 2 or scores.n < _ENOUGH:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        table_of = np.corrcoef([ranks(scores.per_study[name]) for name in names])
    return Section(
        "Correlations of scores",
        [heat_map(names, names, table_of.tolist(), digits=2, shares=False)],
        "Rank correlation (Spearman) of each study's own scores. Scores that hardly correlate measure other things.",
    )


def _studies(scored: Scored) -> Section:
    chosen, rule = examples(scored.scores)
    parts = []
    for kind, rows in chosen.items():
        parts.append(tag("h3", kind))
        for row in rows:
            study = scored.studies.get(scored.pairs.study_ids[row])
            parts.append(example(row, scored.pairs, scored.scores, study, scored.prepared))
    return Section("Studies", parts, rule)


def _latex_row(scores: Scores) -> Section:
    """A row of a paper's table, to copy."""
    names = headline(scores.metrics, at_most=8) or list(scores.metrics)[:8]
    head = " & ".join(["model", *(name.replace("_", r"\_") for name in names)])
    cells = []
    for name in names:
        score = scores.metrics[name]
        low, high = score.interval or (float("nan"), float("nan"))
        cells.append(rf"{score.value:.3f} {{\scriptsize [{low:.3f}, {high:.3f}]}}")
    row = f"{head} \\\\\nours & {' & '.join(cells)} \\\\"
    return Section("LaTeX row", [tag("pre", row)], "A row of a LaTeX table.")
