"""What the reports say about each finding: counts first, then precision, recall and F1 with intervals.

The labels are those of `cxrgen.text.rule_labels`, read from both texts. A finding counts as said when it is stated or
held possible; the heat map keeps the four answers (positive, uncertain, negative, not mentioned) apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cxrgen.evaluate.intervals import ends_text, f1_interval
from cxrgen.evaluate.statistics import Clusters
from cxrgen.metrics.labels import rule_label
from cxrgen.page import Section, heat_map, number, table
from cxrgen.text.rule_labels import OBSERVATIONS

ANSWERS = ("positive", "uncertain", "negative", "not mentioned")
_CODES = {1: 0, -1: 1, 0: 2}  # a label's value to its place in ANSWERS; no label = 3
FEW = 10  # positive studies below which a row is marked

Labels = NDArray[np.int8]


def label_table(texts: Sequence[str]) -> Labels:
    """Places in ANSWERS, shape (N texts, observations)."""
    rows: dict[str, list[int]] = {}
    for text in texts:
        if text not in rows:
            found = rule_label(text)
            rows[text] = [_CODES[found[name]] if name in found else 3 for name in OBSERVATIONS]
    return np.array([rows[text] for text in texts], dtype=np.int8)


def no_finding(wanted: Labels) -> NDArray[np.bool_]:
    """Which of N texts, by their answers, say nothing positive or uncertain except of devices."""
    columns = [i for i, name in enumerate(OBSERVATIONS) if name not in ("No Finding", "Support Devices")]
    return np.asarray((wanted[:, columns] > 1).all(axis=1))


def per_finding(said: Labels, wanted: Labels, groups: Clusters) -> Section:
    """The panel of the page, from the answers of the N reports and the N references."""
    rows = _rows(OBSERVATIONS, said <= 1, wanted <= 1, groups)
    answers = [[int(((wanted == i) & (said == j)).sum()) for j in range(4)] for i in range(4)]
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
                [f"reference {name}" for name in ANSWERS],
                [f"report {name}" for name in ANSWERS],
                answers,
                "Answers to all findings of all studies; shaded by the part of the row",
            ),
        ],
        "How many references and reports state each finding or hold it possible, by rule labels of the texts (not by a "
        f"radiologist). Findings in fewer than {FEW} references are marked few: their scores hang on single studies.",
    )


def _rows(
    names: Sequence[str], said: NDArray[np.bool_], wanted: NDArray[np.bool_], groups: Clusters
) -> list[list[object]]:
    counts = np.stack([said & wanted, said & ~wanted, wanted & ~said]).astype(np.float64)
    rows: list[list[object]] = []
    for i in sorted(range(len(names)), key=lambda i: -int(wanted[:, i].sum())):
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
