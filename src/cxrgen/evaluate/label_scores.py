"""How well numbers tell which images have a label: area under the ROC curve and F1, each with its 95 % interval.

Between patients, as all intervals here: the area's standard error is DeLong's with each patient's images summed up
(Obuchowski 1997), and its interval is Wilson's with the number of cases that gives this error, so it stays within 0 and
1. F1 needs a threshold, and a small validation part cannot choose one: as many images are called positive as have the
label in training. What is unknown (-1) counts in neither.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrgen.evaluate.intervals import FEW_CASES, FEW_PATIENTS, FEWEST, Interval, ends_text, f1_interval, wilson
from cxrgen.evaluate.statistics import clusters, spread
from cxrgen.html import number
from cxrgen.metrics import Floats

COLUMNS = ("label", "images", "with it", "AUC", "95 % interval", "F1", "95 % interval")


@dataclass(frozen=True)
class LabelScore:
    """One label: how many images are known and how many have it; NaN where there is nothing to tell apart."""

    name: str
    known: int
    present: int
    auc: float
    auc_interval: Interval
    f1: float
    f1_interval: Interval

    def cells(self) -> tuple[str, ...]:
        """The row under `COLUMNS`."""
        area, f1 = ends_text(self.auc_interval.ends), ends_text(self.f1_interval.ends)
        return (self.name, f"{self.known:,}", f"{self.present:,}", number(self.auc), area, number(self.f1), f1)

    def record(self) -> dict[str, Any]:
        """For JSON; None where there is no number."""
        values = {name: value if math.isfinite(value) else None for name, value in (("auc", self.auc), ("f1", self.f1))}
        ends = {"auc_ci95": self.auc_interval.ends, "f1_ci95": self.f1_interval.ends}
        return {"label": self.name, "images": self.known, "present": self.present, **values, **ends}


def label_scores(
    names: Sequence[str], truth: NDArray[Any], outputs: NDArray[Any], shares: Sequence[float], subjects: Sequence[str]
) -> list[LabelScore]:
    """Scores of L labels from truth (N, L) of 1, 0 or -1, outputs (N, L), larger for present, and the labels' shares.

    `shares` are those of the training images; `subjects` are the patients of the N images.
    """
    found = []
    for column, name in enumerate(names):
        known = truth[:, column] >= 0
        has, given = truth[known, column] == 1, np.asarray(outputs[known, column], dtype=np.float64)
        patients = [subject for subject, keep in zip(subjects, known) if keep]
        area, interval = area_under_curve(has, given, patients)
        called = np.zeros(len(given), dtype=bool)
        called[np.argsort(-given, kind="stable")[: round(shares[column] * len(given))]] = True
        f1, f1_ends = _f1(has, called, patients)
        found.append(LabelScore(name, int(known.sum()), int(has.sum()), area, interval, f1, f1_ends))
    return found


def area_under_curve(has: NDArray[Any], outputs: Floats, subjects: Sequence[str]) -> tuple[float, Interval]:
    """The area and its interval; ties count half. NaN where all images have the label, or none has."""
    with_it, without = outputs[has], outputs[~has]
    if not len(with_it) or not len(without):
        return math.nan, Interval(None, FEW_CASES)
    above = _shares_below(with_it, without)  # of each image with it: the share of those without that lie below
    below = 1 - _shares_below(without, with_it)
    area = float(above.mean())
    moved = np.zeros(len(outputs))
    moved[has], moved[~has] = (above - area) / len(with_it), (below - area) / len(without)
    groups = clusters(subjects)
    if min(len(with_it), len(without)) < FEWEST:
        return area, Interval(None, FEW_CASES)
    if groups.count < FEWEST:
        return area, Interval(None, FEW_PATIENTS)
    of_patients = spread(groups.sums(moved[:, None])[:, 0] * groups.count)
    if of_patients.error <= 0 or not 0 < area < 1:
        return area, Interval(wilson(area, min(len(with_it), len(without))))
    return area, Interval(wilson(area, area * (1 - area) / of_patients.error**2, of_patients.quantile))


def _shares_below(some: Floats, others: Floats) -> Floats:
    """Of each of `some`, the share of `others` that are smaller; equal ones count half."""
    ordered = np.sort(others)
    sides = np.searchsorted(ordered, some, "left") + np.searchsorted(ordered, some, "right")
    return np.asarray(sides / (2 * len(others)), dtype=np.float64)


def _f1(has: NDArray[Any], called: NDArray[Any], subjects: Sequence[str]) -> tuple[float, Interval]:
    counts = np.stack([has & called, ~has & called, has & ~called], axis=1).astype(np.float64)
    hits, alarms, misses = counts.sum(axis=0)
    cases = 2 * hits + alarms + misses
    if not cases:
        return math.nan, Interval(None, FEW_CASES)
    return float(2 * hits / cases), f1_interval(clusters(subjects).sums(counts), (0, 1, 2))
