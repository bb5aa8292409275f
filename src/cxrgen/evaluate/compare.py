"""Compare score folders: is one system better than another, and by how much?

The first folder is the one the others are compared with. Differences are paired: the same patients are resampled in
both, so an interval of a difference is much narrower than two intervals side by side suggest. p is from a permutation
test that swaps the two systems' reports patient by patient, corrected for the number of scores by Holm's rule. No score
is computed again; what `cxrgen evaluate` left in the folders is enough.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cxrgen.core import __version__
from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.files import write_json, write_text
from cxrgen.core.progress import say
from cxrgen.evaluate.results import Results, read_results
from cxrgen.evaluate.scores import ARROWS, loss
from cxrgen.evaluate.statistics import (
    PERMUTATIONS,
    RESAMPLES,
    bootstrap_weights,
    clusters,
    holm,
    interval,
    permutation_p,
    permuted_differences,
    resampled,
)
from cxrgen.html import Bar, Section, note, number, render, table, whisker_chart
from cxrgen.metrics import Better

_EXAMPLES = """\
examples:
  cxrgen compare runs/baseline/scores runs/new/scores
  cxrgen compare scores-a scores-b scores-c --out comparison
"""


@dataclass(frozen=True)
class Difference:
    """One score of two systems on the same studies; `difference` is the second minus the first."""

    name: str
    better: Better
    first: float
    second: float
    difference: float
    ci95: tuple[float, float] | None
    p: float
    p_holm: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folders written by `cxrgen evaluate`")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for compare.html and compare.json")
    parser.add_argument("--all", action="store_true", help="also the scores of single findings")
    parser.add_argument("--permutations", type=int, default=PERMUTATIONS, help="of the test (default 10,000)")
    parser.add_argument("--seed", type=int, default=0, help="of resampling and permuting (default 0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(options: argparse.Namespace) -> int:
    if len(options.folders) < 2:
        raise UsageError("two folders or more are needed; the first is the one the others are compared with")
    if options.seed < 0 or options.permutations < 1:
        raise UsageError("--seed is 0 or more, --permutations 1 or more")
    first, *others = (read_results(folder) for folder in options.folders)
    names = _names([results.folder for results in (first, *others)])
    found: dict[str, list[Difference]] = {}
    notes: list[str] = []
    for name, other in zip(names[1:], others):
        one, two, remarks = aligned(first, other)
        notes += [f"{name}: {remark}" for remark in remarks]
        found[name] = differences(one, two, options.permutations, options.seed, finer=options.all)
    for remark in notes:
        say(f"note: {remark}")
    content = {
        "schema": 1,
        "first": names[0],
        "notes": notes,
        "signature": f"bootstrap:percentile,{RESAMPLES}|permutations:{options.permutations}|seed:{options.seed}",
        "differences": {name: [asdict(row) for row in rows] for name, rows in found.items()},
    }
    print(json.dumps(content, indent=2, ensure_ascii=False) if options.json else _plain(names[0], found))
    if options.out:
        write_json(options.out / "compare.json", content)
        write_text(options.out / "compare.html", _page(names[0], found, notes, str(content["signature"])))
        if not options.json:
            print(options.out / "compare.html")
    return 0


def aligned(first: Results, second: Results) -> tuple[Results, Results, list[str]]:
    """Both on their common studies, and what had to be left out.

    Raises InputError when no study or no metric is common, or a study has different patients.
    """
    theirs = dict(zip(second.study_ids, second.subjects))
    common = [name for name in first.study_ids if name in theirs]
    if not common:
        raise InputError(f"{first.folder} and {second.folder} have no study in common; score the same test set")
    one, two = first.among(common), second.among(common)
    remarks = []
    union = len(set(first.study_ids) | set(second.study_ids))
    if len(common) < union:
        remarks.append(f"compared on the {len(common)} common studies of {union}")
    if one.subjects != two.subjects:
        remarks.append("the folders know different patients; those of the first are used")
    if first.content.get("inputs", {}).get("gt") != second.content.get("inputs", {}).get("gt"):
        remarks.append("scored against different reference files; differences may come from the references")
    return one, two, remarks


def differences(
    first: Results, second: Results, permutations: int = PERMUTATIONS, seed: int = 0, finer: bool = False
) -> list[Difference]:
    """Paired differences of all scores both have with the same signature; `finer` adds those of single findings.

    Raises InputError when there is none.
    """
    groups = clusters(first.subjects)
    weights = bootstrap_weights(groups.count, seed=seed)
    found: list[Difference] = []
    for module in first.measured.keys() & second.measured.keys():
        one, two = first.measured[module], second.measured[module]
        with np.errstate(divide="ignore", invalid="ignore"):
            before, after = (metric.aggregate(metric.counts.sum(axis=0)) for metric in (one, two))
            samples = [resampled(metric, groups, weights) for metric in (one, two)]
            permuted = permuted_differences(one, two, groups, permutations, seed)
        for name in before.keys() & after.keys():
            signatures = {results.content["metrics"].get(name, {}).get("signature") for results in (first, second)}
            if (name in one.single_findings and not finer) or len(signatures) > 1:
                continue
            gap = float(after[name] - before[name])
            if math.isfinite(gap):
                ends = interval(samples[1][name] - samples[0][name])
                p = permutation_p(gap, permuted[name])
                pair = (float(before[name]), float(after[name]))
                found.append(Difference(name, one.better(name), *pair, gap, ends, p, p))
    if not found:
        raise InputError(f"{first.folder} and {second.folder} have no score in common that was defined alike")
    corrected = holm({row.name: row.p for row in found})
    order = {name: i for i, name in enumerate(first.content["metrics"])}
    return [
        Difference(**{**vars(row), "p_holm": corrected[row.name]})
        for row in sorted(found, key=lambda row: (order.get(row.name, len(order)), row.name))
    ]


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell the folders apart."""
    whole = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, whole)) + 1):
        names = ["/".join(parts[-length:]) for parts in whole]
        if len(set(names)) == len(names):
            return names
    raise UsageError("the same folder is named twice; compare different ones")


def _verdict(row: Difference) -> str:
    if row.p_holm >= 0.05:
        return "not told apart"
    return "better" if loss(row.second, row.better) < loss(row.first, row.better) else "worse"


def _cells(row: Difference) -> list[str]:
    ends = f"{number(row.ci95[0])} to {number(row.ci95[1])}" if row.ci95 else "–"
    arrow = ARROWS[row.better]
    values = [number(value) for value in (row.first, row.second, row.difference)]
    return [f"{row.name} {arrow}", *values, ends, f"{row.p:.4f}", f"{row.p_holm:.4f}", _verdict(row)]


_COLUMNS = ("score", "first", "second", "difference", "95 % interval", "p", "p (Holm)", "second is")


def _plain(first: str, found: dict[str, list[Difference]]) -> str:
    lines = []
    for name, rows in found.items():
        lines.append(f"{name} (second) compared with {first} (first)")
        cells = [list(_COLUMNS), *(_cells(row) for row in rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(_COLUMNS))]
        for row in cells:
            middle = [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1])]
            lines.append("  ".join([row[0].ljust(widths[0]), *middle, row[-1]]))
    return "\n".join(lines)


def _page(first: str, found: dict[str, list[Difference]], notes: Sequence[str], signature: str) -> str:
    sections = []
    for name, rows in found.items():
        bars = [Bar(_cells(row)[0], row.difference, row.ci95) for row in rows]
        sections.append(
            Section(
                f"{name} compared with {first}",
                [*(note(remark) for remark in notes if remark.startswith(f"{name}: "))]
                + [
                    whisker_chart(bars, f"{name} minus {first}, 95 % intervals"),
                    table(_COLUMNS, map(_cells, rows), (0, 7)),
                ],
                "Differences are paired over patients. An interval that holds 0, or a corrected p of 0.05 or more, "
                "leaves open which of the two is better.",
            )
        )
    return render("Systems compared", sections, f"{signature} · cxrgen {__version__}")
