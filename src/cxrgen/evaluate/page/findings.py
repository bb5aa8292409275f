"""Every finding in one chart: how many studies caught, missed and invented it, then F1 with its interval.

Counts lead to the studies that they count. Without a table of true findings they are rule labels, read from both texts;
a finding counts as reported when it is present or uncertain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cxrgen.evaluate.intervals import ends_text, f1_interval
from cxrgen.evaluate.page.errors import KINDS, Errors, in_words, reported
from cxrgen.evaluate.statistics import Clusters
from cxrgen.html import Html, Section, heat_map, number, paragraph, table, tag
from cxrgen.metrics.clinical.labels import ABSENT, BLANK, PRESENT, UNCERTAIN, Labels
from cxrgen.text.chexpert import OBSERVATIONS

LABELS = {PRESENT: "positive", UNCERTAIN: "uncertain", ABSENT: "negative", BLANK: "not mentioned"}
FEW = 10  # positive studies below which a row is marked


def no_finding(labels: Labels) -> NDArray[np.bool_]:
    """Which of N texts have no label that is positive or uncertain, except of devices."""
    columns = [i for i, name in enumerate(OBSERVATIONS) if name not in ("No Finding", "Support Devices")]
    return np.asarray(~reported(labels[:, columns]).any(axis=1))


def per_finding(
    found: Errors, groups: Clusters, hyp: Labels, ref: Labels, limits: Mapping[str, Mapping[str, float]] | None = None
) -> Section:
    """The panel of the page; `hyp` and `ref` are the rule labels of the N reports and references.

    `limits` (name, then score) that know single findings get a column each.
    """
    known = {name: own for name, of in (limits or {}).items() if (own := _of_findings(of, found.findings))}
    source = (
        "the table of true findings"
        if found.true
        else "rule labels of both texts, not a radiologist; present and uncertain count as reported"
    )
    pairs_of_labels = [[int(((ref == one) & (hyp == other)).sum()) for other in LABELS] for one in LABELS]
    names = [list(LABELS.values())[i] for i in range(len(LABELS))]
    heat = heat_map(
        [f"reference {name}" for name in names],
        [f"report {name}" for name in names],
        pairs_of_labels,
        "Labels of all findings of all studies; shaded by the share of the row",
    )
    return Section(
        "Findings",
        [
            _legend(),
            table((*_COLUMNS, *(name.replace("_", " ") for name in known)), _rows(found, groups, known)),
            _other_kinds(found),
            folded("All label pairs", heat),
        ],
        f"How many studies have each finding and what the reports make of it, by {source}. A count is a link to its "
        f"studies. Findings in fewer than {FEW} references are marked few: single studies decide their score.",
    )


_COLUMNS = ("finding", "there", "", "caught", "missed", "invented", "precision", "recall", "F1", "95 %")


def folded(title: str, *parts: object) -> Html:
    """Parts that open on demand."""
    return tag("details", tag("summary", title), *parts)


def link(count: int, kind: str, finding: str = "") -> Html:
    """A count that leads to the studies it counts."""
    if not count:
        return tag("span", "0", class_="soft")
    words = f"the {count} studies: {KINDS[kind]} {in_words(finding)}".strip()
    return tag("a", f"{count:,}", href=f"#errors:{kind}:{finding}", title=words)


def _legend() -> Html:
    keys = [tag("span", tag("i", class_=f"key {kind}"), kind) for kind in ("caught", "missed", "invented")]
    return tag("div", *keys, class_="legend")


def _other_kinds(found: Errors) -> Html:
    parts = [
        tag("span", f"{KINDS[kind]}: ", link(found.count(kind), kind), " studies", class_="count")
        for kind in ("side", "negation", "prior")
    ]
    return paragraph(*parts)


def _of_findings(limit: Mapping[str, float], findings: Sequence[str]) -> dict[str, float]:
    """A limit's value for each finding, of its F1 or of its area under the ROC curve."""
    keys = {f"finding_{score}_{name}": name for name in findings for score in ("f1", "auc")}
    return {keys[key]: value for key, value in limit.items() if key in keys}


def _rows(found: Errors, groups: Clusters, limits: Mapping[str, Mapping[str, float]]) -> list[list[object]]:
    tables = np.stack([found.caught, found.invented, found.missed], axis=2).astype(np.float64)
    sums_of = [groups.sums(tables[:, i]) for i in range(len(found.findings))]
    totals = [tuple(int(total) for total in sums.sum(axis=0)) for sums in sums_of]
    widest = max((sum(total) for total in totals), default=1) or 1
    rows: list[list[object]] = []
    for i in sorted(range(len(totals)), key=lambda i: -(totals[i][0] + totals[i][2])):
        both, alarms, missed = totals[i]
        name, there, reports = found.findings[i], both + missed, both + alarms
        ends = f1_interval(sums_of[i], (0, 1, 2))
        shares = [part / whole if whole else None for part, whole in ((both, reports), (both, there))]
        f1 = 2 * both / (reports + there) if reports + there else None
        links = (link(missed, "missed", name), link(alarms, "invented", name))
        numbers = (number(value) for value in (*shares, f1))
        few = " (few)" if there < FEW else ""
        bar = _bar(both, missed, alarms, widest)
        reached = (number(of[name]) if name in of else "" for of in limits.values())
        cells = [in_words(name), f"{there:,}{few}", bar, f"{both:,}", *links, *numbers, ends_text(ends.ends, ends.why)]
        rows.append([*cells, *reached])
    return rows


def _bar(caught: int, missed: int, invented: int, widest: int) -> Html:
    """Caught filled, missed hollow beside it, invented a thin bar after both."""
    shapes, start = [], 0
    for count, kind, y, height in ((caught, "caught", 4, 12), (missed, "missed", 4, 12), (invented, "invented", 8, 4)):
        if count:
            place = {"x": f"{100 * start / widest:.2f}%", "width": f"{100 * count / widest:.2f}%"}
            bar = tag("rect", tag("title", f"{kind} {count}"), y=y, height=height, class_=kind, **place)
            shapes.append(bar)
        start += count
    return tag("svg", *shapes, height=20, class_="stack", aria_hidden="true")
