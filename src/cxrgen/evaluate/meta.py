"""How far scores agree with radiologists: Kendall's tau of each score with errors that people counted.

The table has a row for a report, an error category of it, or a reader of it, with the columns study_id and errors; the
columns rater and case are optional. Errors of one report are added over its rows and averaged over its readers. Reports
of one case (several candidates for one reference) are not independent, so the interval resamples cases. A tau above 0
means that better values go with fewer errors, whichever way the score runs.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cxrgen.core.errors import InputError
from cxrgen.core.tables import CsvTable, find_column, read_csv
from cxrgen.evaluate.results import Results, read_results
from cxrgen.evaluate.scores import loss
from cxrgen.html import number
from cxrgen.metrics import Better, Floats
from cxrgen.metrics.cards import plain_name

_EXAMPLES = """\
examples:
  cxrgen meta errors.csv scores
  cxrgen meta errors.csv scores --errors num_errors --case study_number
"""
_DRAWS = 1_000
_FEWEST = 5  # reports


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b of one score over `n` reports, with its 95 % interval; None where it is undefined."""

    score: str
    tau: float | None
    ci95: tuple[float, float] | None
    n: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("table", type=Path, metavar="TABLE", help="errors that people counted: study_id, errors")
    parser.add_argument("scores", type=Path, metavar="DIR", help="folder of `cxrgen evaluate` for the same reports")
    columns = parser.add_argument_group("columns of the table")
    columns.add_argument("--errors", default="errors", metavar="COLUMN", help="the count (default errors)")
    columns.add_argument("--case", default="case", metavar="COLUMN", help="reports that belong together (default case)")
    columns.add_argument("--rater", default="rater", metavar="COLUMN", help="who counted (default rater)")
    outputs = parser.add_argument_group("interval and output")
    outputs.add_argument("--seed", type=int, default=0, help="of resampling (default 0)")
    outputs.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    counted, case_of = read_errors(read_csv(options.table), options.errors, options.case, options.rater)
    found = agreements(read_results(options.scores), counted, case_of, options.seed)
    if options.json:
        content = {"schema": 1, "signature": f"tau-b|draws:{_DRAWS}|seed:{options.seed}|by case"}
        print(json.dumps({**content, "agreement": [asdict(row) for row in found]}, indent=2))
    else:
        print(_as_text(found))
    return 0


def read_errors(table: CsvTable, errors: str, case: str, rater: str) -> tuple[dict[str, float], dict[str, str]]:
    """Errors of each report, added over its rows and averaged over readers, and its case; the report itself without."""
    name, count = str(find_column(table, "study_id", "id")), str(find_column(table, errors))
    case_column, rater_column = (find_column(table, column, needed=False) for column in (case, rater))
    sums: dict[str, dict[str, float]] = {}
    case_of: dict[str, str] = {}
    for row in table.rows:
        study = row.cells[name].strip()
        try:
            value = float(row.cells[count])
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < 0:
            raise InputError(f"{row.row_ref}: the column {count!r} holds no count of errors")
        reader = row.cells[rater_column].strip() if rater_column else ""
        of = sums.setdefault(study, {})
        of[reader] = of.get(reader, 0.0) + value
        case_of[study] = row.cells[case_column].strip() if case_column else study
    return {study: float(np.mean(list(of.values()))) for study, of in sums.items()}, case_of


def agreements(
    results: Results, counted: Mapping[str, float], case_of: Mapping[str, str], seed: int = 0
) -> list[Agreement]:
    """Every score's agreement over the reports that both know, the highest first."""
    kept = [place for place, study in enumerate(results.study_ids) if study in counted]
    if len(kept) < _FEWEST:
        raise InputError(f"{len(kept)} reports of the table are in {results.folder}; {_FEWEST} are needed")
    ids = [results.study_ids[place] for place in kept]
    errors = np.array([counted[study] for study in ids])
    weights = case_weights([case_of[study] for study in ids], seed)
    found = []
    for measured in results.measured.values():
        for name, values in measured.per_study().items():
            if not measured.is_single_finding(name):
                own = np.broadcast_to(values, len(results.study_ids))[kept]
                found.append(_agreement(name, own, measured.better(name), errors, weights))
    return sorted(found, key=lambda row: (-(row.tau if row.tau is not None else -2), row.score))


def _agreement(name: str, values: Floats, better: Better, errors: Floats, weights: Floats) -> Agreement:
    defined = np.isfinite(values)
    one, two = order_signs(loss(values[defined], better)), order_signs(errors[defined])
    tau = float(weighted_tau(one, two, np.ones((1, int(defined.sum()))))[0])
    if not math.isfinite(tau):
        return Agreement(name, None, None, int(defined.sum()))
    drawn = weighted_tau(one, two, weights[:, defined])
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Agreement(name, tau, (float(low), float(high)), int(defined.sum()))


def order_signs(values: Floats) -> Floats:
    """Which of N values is larger, for every pair: (N, N) of -1, 0 and 1."""
    return np.asarray(np.sign(values[:, None] - values[None, :]))


def weighted_tau(one: Floats, two: Floats, weights: Floats) -> Floats:
    """Kendall's tau-b (D,) from the signs of two orders (N, N) and how often each report counts (D, N)."""

    def pairs(signs: Floats) -> Floats:
        return np.asarray(((weights @ signs) * weights).sum(axis=1))

    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(pairs(one * two) / np.sqrt(pairs(np.abs(one)) * pairs(np.abs(two))))


def case_weights(cases: Sequence[str], seed: int) -> Floats:
    """How often each report is in each of many draws of cases with replacement: (draws, N)."""
    known = sorted(set(cases))
    index = np.array([known.index(case) for case in cases])
    drawn = np.random.default_rng(seed).multinomial(len(known), [1 / len(known)] * len(known), size=_DRAWS)
    return np.asarray(drawn[:, index], dtype=np.float64)


def _as_text(found: Sequence[Agreement]) -> str:
    width = max(len(plain_name(row.score)) for row in found)
    lines = [f"{'score':<{width}}     tau  95 % interval"]
    for row in found:
        ends = f"{number(row.ci95[0])} to {number(row.ci95[1])}" if row.ci95 else "–"
        lines.append(f"{plain_name(row.score):<{width}}  {number(row.tau):>6}  {ends}")
    return "\n".join([*lines, f"{found[0].n} reports; above 0: better values go with fewer errors"])
