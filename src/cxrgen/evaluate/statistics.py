"""Confidence intervals that resample patients, not rows.

A metric is a function of summed counts, so a resample costs one row of a matrix product instead of a second scoring:
`weights @ counts` with `weights` the number of times each patient was drawn. Patients and not studies are drawn because
two studies of one patient resemble each other; drawing them apart makes intervals too narrow. Percentile intervals are
used rather than corrected ones (BCa): they need no second pass and are the field's habit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrgen.metrics import Floats, Measured

RESAMPLES = 1_000


@dataclass(frozen=True)
class Clusters:
    """Which patient each of N studies belongs to: `index` of shape (N,) with values 0 to `count` - 1."""

    index: NDArray[np.intp]
    count: int

    def sums(self, counts: Floats) -> Floats:
        """Counts of shape (N studies, K) summed to (patients, K)."""
        order = np.argsort(self.index, kind="stable")
        starts = np.searchsorted(self.index[order], np.arange(self.count))
        return np.asarray(np.add.reduceat(counts[order], starts, axis=0))


def clusters(subjects: Sequence[str]) -> Clusters:
    """Group studies by patient; patients are ordered by their ids, so the order of the rows does not matter."""
    places = {subject: i for i, subject in enumerate(sorted(set(subjects)))}
    return Clusters(np.array([places[subject] for subject in subjects], dtype=np.intp), len(places))


def bootstrap_weights(patients: int, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """How often each patient is drawn in each resample: shape (resamples, patients), each row sums to `patients`."""
    drawn = np.random.default_rng(seed).integers(0, patients, size=(resamples, patients))
    drawn += np.arange(resamples)[:, None] * patients
    counted = np.bincount(drawn.ravel(), minlength=resamples * patients)
    return counted.reshape(resamples, patients).astype(np.float64)


def resampled(measured: Measured, groups: Clusters, weights: Floats) -> dict[str, Floats]:
    """Each of a metric's values in each resample: name to an array of shape (resamples,)."""
    return measured.aggregate(weights @ groups.sums(measured.counts))


def interval(samples: Floats, level: float = 0.95) -> tuple[float, float] | None:
    """The central `level` of the samples; resamples without a value (no case drawn) are left out. None if all are."""
    finite = samples[np.isfinite(samples)]
    if finite.size == 0:
        return None
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
