"""Agreement on each finding: counts first, then precision, recall and F1 with intervals.

The labels are those of `cxrgen.text.rule_labels`, read from both texts. A finding counts as reported when it is present
or uncertain; the heat map keeps the four labels (positive, uncertain, negative, not mentioned) apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cxrgen.evaluate.intervals import ends_text, f1_interval
from cxrgen.evaluate.statistics import Clusters
from cxrgen.html import Section, heat_map, number, table
from cxrgen.metrics.clinical.labels import ABSENT, BLANK, PRESENT, UNCERTAIN, Labels
from cxrgen.text.chexpert import OBSERVATIONS

LABELS = {PRESENT: "positive", UNCERTAIN: "uncertain", ABSENT: "negative", BLANK: "not mentioned"}
FEW = 10  # positive studies below which a row is marked


def reported(labels: Labels) -> NDArray[np.bool_]:
    """Which findings count as reported."""
    return np.isin(labels, (PRESENT, UNCERTAIN))


def no_finding(labels: Labels) -> NDArray[np.bool_]:
    """Which of N texts have no label that is positive or uncertain, except of devices."""
    columns = [i for i, name in enumerate(OBSERVATIONS) if name not in ("No Finding", "Support Devices")]
    return np.asarray(~reported(labels[:, columns]).any(axis=1))


def per_finding(hyp: Labels, ref: Labels, groups: Clusters) -> Section:
    """The panel of the page, from the labels of the N reports and the N references."""
    rows = _rows(OBSERVATIONS, reported(hyp), reported(ref), groups)
    pairs_of_labels = [[int(((ref == one) & (hyp == other)).sum()) for other in LABELS] for one in LABELS]
    columns = (
        "finding",
        "references",
        "reports",
        "both",
        "missed",
        "false alarms",
        "precision",
        "recall",
        "F1",
        "95 %",
    )
    return Section(
        "Findings",
        [
            table(columns, rows),
            heat_map(
                [f"reference {name}" for name in LABELS.values()],
                [f"report {name}" for name in LABELS.values()],
                pairs_of_labels,
                "Labels of all findings of all studies; shaded by the share of the row",
            ),
        ],
        "How many references and reports have each finding as present or uncertain, by rule labels of the texts, not "
        f"by a radiologist. Findings in fewer than {FEW} references are marked few: single studies decide their score.",
    )


def _rows(names: Sequence[str], hyp: NDArray[np.bool_], ref: NDArray[np.bool_], groups: Clusters) -> list[list[object]]:
    counts = np.stack([hyp & ref, hyp & ~ref, ref & ~hyp]).astype(np.float64)
    rows: list[list[object]] = []
    for i in sorted(range(len(names)), key=lambda i: -int(ref[:, i].sum())):
        sums = groups.sums(counts[:, :, i].T)
        both, alarms, missed = (int(total) for total in sums.sum(axis=0))
        reports, references = both + alarms, both + missed
        ends = f1_interval(sums, (0, 1, 2))
        shares = [part / whole if whole else None for part, whole in ((both, reports), (both, references))]
        f1 = 2 * both / (reports + references) if reports + references else None
        rows.append(
            [
                names[i],
                f"{references:,}{' (few)' if references < FEW else ''}",
                *(f"{value:,}" for value in (reports, both, missed, alarms)),
                *(number(value) for value in (*shares, f1)),
                ends_text(ends.ends, ends.why),
            ]
        )
    return rows
