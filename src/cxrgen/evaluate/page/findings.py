"""Agreement on each finding: counts first, then precision, recall and F1 with intervals.

The labels are those of `cxrgen.text.rule_labels`, read from both texts. A finding counts as reported when it is present
or uncertain; the heat map keeps the four labels (positive, uncertain, negative, not mentioned) apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cxrgen.evaluate.scores import Scores
from cxrgen.evaluate.statistics import bootstrap_weights, clusters, interval, resampled
from cxrgen.html import Section, heat_map, number, table
from cxrgen.metrics import Floats, MetricResult
from cxrgen.metrics.clinical.labels import ABSENT, BLANK, PRESENT, UNCERTAIN, Labels
from cxrgen.text.chexpert import OBSERVATIONS

LABELS = {PRESENT: "positive", UNCERTAIN: "uncertain", ABSENT: "negative", BLANK: "not mentioned"}
FEW = 10  # positive studies below which a row is marked


def agreement(hyp: NDArray[np.bool_], ref: NDArray[np.bool_]) -> MetricResult:
    """Precision, recall and F1 of each column of two (N, F) tables; values are arrays with F as their last axis."""
    counts = np.concatenate([hyp & ref, hyp, ref], axis=1).astype(np.float64)

    def aggregate(sums: Floats) -> dict[str, Floats]:
        both, reports, references = np.split(sums, 3, axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return {
                "precision": both / reports,
                "recall": both / references,
                "f1": 2 * both / (reports + references),
            }

    return MetricResult(counts, aggregate, "")


def reported(labels: Labels) -> NDArray[np.bool_]:
    """Which findings count as reported."""
    return np.isin(labels, (PRESENT, UNCERTAIN))


def no_finding(labels: Labels) -> NDArray[np.bool_]:
    """Which of N texts have no label that is positive or uncertain, except of devices."""
    columns = [i for i, name in enumerate(OBSERVATIONS) if name not in ("No Finding", "Support Devices")]
    return np.asarray(~reported(labels[:, columns]).any(axis=1))


def per_finding(hyp: Labels, ref: Labels, subjects: Sequence[str], scores: Scores) -> Section:
    """The panel of the page, from the labels of the N reports and the N references."""
    rows = _rows(OBSERVATIONS, reported(hyp), reported(ref), subjects, scores)
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


def _rows(
    names: Sequence[str], hyp: NDArray[np.bool_], ref: NDArray[np.bool_], subjects: Sequence[str], scores: Scores
) -> list[list[object]]:
    measured = agreement(hyp, ref)
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
