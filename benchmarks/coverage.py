"""How often 95 % intervals hold the truth: the default scores of made-up test sets, drawn again and again.

A pool of patients with one to four studies each is made of Open-I reports, or of made-up sentences where the table is
not there: a report stands against another that often shares a finding with it, patients differ in how often. The pool
is the truth. Sets of 20, 100 and 1,000 patients are drawn from it and get the intervals that `cxrgen evaluate` prints,
and those of `cxrgen compare` for a second, better system. CIDEr keeps the pool's weights of rare words.

For each score: the share of intervals that hold the truth, the shares that lie above and below it, their mean width
over that of the central 95 % of the values themselves, and the share of sets for which no interval is given.

    python benchmarks/coverage.py [--quick] [--findings] [--metrics bleu,form] [--reports reports.csv]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrgen.core.tables import read_csv
from cxrgen.evaluate.intervals import Interval, intervals
from cxrgen.evaluate.paired import gaps
from cxrgen.evaluate.scores import chosen_metrics
from cxrgen.evaluate.statistics import Clusters, total_of
from cxrgen.metrics import MetricResult, measure
from cxrgen.text.rule_labels import label

DRAWS = {20: 2_000, 100: 1_000, 1_000: 500}  # sets of each number of patients
LEAST = {20: 0.90, 100: 0.93, 1_000: 0.93}
MOST, WIDEST = 0.97, 1.3
ENOUGH = 100  # intervals below which a coverage is not judged
STUDIES = ((1, 2, 3, 4), (0.55, 0.25, 0.12, 0.08))  # of a patient, and how often
DIFFERENCE = "difference of "

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """The systems' counts by metric; the studies of patient i are the rows from `starts[i]` on, `sizes[i]` of them."""

    measured: dict[str, tuple[MetricResult, ...]]
    starts: Places
    sizes: Places


def texts_of(path: Path) -> list[str]:
    """Open-I reports, or made-up ones without the file."""
    if path.is_file():
        return [f"{row.cells['findings']} {row.cells['impression']}" for row in read_csv(path).rows]
    draw = random.Random(0)
    findings = ("opacity", "atelectasis", "effusion", "consolidation", "nodule", "pneumothorax", "edema", "fracture")
    places = ("left lower lobe", "right lower lobe", "left apex", "right middle lobe", "lingula", "both bases")
    forms = ("There is {} in the {}.", "No {} in the {}.", "Stable {}, {}.", "The {} of the {} has improved.")
    usual = [1 / (place + 1) for place in range(len(findings))]

    def sentence() -> str:
        return draw.choice(forms).format(draw.choices(findings, usual)[0], draw.choice(places))

    return [" ".join(sentence() for _ in range(draw.randint(1, 7))) for _ in range(1_000)]


def pool(texts: Sequence[str], patients: int, systems: int = 2, metrics: Sequence[str] | None = None) -> Pool:
    """`patients` patients; each system's reports fit more often than those of the system before it.

    Pairs are measured by the named metrics, or by those that `cxrgen evaluate` takes by default.
    """
    draw = random.Random(1)
    found = [sorted(name for name, value in label(text).items() if value != 0) for text in texts]
    having: dict[str, list[int]] = {}
    for place, names in enumerate(found):
        for name in names:
            having.setdefault(name, []).append(place)

    def like(place: int, chance: float) -> int:
        if found[place] and draw.random() < chance:
            return draw.choice(having[draw.choice(found[place])])
        return draw.randrange(len(texts))

    def written(reference: int, chance: float) -> str:
        place = like(reference, chance)
        return texts[place if texts[place] != texts[reference] else draw.randrange(len(texts))]

    sizes = draw.choices(*STUDIES, k=patients)
    references: list[str] = []
    reports: list[list[str]] = [[] for _ in range(systems)]
    for size in sizes:
        usual, chance = draw.randrange(len(texts)), draw.random()
        for _ in range(size):
            reference = like(usual, 0.6)
            references.append(texts[reference])
            for place, own in enumerate(reports):
                same = place > 0 and draw.random() < 0.3
                own.append(reports[0][-1] if same else written(reference, min(1.0, chance + 0.3 * place)))
    measured = {
        name: tuple(measure(name, own, references) for own in reports) for name in chosen_metrics(metrics, False)
    }
    ends = np.cumsum(sizes)
    return Pool(measured, ends - np.array(sizes), np.array(sizes))


@dataclass
class Row:
    """One score at one number of patients: what was drawn so far."""

    truth: float
    values: list[float]
    ends: list[tuple[float, float]]
    draws: int = 0

    def add(self, value: float, interval: Interval) -> None:
        self.draws += 1
        if interval.ends is not None:
            self.values.append(value)
            self.ends.append(interval.ends)

    def figures(self) -> dict[str, float | int | None]:
        """Coverage, shares above and below the truth, width; None where no interval was given."""
        low, high = np.array(self.ends).reshape(-1, 2).T
        given = len(self.ends)
        own = float(np.ptp(np.quantile(self.values, [0.025, 0.975]))) if given else 0.0
        shares = {
            "coverage": ((low <= self.truth) & (self.truth <= high)),
            "above": low > self.truth,
            "below": high < self.truth,
        }
        return {
            "truth": self.truth,
            "given": given,
            **{name: float(flags.mean()) if given else None for name, flags in shares.items()},
            "width": float((high - low).mean()) / own if own > 0 else None,
            "none": 1 - given / self.draws,
        }


def studies_of(of: Pool, drawn: Places) -> tuple[Places, Clusters]:
    """The rows of the drawn patients' studies, and whose they are; a patient drawn twice is two patients."""
    rows = np.concatenate([np.arange(of.starts[i], of.starts[i] + of.sizes[i]) for i in drawn])
    return rows, Clusters(np.repeat(np.arange(len(drawn)), of.sizes[drawn]), len(drawn))


def simulate(of: Pool, patients: int, draws: int, findings: bool) -> dict[str, Row]:
    """Draw sets of `patients` patients `draws` times and collect every score's interval."""
    rows: dict[str, Row] = {}
    draw = np.random.default_rng(patients)
    truth_of = {name: [total_of(measured, measured.counts) for measured in both] for name, both in of.measured.items()}
    for _ in range(draws):
        studies, groups = studies_of(of, draw.integers(0, len(of.sizes), size=patients))
        for metric, both in of.measured.items():
            one, two = (replace(measured, counts=measured.counts[studies]) for measured in both)
            truths = truth_of[metric]
            values, ends = total_of(one, one.counts), intervals(one, groups)
            names = [name for name in values if findings or not one.is_single_finding(name)]
            between = gaps(one, two, groups, names)
            for name in names:
                truth = truths[0][name]
                rows.setdefault(name, Row(truth, [], [])).add(values[name], ends[name])
                gap = between.get(name)
                if gap is not None:
                    far = [abs(of_one[name] - 1) if gap.better == "nearer_to_1" else of_one[name] for of_one in truths]
                    row = rows.setdefault(DIFFERENCE + name, Row(far[1] - far[0], [], []))
                    row.add(gap.difference, gap.interval)
    return rows


def outside(name: str, figures: dict[str, float | int | None], patients: int) -> bool:
    """Whether a score misses the goal; differences, and scores with too few intervals, are not judged."""
    coverage, width, given = (figures[key] for key in ("coverage", "width", "given"))
    if name.startswith(DIFFERENCE) or coverage is None or width is None or (given or 0) < ENOUGH:
        return False
    most = 1.0 if patients < 100 else MOST
    return not LEAST[patients] <= coverage <= most or width > WIDEST


def lines(patients: int, found: dict[str, dict[str, float | int | None]]) -> Iterable[str]:
    """The table for people."""
    yield f"{patients:>5} patients {'':35} truth  coverage   above   below   width  no interval"
    for name, figures in found.items():
        cells = [
            f"{'–' if value is None else f'{value:.3f}':>8}"
            for value in (figures[key] for key in ("truth", "coverage", "above", "below", "width", "none"))
        ]
        yield f"{name:47}{' '.join(cells)}{'  outside' if outside(name, figures, patients) else ''}"


def main() -> None:
    shared = Path(os.environ.get("CXRGEN_SHARED", Path(__file__).parents[2] / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small pool, few sets of 20 and 100 patients")
    parser.add_argument("--findings", action="store_true", help="the scores of single findings too")
    parser.add_argument("--reports", type=Path, default=shared / "data" / "openi_reports" / "reports.csv")
    parser.add_argument("--metrics", metavar="NAMES", help="comma-separated; default: all that need no weights")
    options = parser.parse_args()
    metrics = options.metrics.split(",") if options.metrics else None
    of = pool(texts_of(options.reports), 200 if options.quick else 2_000, metrics=metrics)
    result: dict[str, dict[str, dict[str, float | int | None]]] = {}
    for patients, draws in ({20: 20, 100: 10} if options.quick else DRAWS).items():
        rows = simulate(of, patients, draws, options.findings)
        found = {name: rows[name].figures() for name in sorted(rows, key=lambda name: name.startswith(DIFFERENCE))}
        result[str(patients)] = found
        print("\n".join(lines(patients, found)), flush=True)
    missed = [
        f"{name}, {patients}"
        for patients, found in result.items()
        for name, figures in found.items()
        if outside(name, figures, int(patients))
    ]
    machine = {"python": platform.python_version(), "numpy": np.__version__}
    print(json.dumps({"name": "coverage", "outside": missed, "parts": result, "machine": machine}))


if __name__ == "__main__":
    main()
