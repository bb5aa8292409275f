"""95 % intervals that hold the true value about as often as they say, or none.

A symmetric interval, and a percentile interval of resamples, miss low scores of small sets: the fewer cases there are,
the more often all of them are wrong by chance. So an interval takes the shape that the score's range asks for:

- F1 of a finding: Wilson's interval of J = hits / (hits + false alarms + misses), turned into F1 = 2 J / (1 + J);
- a mean of such F1: the findings' own distances to their limits, added up as errors are (MOVER);
- any other score within 0 and 1: Wilson's interval with the number of cases that gives the jackknife's standard error;
- a score without an upper limit: symmetric in its logarithm; one that can be negative: symmetric.

Below five cases or five patients there is none, and none where all patients have the same value and the score has no
limits that could bound it. `python benchmarks/coverage.py` prints how often each holds the truth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxrgen.evaluate.statistics import NORMAL, Clusters, Spread, influences, spread, total_of, values_of
from cxrgen.html import number
from cxrgen.metrics import Columns, Floats, MetricResult

FEWEST = 5  # cases, or patients, below which no interval is given
FEW_CASES = f"fewer than {FEWEST} positive cases"
FEW_PATIENTS = f"fewer than {FEWEST} patients"
NO_VALUE = "undefined"
NO_SPREAD = "no spread between patients"
_ROUNDING = 1e-7  # a standard error this small is rounding


@dataclass(frozen=True)
class Interval:
    """`ends` of a 95 % interval, or None and why there is none."""

    ends: tuple[float, float] | None
    why: str = ""


@dataclass(frozen=True)
class Estimates:
    """What P patients say of each of a metric's values: the value, its interval, and how each of them moves it."""

    measured: MetricResult
    sums: Floats  # of the patients, (P, K)
    values: dict[str, float]
    ends: dict[str, Interval]
    moved: dict[str, Floats]  # (P,) each


def intervals(measured: MetricResult, groups: Clusters) -> dict[str, Interval]:
    """The interval of each of a metric's values."""
    return estimates(measured, groups).ends


def estimates(measured: MetricResult, groups: Clusters) -> Estimates:
    """The values of a metric over all studies, with their intervals."""
    sums = groups.sums(measured.counts)
    whole, own = total_of(measured, sums), values_of(measured, sums)
    moved = influences(measured, sums)
    found: dict[str, Interval] = {}
    for name, value in whole.items():
        if not math.isfinite(value):
            found[name] = Interval(None, NO_VALUE)
        elif name in measured.f1:
            columns = measured.f1[name]
            found[name] = f1_interval(sums, columns[0]) if len(columns) == 1 else mean_f1(sums, columns, value)
        else:
            defined = own[name][np.isfinite(own[name])]
            found[name] = _by_range(value, defined, moved[name], name in measured.target_one)
    return Estimates(measured, sums, whole, found, moved)


def ends_text(ends: tuple[float, float] | None, why: str = "") -> str:
    """An interval for people, or the reason that there is none."""
    return f"{number(ends[0])} to {number(ends[1])}" if ends else f"none: {why}" if why else "–"


def wilson(share: float, cases: float, quantile: float = NORMAL) -> tuple[float, float]:
    """Wilson's interval of a share of `cases`, which may be a fraction where cases are not independent."""
    extra = quantile**2 / cases
    middle = (share + extra / 2) / (1 + extra)
    half = math.sqrt(share * (1 - share) * extra + extra**2 / 4) / (1 + extra)
    # The share lies between the ends; at 0 and 1 it is an end, and rounding must not leave it outside.
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def f1_interval(sums: Floats, columns: Columns) -> Interval:
    """The interval of one finding's F1 from the sums of P patients; none below `FEWEST` positive references."""
    hits, alarms, misses = (sums[:, column] for column in columns)
    if hits.sum() + misses.sum() < FEWEST:
        return Interval(None, FEW_CASES)
    return Interval(_f1_ends(hits, hits + alarms + misses))


def mean_f1(sums: Floats, columns: Sequence[Columns], value: float) -> Interval:
    """The interval of the mean F1 of several findings (MOVER, Zou and Donner 2008, with the findings' correlation).

    A finding without a case is left out as the mean leaves it out, or, where the mean counts it as 0, may be anything.
    """
    if np.count_nonzero(sums[:, [column for some in columns for column in some]].any(axis=1)) < FEWEST:
        return Interval(None, FEW_PATIENTS)
    rows = [(sums[:, some[0]], sums[:, some].sum(axis=1)) for some in columns]
    with_cases = [(hits, cases) for hits, cases in rows if cases.sum() > 0]
    each = [_f1(float(hits.sum() / cases.sum())) for hits, cases in with_cases]
    ends = [_f1_ends(hits, cases) for hits, cases in with_cases]
    moved = np.array([hits - hits.sum() / cases.sum() * cases for hits, cases in with_cases])
    lengths = np.sqrt((moved**2).sum(axis=1))
    alike = moved @ moved.T / np.maximum(np.outer(lengths, lengths), 1e-12)
    np.fill_diagonal(alike, 1.0)
    down, up = (np.array([abs(end[side] - f1) for end, f1 in zip(ends, each)]) for side in (0, 1))
    empty = 0 if math.isclose(value, sum(each) / len(each), abs_tol=1e-9) else len(rows) - len(each)
    below = math.sqrt(max(0.0, float(down @ alike @ down))) / (len(each) + empty)
    above = math.sqrt(max(0.0, float(up @ alike @ up)) + empty) / (len(each) + empty)
    return Interval((max(0.0, value - below), min(1.0, value + above)))


def gap_interval(gap: float, influence: Floats) -> Interval:
    """The interval of a difference of two systems from each patient's influence on it, symmetric."""
    return Interval(None, FEW_PATIENTS) if len(influence) < FEWEST else _symmetric(gap, spread(influence))


def gap_of_intervals(
    values: tuple[float, float], ends: tuple[tuple[float, float], tuple[float, float]], moved: tuple[Floats, Floats]
) -> Interval:
    """The interval of the second of two values less the first from their own intervals (MOVER for correlated values).

    `moved` are the patients' influences on both values, which say how far these go together.
    """
    centred = [influence - influence.mean() for influence in moved]
    length = math.sqrt(float((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    alike = float((centred[0] * centred[1]).sum()) / length if length > 0 else 0.0
    (one, two), ((low_one, high_one), (low_two, high_two)) = values, ends

    def joint(first: float, second: float) -> float:
        return math.sqrt(max(0.0, first**2 + second**2 - 2 * alike * first * second))

    gap = two - one
    return Interval((gap - joint(high_one - one, two - low_two), gap + joint(one - low_one, high_two - two)))


def _f1(share: float) -> float:
    return 2 * share / (1 + share)


def _f1_ends(hits: Floats, cases: Floats) -> tuple[float, float]:
    """Ends for F1 from P patients' hits and cases (hits, false alarms and misses together).

    Where patients have several cases each, the cases are divided by the design effect: how much more the hits vary
    between patients than independent cases would.
    """
    total, patients = float(cases.sum()), int(np.count_nonzero(cases))
    share = float(hits.sum()) / total
    if patients == total:  # one case a patient: independent
        low, high = wilson(share, total)
    else:
        moved = hits - share * cases
        effect = float((moved**2).sum()) / (total * share * (1 - share)) if 0 < share < 1 else total / patients
        low, high = wilson(share, total / max(1.0, effect), spread(moved).quantile)
    return _f1(low), _f1(high)


def _by_range(value: float, own: Floats, influence: Floats, ratio: bool) -> Interval:
    """The interval of a value by the range that the patients' `own` values show; `ratio`: 1 is not its limit."""
    if len(own) < FEWEST:
        return Interval(None, FEW_PATIENTS)
    found = spread(influence, 0.5 if len(own) == len(influence) else 1.0)
    within = not ratio and own.min() >= -_ROUNDING and own.max() <= 1 + _ROUNDING
    if within:
        return Interval(_within_unit(min(1.0, max(0.0, value)), own, found))
    if value > 0 and own.min() >= 0 and found.error > _ROUNDING * value:
        factor = math.exp(found.quantile * found.error / value)
        return Interval((value / factor, value * factor))
    return _symmetric(value, found)


def _within_unit(value: float, own: Floats, found: Spread) -> tuple[float, float]:
    """Wilson's interval of a score within 0 and 1."""
    yes_or_no = bool(np.isin(own, (0.0, 1.0)).all()) and math.isclose(value, float(own.mean()), abs_tol=1e-9)
    if yes_or_no or found.error <= _ROUNDING or not 0 < value < 1:
        return wilson(value, len(own))
    return wilson(value, value * (1 - value) / found.error**2, found.quantile)


def _symmetric(value: float, found: Spread) -> Interval:
    if found.error <= _ROUNDING * max(1.0, abs(value)):
        return Interval(None, NO_SPREAD)
    return Interval((value - found.quantile * found.error, value + found.quantile * found.error))
