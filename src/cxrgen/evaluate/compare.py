"""Compare systems: which is best on each score, and which of them do not differ from it?

Systems are score folders of `cxrgen evaluate`, or tables of reports that are scored on the spot (--gt). Differences are
paired: the same patients are in both, so an interval of a difference is much narrower than two intervals side by side
suggest. p is from a permutation test that swaps two systems' reports patient by patient, corrected for the number of
scores and of pairs. The first system is the one the others are compared with; --all-pairs shows every pair.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cxrgen.core.errors import UsageError
from cxrgen.evaluate.defaults import PERMUTATIONS, TABLE_FORMATS

_EXAMPLES = """\
examples:
  cxrgen compare runs/baseline/scores runs/new/scores
  cxrgen compare old=scores-a new=scores-b newer=scores-c --all-pairs --out comparison
  cxrgen compare --gt gt.csv a.csv b.csv --format latex
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "systems", nargs="+", metavar="[NAME=]DIR", help="folders written by `cxrgen evaluate`; with --gt also CSVs"
    )
    inputs = parser.add_argument_group("input")
    inputs.add_argument("--gt", type=Path, metavar="CSV", help="the references of systems given as CSVs")
    inputs.add_argument("--metrics", metavar="NAMES", help="comma-separated, for systems given as CSVs")
    inputs.add_argument("--studies", type=Path, metavar="PREPARED", help="prepared set: brings images and groups")
    shown = parser.add_argument_group("what is compared")
    shown.add_argument("--all", action="store_true", help="also the scores of single findings")
    shown.add_argument("--all-pairs", action="store_true", help="every pair of systems, not those with the first")
    test = parser.add_argument_group("the test")
    test.add_argument("--permutations", type=int, default=PERMUTATIONS, help="of the test (default 10,000)")
    test.add_argument("--seed", type=int, default=0, help="of permuting (default 0)")
    outputs = parser.add_argument_group("output")
    outputs.add_argument("--out", type=Path, metavar="DIR", help="folder for the page, the table and compare.json")
    outputs.add_argument("--format", choices=TABLE_FORMATS, default="text", help="of the printed table (default text)")
    outputs.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(options: argparse.Namespace) -> int:
    if len(options.systems) < 2:
        raise UsageError("two systems or more are needed; the first is the one the others are compared with")
    if options.seed < 0 or options.permutations < 1:
        raise UsageError("--seed is 0 or more, --permutations 1 or more")
    from cxrgen.evaluate.comparison import compare_systems  # what comparing needs is imported when there is work

    return compare_systems(options)
