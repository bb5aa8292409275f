"""Compare score folders: is one system better than another, and by how much?

The first folder is the one the others are compared with. Differences are paired: the same patients are in both, so an
interval of a difference is much narrower than two intervals side by side suggest. p is from a permutation test that
swaps the two systems' reports patient by patient, corrected for the number of scores and of pairs compared by the
largest statistic of each permutation (Westfall and Young). No score is computed again; what `cxrgen evaluate` left in
the folders is enough.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrgen.core import __version__
from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.files import write_json, write_text
from cxrgen.core.progress import say
from cxrgen.evaluate.intervals import ends_text
from cxrgen.evaluate.paired import PERMUTATIONS, Gap, gaps, p_values
from cxrgen.evaluate.results import Results, read_results
from cxrgen.evaluate.scores import ARROWS
from cxrgen.evaluate.statistics import clusters
from cxrgen.evaluate.verdicts import RULE, Verdict, gain, verdict
from cxrgen.html import Bar, Section, note, number, render, table, whisker_chart
from cxrgen.metrics import Better

_EXAMPLES = """\
examples:
  cxrgen compare runs/baseline/scores runs/new/scores
  cxrgen compare scores-a scores-b scores-c --out comparison
"""


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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folders written by `cxrgen evaluate`")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for compare.html and compare.json")
    parser.add_argument("--all", action="store_true", help="also the scores of single findings")
    parser.add_argument("--permutations", type=int, default=PERMUTATIONS, help="of the test (default 10,000)")
    parser.add_argument("--seed", type=int, default=0, help="of permuting (default 0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(options: argparse.Namespace) -> int:
    if len(options.folders) < 2:
        raise UsageError("two folders or more are needed; the first is the one the others are compared with")
    if options.seed < 0 or options.permutations < 1:
        raise UsageError("--seed is 0 or more, --permutations 1 or more")
    first, *others = (read_results(folder) for folder in options.folders)
    names = _names([results.folder for results in (first, *others)])
    pairs: dict[str, tuple[Results, Results]] = {}
    notes: list[str] = []
    for name, other in zip(names[1:], others):
        one, two, remarks = aligned(first, other)
        notes += [f"{name}: {remark}" for remark in remarks]
        pairs[name] = (one, two)
    found = differences(pairs, options.permutations, options.seed, finer=options.all)
    for remark in notes:
        say(f"note: {remark}")
    content = {
        "schema": 1,
        "first": names[0],
        "notes": notes,
        "signature": f"intervals:mover|p:max-t,permutations:{options.permutations},seed:{options.seed}",
        "differences": {name: [row.entry() for row in rows] for name, rows in found.items()},
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


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell the folders apart."""
    whole = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, whole)) + 1):
        names = ["/".join(parts[-length:]) for parts in whole]
        if len(set(names)) == len(names):
            return names
    raise UsageError("the same folder is named twice; compare different ones")


def _cells(row: Difference) -> list[str]:
    ends = ends_text(row.ci95, row.no_interval)
    arrow = ARROWS[row.better]
    values = [number(value) for value in (row.first, row.second, row.difference)]
    return [
        f"{row.name} {arrow}",
        *values,
        ends,
        *(f"{p:.4f}" for p in (row.p, row.p_corrected, row.p_corrected_all)),
        row.verdict,
    ]


_COLUMNS = ("score", "first", "second", "difference", "95 % interval", "p", "p (scores)", "p (all pairs)", "second is")


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
                    table(_COLUMNS, map(_cells, rows), (0, 8)),
                ],
                "Differences are paired over patients; of scores that are best at 1 they are those of the distances "
                "from 1. p is corrected by the largest statistic of each permutation (Westfall and Young), for the "
                f"scores of these two systems and for those of all pairs compared here. {RULE}",
            )
        )
    return render("Systems compared", sections, f"{signature} · cxrgen {__version__}")
