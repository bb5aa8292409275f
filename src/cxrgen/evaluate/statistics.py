"""Confidence intervals and tests that resample patients, not rows.

A metric is a function of summed counts, so a resample costs one row of a matrix product instead of a second scoring:
`weights @ counts` with `weights` the number of times each patient was drawn. Patients and not studies are drawn because
two studies of one patient resemble each other; drawing them apart makes intervals too narrow. Percentile intervals are
used rather than corrected ones (BCa): they need no second pass and are the field's habit. Two systems are compared by
swapping their reports patient by patient, which asks for no assumption about how scores are spread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrgen.metrics import Floats, MetricResult

RESAMPLES = 1_000
PERMUTATIONS = 10_000
_BLOCK = 1_000  # permutations at a time: keeps the table of swaps small
_WEIGHTS_AT_ONCE = 4_000_000  # as floats: 32 MB

Times = NDArray[np.uint16]


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


def bootstrap_weights(patients: int, resamples: int = RESAMPLES, seed: int = 0) -> Times:
    """How often each patient is drawn in each resample: shape (resamples, patients), each row sums to `patients`."""
    random = np.random.default_rng(seed)
    times = np.empty((resamples, patients), dtype=np.uint16)  # of 100,000 patients 200 MB; as floats four times as much
    for row in times:
        row[:] = np.bincount(random.integers(0, patients, size=patients), minlength=patients)
    return times


def resampled(measured: MetricResult, groups: Clusters, weights: Times) -> dict[str, Floats]:
    """Each of a metric's values in each resample: name to an array of shape (resamples,)."""
    sums = groups.sums(measured.counts)
    step = max(1, _WEIGHTS_AT_ONCE // groups.count)
    parts = [weights[start : start + step].astype(np.float64) @ sums for start in range(0, len(weights), step)]
    return measured.aggregate(np.concatenate(parts))


def interval(samples: Floats, level: float = 0.95) -> tuple[float, float] | None:
    """The central `level` of the samples; resamples without a value (no case drawn) are left out. None if all are."""
    finite = samples[np.isfinite(samples)]
    if finite.size == 0:
        return None
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def permuted_differences(
    first: MetricResult, second: MetricResult, groups: Clusters, permutations: int = PERMUTATIONS, seed: int = 0
) -> dict[str, Floats]:
    """Second minus first after swapping the two systems' counts for a random half of the patients, many times over.

    Both measured on the same studies in the same order. Returns name to an array of shape (permutations,).
    """
    random = np.random.default_rng(seed)
    one, two = groups.sums(first.counts), groups.sums(second.counts)
    whole, step = one.sum(axis=0), two - one
    blocks: list[dict[str, Floats]] = []
    for done in range(0, permutations, _BLOCK):
        swaps = random.integers(0, 2, size=(min(_BLOCK, permutations - done), groups.count)).astype(np.float64)
        moved = swaps @ step
        left, right = first.aggregate(whole + moved), second.aggregate(two.sum(axis=0) - moved)
        blocks.append({name: right[name] - left[name] for name in left.keys() & right.keys()})
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def permutation_p(observed: float, permuted: Floats) -> float:
    """Two-sided p: (b + 1) / (n + 1) with b permutations at least as far from zero as what was observed.

    The one that is added is the observed arrangement itself: p is never 0. Undefined permutations count as far.
    """
    far = ~(np.abs(permuted) < abs(observed) - 1e-12)
    return float((far.sum() + 1) / (len(permuted) + 1))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p values corrected for their number by Holm's step-down rule, which bounds the chance of any false alarm."""
    result: dict[str, float] = {}
    worst = 0.0
    for place, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        worst = max(worst, min(1.0, p_values[name] * (len(p_values) - place)))
        result[name] = worst
    return {name: result[name] for name in p_values}
