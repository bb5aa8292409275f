"""Two systems on the same studies: how far they are apart, and whether chance alone would put them so far.

The test swaps the two systems' reports patient by patient. What a swap does to a score is to turn the sign of the
patient's share of the difference, so one table of random signs serves all scores and all pairs of systems. The shares
are made into t, corrected for skewness, before signs are turned: otherwise few patients with large shares pass for a
difference too often. p values of many scores are corrected together by the largest t of each permutation (Westfall and
Young 1993, step-down), each t in units of its own tail: scores that go together are hardly punished for their number,
as they are by Holm's rule.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from cxrgen.evaluate.defaults import PERMUTATIONS
from cxrgen.evaluate.intervals import (
    FEW_CASES,
    FEW_PATIENTS,
    Estimates,
    Interval,
    estimates,
    gap_interval,
    gap_of_intervals,
)
from cxrgen.evaluate.scores import loss
from cxrgen.evaluate.statistics import Clusters, values_of
from cxrgen.metrics import Better, Floats, MetricResult

_SIGNS_AT_ONCE = 4_000_000  # as floats: 32 MB
_TAIL = 0.99  # quantile of a score's own permutations by which its t is divided before t of all scores are compared
_CURVE = 0.5  # of the correction; Hall's (1992) 1/3 still calls 10 % of equal log-normal pairs of 20 patients unlike


@dataclass(frozen=True)
class Gap:
    """One score of two systems on the same P patients.

    `difference` is the second less the first; of scores that are best at 1 it is that of their distances from 1, so
    that 0.95 and 1.05 do not differ. `shares` (P,) are the patients' parts of the difference, up to a common factor.
    """

    better: Better
    first: float
    second: float
    difference: float
    interval: Interval
    shares: Floats


def gaps(first: MetricResult, second: MetricResult, groups: Clusters, names: Collection[str]) -> dict[str, Gap]:
    """The differences of those of a metric's `names` that are defined for both systems."""
    return gaps_of(estimates(first, groups), estimates(second, groups), names)


def gaps_of(one: Estimates, two: Estimates, names: Collection[str]) -> dict[str, Gap]:
    """The same from what is known of each system already."""
    shares = _shares(one.measured, one.sums, two.sums)
    same = np.array_equal(one.sums, two.sums)
    found: dict[str, Gap] = {}
    for name in names:
        values = (one.values[name], two.values[name])
        if not all(map(math.isfinite, values)):
            continue
        better = one.measured.better(name)
        if same:
            found[name] = Gap(better, *values, 0.0, Interval((0.0, 0.0)), np.zeros(len(one.sums)))
        elif better == "nearer_to_1":
            found[name] = _from_one(name, one, two)
        else:
            gap = values[1] - values[0]
            found[name] = Gap(better, *values, gap, _gap_interval(name, one, two), shares[name])
    return found


def _gap_interval(name: str, one: Estimates, two: Estimates) -> Interval:
    ends, moved = (one.ends[name], two.ends[name]), (one.moved[name], two.moved[name])
    values = (one.values[name], two.values[name])
    if ends[0].ends and ends[1].ends:
        return gap_of_intervals(values, (ends[0].ends, ends[1].ends), moved)
    few = [end for end in ends if end.why in (FEW_CASES, FEW_PATIENTS)]
    return few[0] if few else gap_interval(values[1] - values[0], moved[1] - moved[0])


def _from_one(name: str, one: Estimates, two: Estimates) -> Gap:
    """The difference of two distances from 1.

    Swapping reports cannot test it: where the values lie on both sides of 1, a swap leaves their sum as it is. So the
    patients' own influences on the difference have their signs turned. A value whose interval holds 1 may truly lie on
    either side of it; of all that may be, the difference that is hardest to tell from none counts.
    """
    values, moved = (one.values[name], two.values[name]), (one.moved[name], two.moved[name])
    gap = float(loss(values[1], "nearer_to_1") - loss(values[0], "nearer_to_1"))
    hardest: tuple[float, Interval, Floats] | None = None
    for first in _sides(values[0], one.ends[name]):
        for second in _sides(values[1], two.ends[name]):
            influence = second * moved[1] - first * moved[0]
            share = second * (values[1] - 1) - first * (values[0] - 1) + influence - influence.mean()
            size = float(_size(share[:, None], np.array([len(share)]))[0])
            if hardest is None or size < hardest[0]:
                hardest = (size, gap_interval(gap, influence), share)
    assert hardest is not None
    return Gap("nearer_to_1", *values, gap, hardest[1], hardest[2])


def _sides(value: float, interval: Interval) -> tuple[float, ...]:
    """The sides of 1, as signs, on which a value may truly lie."""
    if interval.ends is not None and interval.ends[0] < 1 < interval.ends[1]:
        return (1.0, -1.0)
    return (math.copysign(1, value - 1),)


def _shares(measured: MetricResult, first: Floats, second: Floats) -> dict[str, Floats]:
    """What each patient's own difference does to a value half way between both systems; a swap turns its sign."""
    middle, step = (first + second).sum(axis=0) / 2, (second - first) / 2
    above, below = values_of(measured, middle + step), values_of(measured, middle - step)
    return {name: np.nan_to_num(above[name] - below[name]) for name in above}


@dataclass(frozen=True)
class PValues:
    """p of each of C differences: alone, corrected within its own pair of systems, corrected over all pairs."""

    alone: Floats
    within: Floats
    over_all: Floats


def p_values(
    shares: Floats, patients: Sequence[int], pairs: Sequence[str], permutations: int = PERMUTATIONS, seed: int = 0
) -> PValues:
    """Permutation tests of C differences from the shares of P patients, shape (P, C).

    A pair of systems may lack some of the patients: their shares are 0 and `patients` says how many there are. `pairs`
    names each difference's pair. p is two-sided, (b + 1) / (permutations + 1) with b permutations at least as far from
    no difference; the one that is added is the arrangement as it is, so p is never 0.
    """
    count, columns = shares.shape
    both = np.concatenate([shares, shares**3], axis=1)
    squares, number = (shares**2).sum(axis=0), np.asarray(patients, dtype=np.float64)
    observed = _size(shares, number)
    random = np.random.default_rng(seed)
    far = np.empty((permutations, columns))
    step = max(1, _SIGNS_AT_ONCE // count)
    for start in range(0, permutations, step):
        rows = min(step, permutations - start)
        bits = np.unpackbits(random.integers(0, 256, size=(rows, -(-count // 8)), dtype=np.uint8), axis=1)[:, :count]
        far[start : start + rows] = _t((2.0 * bits - 1) @ both, squares, number)
    nearly = observed * (1 - 1e-9) - 1e-12  # an arrangement that only rounding sets apart is as far
    alone = ((far >= nearly).sum(axis=0) + 1) / (permutations + 1)
    usual = np.quantile(far, _TAIL, axis=0, method="lower")
    usual = np.where((usual > 0) & np.isfinite(usual), usual, 1.0)
    nearly, far = nearly / usual, far / usual
    within = np.empty(columns)
    for pair in set(pairs):
        own = [place for place, name in enumerate(pairs) if name == pair]
        within[own] = step_down(nearly[own], far[:, own])
    return PValues(alone, within, step_down(nearly, far))


def step_down(observed: Floats, permuted: Floats) -> Floats:
    """p of C statistics (C,) corrected by the largest of B permutations (B, C): Westfall and Young, step-down.

    The largest statistic is compared with the largest of all in each permutation, the next with the largest of the
    others, and so on; a p is never below that of a larger statistic.
    """
    order = np.argsort(-observed, kind="stable")
    largest = np.maximum.accumulate(permuted[:, order[::-1]], axis=1)[:, ::-1]
    p = ((largest >= observed[order]).sum(axis=0) + 1) / (len(permuted) + 1)
    result = np.empty(len(order))
    result[order] = np.maximum.accumulate(p)
    return result


def _size(shares: Floats, number: Floats) -> Floats:
    """`_t` of C differences as they are, from their shares (P, C)."""
    return _t(np.concatenate([shares, shares**3], axis=1).sum(axis=0), (shares**2).sum(axis=0), number)


def _t(sums: Floats, squares: Floats, number: Floats) -> Floats:
    """Size of t corrected for skewness, from sums of shares and of their cubes (..., 2 C); no difference at all is 0.

    The correction is Hall's: a cubic that grows with t, so that the order within one skewness stays.
    """
    mean, cubed = (part / number for part in np.split(sums, 2, axis=-1))
    square = squares / number
    variance = np.maximum(square - mean**2, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = mean / np.sqrt(variance / np.maximum(number - 1, 1))
        skew = (cubed - 3 * mean * square + 2 * mean**3) / variance**1.5 / np.sqrt(number)
        bent = t + _CURVE * skew * t**2 + (_CURVE * skew) ** 2 * t**3 / 3 + skew / 6
    certain = variance <= 1e-12 * square  # every patient has the same share: as far as can be
    return np.where(square == 0, 0.0, np.where(certain, np.inf, np.abs(bent)))
