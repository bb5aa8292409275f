"""What the reports say about each finding: counts first, then precision, recall and F1 with intervals.

The labels are those of `cxrgen.text.rule_labels`, read from both texts. A finding counts as said when it is stated or
held possible; the heat map keeps the four answers (positive, uncertain, negative, not mentioned) apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cxrgen.evaluate.scores import Scores
from cxrgen.evaluate.statistics import bootstrap_weights, clusters, interval, resampled
from cxrgen.html import Section, heat_map, number, table
from cxrgen.metrics import Floats, Measured
from cxrgen.metrics.clinical.labels import rule_label
from cxrgen.text.chexpert import OBSERVATIONS

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


def said_both(said: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> Measured:
    """Precision, recall and F1 of each column of two (N, F) tables; values are arrays with F as their last axis."""
    counts = np.concatenate([said & wanted, said, wanted], axis=1).astype(np.float64)

    def aggregate(sums: Floats) -> dict[str, Floats]:
        both, reports, references = np.split(sums, 3, axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return {
                "precision": both / reports,
                "recall": both / references,
                "f1": 2 * both / (reports + references),
            }

    return Measured(counts, aggregate, "")


def no_finding(wanted: Labels) -> NDArray[np.bool_]:
    """Which of N texts, by their answers, say nothing positive or uncertain except of devices."""
    columns = [i for i, name in enumerate(OBSERVATIONS) if name not in ("No Finding", "Support Devices")]
    return np.asarray((wanted[:, columns] > 1).all(axis=1))


def per_finding(said: Labels, wanted: Labels, subjects: Sequence[str], scores: Scores) -> Section:
    """The panel of the page, from the answers of the N reports and the N references."""
    rows = _rows(OBSERVATIONS, said <= 1, wanted <= 1, subjects, scores)
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
    names: Sequence[str], said: NDArray[np.bool_], wanted: NDArray[np.bool_], subjects: Sequence[str], scores: Scores
) -> list[list[object]]:
    measured = said_both(said, wanted)
    cluster = clusters(subjects)
    weights = bootstrap_weights(cluster.count, scores.resamples, scores.seed)
    samples = resampled(measured, cluster, weights)["f1"]
    values = measured.aggregate(measured.counts.sum(axis=0))
    both, reports, references = (part.astype(int) for part in np.split(measured.counts.sum(axis=0), 3))
    rows: list[list[object]] = []
    for i in sorted(range(len(names)), key=lambda i: -references[i]):
        ends = interval(samples[:, i])
        few = " (few)" if references[i] < FEW else ""
        rows.append(
            [
                names[i],
                f"{references[i]:,}{few}",
                *(f"{value:,}" for value in (reports[i], both[i], references[i] - both[i], reports[i] - both[i])),
                *(number(float(values[key][i])) for key in ("precision", "recall", "f1")),
                f"{number(ends[0])} to {number(ends[1])}" if ends else "–",
            ]
        )
    return rows
