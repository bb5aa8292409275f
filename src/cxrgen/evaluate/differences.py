"""Paired differences of systems: how far apart, with interval, p and verdict; and how all stand on each score.

p is from a permutation test that swaps two systems' reports patient by patient, corrected for the number of scores and
of pairs compared by the largest statistic of each permutation (Westfall and Young). No score is computed again: the
counts of each study are enough.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cxrgen.core.errors import InputError
from cxrgen.evaluate.defaults import PERMUTATIONS
from cxrgen.evaluate.intervals import Interval, intervals
from cxrgen.evaluate.paired import Gap, gaps, p_values
from cxrgen.evaluate.results import Results
from cxrgen.evaluate.scores import loss
from cxrgen.evaluate.statistics import clusters, total_of
from cxrgen.evaluate.verdicts import OPEN, Verdict, gain, verdict
from cxrgen.metrics import Better


@dataclass(frozen=True)
class Difference:
    """One score of two systems on the same studies; `difference` is the second minus the first.

    Of a score that is best at 1 it is the difference of the distances from 1, and so are its interval and p.
    """

    name: str
    better: Better
    first: float
    second: float
    difference: float
    ci95: tuple[float, float] | None
    p: float
    p_corrected: float  # for the scores of this pair of systems
    p_corrected_all: float  # for the scores of all pairs compared
    no_interval: str = ""  # why there is none

    @property
    def verdict(self) -> Verdict:
        """Whether the second is better."""
        return verdict(self.first, self.second, self.difference, self.ci95, self.p_corrected_all, self.better)

    def entry(self) -> dict[str, Any]:
        """The row of compare.json."""
        return {**asdict(self), "gain": gain(self.difference, self.better), "verdict": self.verdict}


@dataclass(frozen=True)
class Standing:
    """One score over K systems: values and intervals, the place of the best, and those that do not differ from it."""

    name: str
    better: Better
    values: tuple[float, ...]
    intervals: tuple[Interval, ...]
    best: int
    level: frozenset[int]  # with the best itself
    ranks: tuple[int, ...]  # 1 for the best value


def differences(
    pairs: Mapping[str, tuple[Results, Results]],
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    finer: bool = False,
) -> dict[str, list[Difference]]:
    """Paired differences of each pair's scores that both have with the same signature, tested together.

    `finer` adds those of single findings. Raises InputError for a pair that has none in common.
    """
    found = {pair: _gaps(*both, finer) for pair, both in pairs.items()}
    columns = [(pair, name) for pair, of in found.items() for name in of]
    subjects = {pair: sorted(set(first.subjects)) for pair, (first, _) in pairs.items()}
    row_of = {name: i for i, name in enumerate(sorted(set().union(*subjects.values())))}
    shares = np.zeros((len(row_of), len(columns)))
    for column, (pair, name) in enumerate(columns):
        shares[[row_of[subject] for subject in subjects[pair]], column] = found[pair][name].shares
    patients = [len(subjects[pair]) for pair, _ in columns]
    test = p_values(shares, patients, [pair for pair, _ in columns], permutations, seed)
    rows: dict[str, list[Difference]] = {pair: [] for pair in pairs}
    for column, (pair, name) in enumerate(columns):
        gap = found[pair][name]
        values = (gap.better, gap.first, gap.second, gap.difference, gap.interval.ends)
        alone, within, over_all = (float(of[column]) for of in (test.alone, test.within, test.over_all))
        rows[pair].append(Difference(name, *values, alone, within, over_all, gap.interval.why))
    return rows


def _gaps(first: Results, second: Results, finer: bool) -> dict[str, Gap]:
    """The differences of one pair, in the order of the first folder's scores."""
    groups = clusters(first.subjects)
    entries = [results.content["metrics"] for results in (first, second)]
    shown = [name for name in entries[0] if entries[0][name]["signature"] == entries[1].get(name, {}).get("signature")]
    found: dict[str, Gap] = {}
    for metric in first.measured.keys() & second.measured.keys():
        one, two = first.measured[metric], second.measured[metric]
        given = [name for name in one.aggregate(one.counts[:1]) if finer or not one.is_single_finding(name)]
        found |= gaps(one, two, groups, [name for name in shown if name in given])
    if not found:
        raise InputError(f"{first.folder} and {second.folder} have no score in common that was defined alike")
    return {name: found[name] for name in shown if name in found}


def standings(results: Sequence[Results], found: Mapping[tuple[int, int], Sequence[Difference]]) -> list[Standing]:
    """How K systems on the same studies stand on each score that all have; `found` are all pairs' differences."""
    by_pair = {pair: {row.name: row for row in rows} for pair, rows in found.items()}
    common = set.intersection(*(set(rows) for rows in by_pair.values()))
    ends: list[dict[str, Interval]] = [{} for _ in results]
    values: list[dict[str, float]] = [{} for _ in results]
    for place, system in enumerate(results):
        groups = clusters(system.subjects)
        for measured in system.measured.values():
            ends[place] |= intervals(measured, groups)
            values[place] |= total_of(measured, groups.sums(measured.counts))
    standing = []
    for name, row in next(iter(by_pair.values())).items():
        if name in common:
            of = {pair: rows[name].verdict for pair, rows in by_pair.items()}
            own = tuple(of_system[name] for of_system in values)
            standing.append(_standing(name, row.better, own, tuple(each[name] for each in ends), of))
    return standing


def _standing(
    name: str,
    better: Better,
    values: tuple[float, ...],
    ends: tuple[Interval, ...],
    verdicts: Mapping[tuple[int, int], Verdict],
) -> Standing:
    losses = [float(loss(value, better)) if math.isfinite(value) else math.inf for value in values]
    best = min(range(len(values)), key=lambda place: losses[place])
    ranks = tuple(1 + sum(other < own for other in losses) for own in losses)
    level = {place for pair, said in verdicts.items() if best in pair and said == OPEN for place in pair}
    return Standing(name, better, values, ends, best, frozenset(level | {best}), ranks)


def ranking(standing: Sequence[Standing], names: Sequence[str]) -> list[tuple[str, float, int]]:
    """Systems from the best on: name, mean rank over the scores, scores on which it is best or level with the best."""
    rows = [
        (
            name,
            float(np.mean([row.ranks[place] for row in standing])),
            sum(place in row.level for row in standing),
        )
        for place, name in enumerate(names)
    ]
    return sorted(rows, key=lambda row: (row[1], -row[2], row[0]))
