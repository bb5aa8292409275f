"""compare.html: systems side by side, who is best on each score, and in which studies one beats another.

The table comes first, then every pair that was asked for with its differences, its studies as points, and those in
which either does much better, with images and texts where they are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrgen.core import __version__
from cxrgen.core.files import write_text
from cxrgen.core.records import Study
from cxrgen.evaluate.differences import Difference, Standing, ranking
from cxrgen.evaluate.intervals import ends_text
from cxrgen.evaluate.page.findings import folded, no_finding
from cxrgen.evaluate.page.images import images, pictures_of
from cxrgen.evaluate.page.strata import groups, values_by_group
from cxrgen.evaluate.page.studies import Shown
from cxrgen.evaluate.scores import ARROWS, loss
from cxrgen.evaluate.suites import headline, study_order
from cxrgen.evaluate.systems import System
from cxrgen.evaluate.verdicts import RULE, Verdict, gain, gain_ends
from cxrgen.html import Html, Section, differing_words, note, number, paragraph, render, side_by_side, table, tag
from cxrgen.html.dots import Dot, dot_line
from cxrgen.html.scatter import scatter
from cxrgen.metrics import Floats
from cxrgen.metrics.cards import plain_name
from cxrgen.metrics.clinical.labels import rule_label_table

_WON = 5  # studies shown for each side of a pair
_SIGNS: dict[Verdict, str] = {"better": "▲", "worse": "▼", "no significant difference": "●"}
Pair = tuple[int, int]


@dataclass(frozen=True)
class Compared:
    """All that the page shows: systems on the same studies, their standing, the pairs by places, remarks."""

    systems: Sequence[System]
    standing: Sequence[Standing]
    pairs: Mapping[Pair, Sequence[Difference]]
    notes: Sequence[str]
    signature: str


def write_page(
    path: Path, compared: Compared, studies: Mapping[str, Study], prepared: Path | None, shown: Shown
) -> None:
    """Write the page atomically with mode 600: it may hold report texts and images."""
    names = [system.name for system in compared.systems]
    sections = [_table(compared, names), _by_groups(compared, studies)]
    for pair, rows in compared.pairs.items():
        sections.append(_pair(compared.systems, pair, rows))
        sections.append(_won(compared.systems, pair, studies, prepared, shown))
    kept = [section for section in sections if section]
    ids = compared.systems[0].results.study_ids
    head = f"{len(ids):,} studies · {compared.signature} · cxrgen {__version__}"
    style = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    write_text(path, render("Systems compared", kept, head, style=style), private=True)


def _table(compared: Compared, names: Sequence[str]) -> Section:
    rows = []
    for row in compared.standing:
        cells = [
            tag("b" if place in row.level else "span", number(value), title=ends_text(ends.ends, ends.why))
            for place, (value, ends) in enumerate(zip(row.values, row.intervals))
        ]
        marked = [
            tag("span", cell, " ", tag("small", "best" if row.ranks[place] == 1 else "level"))
            if place in row.level
            else cell
            for place, cell in enumerate(cells)
        ]
        rows.append([tag("span", f"{plain_name(row.name)} {ARROWS[row.better]}", title=row.name), *marked])
    order = [
        [name, f"{rank:.2f}", f"{count} of {len(compared.standing)}"]
        for name, rank, count in ranking(compared.standing, names)
    ]
    parts: list[Html] = [note(remark) for remark in compared.notes]
    parts += [table(("score", *names), rows), table(("system", "mean rank", "best or level"), order)]
    words = "Bold: the best, and all that do not differ significantly from it. "
    return Section("Scores", parts, words + RULE)


def _pair(systems: Sequence[System], pair: Pair, rows: Sequence[Difference]) -> Section:
    first, second = (systems[place].name for place in pair)
    cells = [
        [
            tag("span", f"{plain_name(row.name)} {ARROWS[row.better]}", title=row.name),
            *(number(value) for value in (row.first, row.second)),
            dot_line(_dot(row), {}),
            number(gain(row.difference, row.better)),
            ends_text(gain_ends(row.ci95, row.better), row.no_interval),
            f"{row.p_corrected_all:.4f}",
            tag("span", f"{_SIGNS[row.verdict]} {row.verdict}", class_=f"verdict {_kind(row.verdict)}"),
        ]
        for row in rows
    ]
    columns = ("score", first, second, "", "gain", "95 %", "p", f"{second} is")
    return Section(
        f"{second} compared with {first}",
        [table(columns, cells, (0, 7)), *_scatters(systems, pair)],
        f"A gain above 0, right of the middle, means that {second} is better. Differences are paired over patients; of "
        "scores that are best at 1 they are those of the distances from 1. p is corrected by the largest statistic of "
        "each permutation (Westfall and Young), for all scores of all pairs.",
    )


def _dot(row: Difference) -> Dot:
    kind = _kind(row.verdict)
    return Dot(gain(row.difference, row.better), gain_ends(row.ci95, row.better), kind if kind != "open" else "")


def _kind(said: Verdict) -> str:
    return said if said in ("better", "worse") else "open"


def _per_study(system: System) -> dict[str, Floats]:
    found = {key: values for of in system.results.measured.values() for key, values in of.per_study().items()}
    count = len(system.results.study_ids)
    return {name: np.broadcast_to(values, count) for name, values in found.items() if np.isfinite(values).any()}


def _compared_by(systems: Sequence[System], pair: Pair) -> dict[str, tuple[Floats, Floats]]:
    """The scores that single studies are compared by, the clinical one first: both systems' values of each study."""
    one, two = (_per_study(systems[place]) for place in pair)
    chosen = study_order([name for name in one if name in two]).values()
    return {name: (one[name], two[name]) for name in chosen}


def _scatters(systems: Sequence[System], pair: Pair) -> list[Html]:
    names = [systems[place].name for place in pair]
    drawings = [
        scatter(list(zip(*values)), f"{plain_name(score)} of each study", names[0], names[1])
        for score, values in _compared_by(systems, pair).items()
    ]
    return [side_by_side(*drawings)] if drawings else []


def _won(
    systems: Sequence[System], pair: Pair, studies: Mapping[str, Study], prepared: Path | None, shown: Shown
) -> Section | None:
    """The studies in which either system does much better, by the first score that single studies are compared by."""
    by_score = _compared_by(systems, pair)
    if not by_score:
        return None
    score, (one, two) = next(iter(by_score.items()))
    measured = next(of for of in systems[pair[0]].results.measured.values() if score in of.per_study())
    better = measured.better(score)
    gains = np.nan_to_num(np.asarray(loss(one, better) - loss(two, better)))
    order = np.lexsort((np.arange(len(gains)), -gains))
    names = [systems[place].name for place in pair]
    parts: list[Html] = []
    for winner, rows in ((names[1], order[:_WON]), (names[0], order[::-1][:_WON])):
        kept = [int(row) for row in rows if (gains[row] > 0) == (winner == names[1]) and gains[row] != 0]
        cards = [_card(systems, pair, row, (one, two), studies, prepared, shown) for row in kept]
        parts.append(tag("h3", f"{winner} is better"))
        parts += cards or [paragraph("In no study.")]
    words = f"By each study's own {plain_name(score)}, the largest differences first: {(gains > 0).sum():,} studies in "
    words += f"which {names[1]} is better, {(gains < 0).sum():,} in which {names[0]} is, {(gains == 0).sum():,} equal."
    return Section(f"Where {names[1]} or {names[0]} wins", parts, words)


def _card(
    systems: Sequence[System],
    pair: Pair,
    row: int,
    values: tuple[Floats, Floats],
    studies: Mapping[str, Study],
    prepared: Path | None,
    shown: Shown,
) -> Html:
    """One study: both values, its images, the reference and both reports where they are known."""
    study_id = systems[pair[0]].results.study_ids[row]
    both = [f"{systems[place].name} {number(float(of[row]))}" for place, of in zip(pair, values)]
    reference = next((s.references[study_id] for s in systems if study_id in s.references), None)
    texts: list[Html] = []
    if reference is not None:
        texts.append(_text("Reference", reference))
        for system in (systems[place] for place in pair):
            if study_id in system.reports:
                texts.append(_text(system.name, differing_words(reference, system.reports[study_id])[1]))
    parts = [
        *images(pictures_of(studies.get(study_id), prepared, shown.image_size)),
        *([side_by_side(*texts)] if texts else []),
    ]
    head = tag("h4", tag("span", "Study ", study_id), tag("span", " · ".join(both), class_="soft"))
    return tag("article", head, tag("div", *parts, class_="split") if parts else "", class_="case")


def _text(label: str, text: object) -> Html:
    return tag("div", tag("div", label, class_="label"), tag("div", text or tag("i", "(empty)"), class_="report"))


def _by_groups(compared: Compared, studies: Mapping[str, Study]) -> Section | None:
    """Each group's headline scores of every system; None where nothing is known that makes groups."""
    results = compared.systems[0].results
    known = [system.references for system in compared.systems if system.references]
    references = [known[0][name] for name in results.study_ids] if known else None
    normal = no_finding(rule_label_table(references)) if references else None
    masks = groups(results.study_ids, references, normal, studies)
    names = headline([row.name for row in compared.standing], at_most=3)
    if not masks or not names:
        return None
    parts = []
    for name in names:
        rows = []
        for group, mask in masks.items():
            values = [
                values_by_group(system.results.measured, results.subjects, mask)[name] for system in compared.systems
            ]
            cells = [tag("span", number(value), title=ends_text(ends)) for value, ends in values]
            rows.append([group, f"{int(mask.sum()):,}", *cells])
        columns = ("studies", "n", *(system.name for system in compared.systems))
        parts.append(folded(plain_name(name), table(columns, rows)))
    words = "Values of each group on its own; intervals appear where one points. Nothing here was tested."
    return Section("Groups of studies", parts, words)
