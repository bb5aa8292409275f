"""What it is worth to leave out the studies whose reports are least sure: the risk-coverage curve.

Predictions that were chosen among samples have a column `confidence`. A report below a threshold is left to people; the
error of the others is measured here at several thresholds. A confidence that knows nothing gives a flat curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cxrgen.evaluate.page.strata import SMALL, Mask, of_group, values_by_group
from cxrgen.evaluate.scores import Scores
from cxrgen.evaluate.suites import headline
from cxrgen.html import Section, line_chart, number, table
from cxrgen.metrics.cards import plain_name

SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)  # of the studies that are kept, about
_FEWEST = 10  # studies that a point of the curve needs


def kept_by_threshold(confidences: Sequence[float], shares: Sequence[float] = SHARES) -> dict[float, Mask]:
    """Threshold to the mask of the studies at least as sure, from all studies downward; equal ones stay together."""
    values = np.asarray(confidences)
    ordered = np.sort(values)[::-1]
    thresholds = [float(ordered[max(0, round(share * len(values)) - 1)]) for share in shares]
    return {threshold: values >= threshold for threshold in sorted(set(thresholds))}


def abstentions(scores: Scores, subjects: Sequence[str], confidences: Sequence[float]) -> list[dict[str, Any]]:
    """For scores.json: at each threshold, how many studies are kept and their scores with intervals."""
    return [
        {"threshold": threshold, "coverage": float(mask.mean()), **of_group(scores, subjects, mask)}
        for threshold, mask in kept_by_threshold(confidences).items()
    ]


def abstention(scores: Scores, subjects: Sequence[str], confidences: Sequence[float] | None) -> Section | None:
    """The panel of the page; None without confidences or scores."""
    names = [name for name in headline(scores.metrics) if scores.metrics[name].better == "higher"]
    if confidences is None or not names or len(confidences) < _FEWEST:
        return None
    rows = []
    for threshold, mask in kept_by_threshold(confidences).items():
        found = values_by_group(scores.measured, subjects, mask)
        few = " (few)" if mask.sum() < SMALL else ""
        kept = f"{mask.sum():,} ({100 * mask.mean():.0f} %){few}"
        rows.append([number(threshold), kept, *(_error_text(*found[name]) for name in names)])
    finer = [share / 20 for share in range(20, 0, -1) if share * len(confidences) >= 20 * _FEWEST]
    curves: dict[str, list[tuple[float, float]]] = {plain_name(name): [] for name in names}
    for mask in kept_by_threshold(confidences, finer).values():
        found = values_by_group(scores.measured, subjects, mask)
        for name in names:
            curves[plain_name(name)].insert(0, (float(mask.mean()), 1 - found[name][0]))
    return Section(
        "Leaving out unsure reports",
        [
            line_chart(curves, "Error (1 less the score) of the studies that are kept", "share of studies kept"),
            table(("confidence from", "studies kept", *(f"error: {plain_name(name)}" for name in names)), rows),
        ],
        "The error of the reports whose confidence is at least the threshold, with 95 % intervals. Lower on the left "
        "of the chart means that the confidence knows which reports are wrong; a flat line, that it does not. A "
        "threshold that is chosen here is measured here too: check it on studies that did not choose it.",
    )


def _error_text(value: float, ends: tuple[float, float] | None) -> str:
    error = number(1 - value)
    return f"{error} [{number(1 - ends[1])}, {number(1 - ends[0])}]" if ends else f"{error} (no interval)"
