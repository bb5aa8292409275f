"""Patients, not studies: counts summed by patient, and how far a score moves when one patient is left out.

Two studies of one patient resemble each other; treating them as two makes intervals too narrow, so all uncertainty here
is between patients. It is measured by the jackknife: a score is a function of summed counts, so a score without one
patient costs one more row of the same table. Against the bootstrap this needs no random numbers and no second table of
draws, gives the same interval for every seed, and its third and fourth moments say how far normal quantiles can be
trusted. The price is that it works for smooth scores only: sums, means, ratios and what is made of them, no medians.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from cxrgen.metrics import Floats, MetricResult

NORMAL = NormalDist().inv_cdf(0.975)  # 95 %, two sides
_LEAST_FREEDOM = 5.5  # heavier tails than this cannot be measured with so few patients
_ROWS_AT_ONCE = 20_000  # patients whose sums are turned into scores at a time


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


def values_of(measured: MetricResult, sums: Floats) -> dict[str, Floats]:
    """A metric's values for each of many rows of sums, a part of the rows at a time; undefined ones are NaN."""
    parts = range(0, len(sums), _ROWS_AT_ONCE)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = [measured.aggregate(sums[start : start + _ROWS_AT_ONCE]) for start in parts]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def total_of(measured: MetricResult, sums: Floats) -> dict[str, float]:
    """A metric's values over all rows of sums together."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return {name: float(value) for name, value in measured.aggregate(sums.sum(axis=0)).items()}


def influences(measured: MetricResult, sums: Floats) -> dict[str, Floats]:
    """How each of P patients moves each value: P - 1 times the value less the value without the patient, shape (P,).

    A patient without whom the value is undefined moves nothing.
    """
    whole = total_of(measured, sums)
    without = values_of(measured, sums.sum(axis=0) - sums)
    return {name: (len(sums) - 1) * np.nan_to_num(whole[name] - without[name]) for name in whole}


@dataclass(frozen=True)
class Spread:
    """Standard error of a value, and the quantile of t that goes with it."""

    error: float
    quantile: float


def spread(influence: Floats, share: float = 1.0) -> Spread:
    """The jackknife's standard error from P patients' influences.

    Where a few patients carry most of the spread, the error is itself uncertain and normal quantiles are too small. The
    quantile has `share` of Satterthwaite's degrees of freedom, 2 P / (kurtosis - 1), and never more than P - 1. Half of
    them suit values that most patients add to: a skewed value and its error are then small together.
    """
    patients = len(influence)
    centred = influence - influence.mean()
    variance = float((centred**2).mean())
    if patients < 2 or variance <= 0:
        return Spread(0.0, t_quantile(max(1.0, patients - 1.0)))
    heavy = _kurtosis(float((centred**4).mean()) / variance**2, patients)
    freedom = min(patients - 1.0, max(_LEAST_FREEDOM, share * 2 * patients / max(heavy - 1, 1e-9)))
    return Spread(math.sqrt(variance / (patients - 1)), t_quantile(freedom))


def _kurtosis(sample: float, patients: int) -> float:
    """Kurtosis without the bias of small samples, which cannot show much of it."""
    if patients < 4:
        return sample
    return 3 + (patients - 1) / ((patients - 2) * (patients - 3)) * ((patients + 1) * (sample - 3) + 6)


def t_quantile(freedom: float) -> float:
    """The 97.5 % quantile of Student's t by its expansion in 1 / freedom; within 0.01 from 4 degrees on."""
    z = NORMAL
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))
