"""How often the paired test calls systems different that are not, and finds differences that are there.

Systems that are alike: four reports of each study, from `coverage.py`, are dealt to four systems at random, patient by
patient; three of these are compared with the first. The family error is the share of sets with any p below 0.05 among
all default scores. Power: the same systems undealt, each better than the one before it; the share of all differences
that are found, for p corrected by the largest statistic (Westfall and Young, what `cxrgen compare` prints) and by
Holm's rule.

Skewed scores: two systems of equal mean, 20 patients, values that are log-normal for one system and nearly constant for
the other, so that they cannot be swapped. Straddling 1: two systems whose length ratios are equally far from 1, one
above and one below. Here the share of p below 0.05, uncorrected.

    python benchmarks/paired.py [--quick] [--reports reports.csv]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from coverage import Places, Pool, pool, studies_of, texts_of

from cxrgen.evaluate.paired import PValues, gaps, p_values
from cxrgen.evaluate.statistics import Clusters, total_of
from cxrgen.metrics import Floats, MetricResult

ALPHA = 0.05
SYSTEMS = 4
PERMUTATIONS = 2_000
Pairs = Callable[[np.random.Generator, int], tuple[Floats, Floats]]


def holm(p: Floats) -> Floats:
    """p values corrected for their number by Holm's step-down rule."""
    order = np.argsort(p, kind="stable")
    result = np.empty(len(p))
    result[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return result


def compared(of: Pool, drawn: Places, deal: np.random.Generator | None, seed: int) -> tuple[PValues, list[str]]:
    """The tests of all scores of systems 2 to `SYSTEMS` against the first on the drawn patients; dealt if `deal`."""
    patients = len(drawn)
    studies, groups = studies_of(of, drawn)
    order = np.tile(np.arange(SYSTEMS), (patients, 1))
    if deal is not None:
        order = deal.permuted(order, axis=1)
    shares, pairs = [], []
    for systems in of.measured.values():
        counts = np.stack([system.counts[studies] for system in systems])
        dealt = [counts[order[groups.index, place], np.arange(len(studies))] for place in range(SYSTEMS)]
        own = [replace(systems[0], counts=part) for part in dealt]
        names = [name for name in total_of(own[0], own[0].counts) if not own[0].is_single_finding(name)]
        for place in range(1, SYSTEMS):
            found = gaps(own[0], own[place], groups, names)
            shares += [gap.shares for gap in found.values()]
            pairs += [str(place)] * len(found)
    test = p_values(np.stack(shares, axis=1), [patients] * len(pairs), pairs, PERMUTATIONS, seed)
    return test, pairs


def families(of: Pool, patients: int, sets: int, alike: bool) -> dict[str, float]:
    """Family error where systems are `alike`, else the share of differences found; by way of correction."""
    draw = np.random.default_rng(patients + alike)
    found: dict[str, list[float]] = {}
    for number in range(sets):
        drawn = draw.integers(0, len(of.sizes), size=patients)
        test, pairs = compared(of, drawn, draw if alike else None, number)
        first = np.array([pair == "1" for pair in pairs])
        for name, p in {
            "one pair, largest statistic": test.within[first],
            "one pair, Holm": holm(test.alone[first]),
            "three pairs, largest statistic": test.over_all,
            "three pairs, Holm": holm(test.alone),
        }.items():
            hit = p < ALPHA
            found.setdefault(name, []).append(float(hit.any()) if alike else float(hit.mean()))
    return {name: float(np.mean(shares)) for name, shares in found.items()}


def mean(counts: Floats) -> MetricResult:
    return MetricResult(counts, lambda sums: {"mean": sums[..., 0] / sums[..., 1]}, "mean")


def ratio(counts: Floats) -> MetricResult:
    return MetricResult(
        counts, lambda sums: {"ratio": sums[..., 0] / sums[..., 1]}, "ratio", target_one=frozenset({"ratio"})
    )


def log_normal(spread: float, other: float) -> Pairs:
    """Values of two systems with mean 1, log-normal with these spreads of the logarithm."""

    def draw(random: np.random.Generator, size: int) -> tuple[Floats, Floats]:
        return tuple(random.lognormal(-(sigma**2) / 2, sigma, size) for sigma in (spread, other))  # type: ignore[return-value]

    return draw


def exponential(random: np.random.Generator, size: int) -> tuple[Floats, Floats]:
    return random.exponential(size=size), np.ones(size)


def astride(random: np.random.Generator, size: int) -> tuple[Floats, Floats]:
    """Lengths of two systems against references of 30 words, 5 % too short and 5 % too long."""
    both = random.normal(0, 0.2, size)
    return 0.95 + both + random.normal(0, 0.1, size), 1.05 + both + random.normal(0, 0.1, size)


def false_positives(draw: Pairs, measured: Callable[[Floats], MetricResult], patients: int, sets: int) -> float:
    random = np.random.default_rng(patients)
    groups = Clusters(np.arange(patients), patients)
    hits = 0
    for number in range(sets):
        columns = [np.column_stack([values, np.ones(patients)]) for values in draw(random, patients)]
        first, second = map(measured, columns)
        ((_, gap),) = gaps(first, second, groups, list(total_of(first, columns[0]))).items()
        hits += float(p_values(gap.shares[:, None], [patients], [""], PERMUTATIONS, number).alone[0]) < ALPHA
    return hits / sets


SKEWED: dict[str, tuple[Pairs, Callable[[Floats], MetricResult]]] = {
    "log-normal 0.7 against 0.2": (log_normal(0.7, 0.2), mean),
    "log-normal 1 against 0.3": (log_normal(1.0, 0.3), mean),
    "log-normal 1 against log-normal 1": (log_normal(1.0, 1.0), mean),
    "exponential against constant": (exponential, mean),
    "length ratio 0.95 against 1.05": (astride, ratio),
}


def main() -> None:
    shared = Path(os.environ.get("CXRGEN_SHARED", Path(__file__).parents[2] / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small pool, few sets")
    parser.add_argument("--reports", type=Path, default=shared / "data" / "openi_reports" / "reports.csv")
    options = parser.parse_args()
    of = pool(texts_of(options.reports), 200 if options.quick else 2_000, SYSTEMS)
    sets = 4 if options.quick else 500
    result: dict[str, dict[str, float]] = {}
    for patients in (20,) if options.quick else (20, 100):
        result[f"family error, {patients} patients"] = families(of, patients, sets, alike=True)
        result[f"differences found, {patients} patients"] = families(of, patients, sets // 2, alike=False)
    for patients in (20, 100):
        result[f"false positives, {patients} patients"] = {
            name: false_positives(draw, measured, patients, sets * 2) for name, (draw, measured) in SKEWED.items()
        }
    for title, shares in result.items():
        print(title)
        for name, share in shares.items():
            print(f"    {name:38}{share:.3f}")
    machine = {"python": platform.python_version(), "numpy": np.__version__}
    print(json.dumps({"name": "paired", "parts": result, "machine": machine}))


if __name__ == "__main__":
    main()
