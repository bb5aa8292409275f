"""How far scores agree with radiologists: Kendall's tau of each score with errors that people counted.

The table has a row for a report, an error category of it, or a reader of it, with the columns study_id and errors; the
columns rater and case are optional. Errors of one report are added over its rows and averaged over its readers. The
published tables of ReXVal and RadEvalExpert are known by their columns; --pairs writes their reports for `cxrgen
evaluate`. Reports of one case (several candidates for one reference) are not independent, so the interval resamples
cases. A tau above 0 means that better values go with fewer errors, whichever way the score runs.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.files import write_json
from cxrgen.core.progress import say
from cxrgen.core.tables import read_csv
from cxrgen.evaluate.agreement import Agreement
from cxrgen.evaluate.error_tables import Columns, counted_errors, write_pairs
from cxrgen.evaluate.results import Results, read_results
from cxrgen.evaluate.scores import loss
from cxrgen.html import number
from cxrgen.metrics import Better, Floats
from cxrgen.metrics.cards import plain_name

_EXAMPLES = """\
examples:
  cxrgen meta errors.csv scores
  cxrgen meta errors.csv scores --errors num_errors --case study_number
  cxrgen meta reader_study.csv --pairs pairs
  cxrgen evaluate --pred pairs/pred.csv --gt pairs/gt.csv --out scores
  cxrgen meta reader_study.csv scores --significant --out agreement.json
"""
_DRAWS = 1_000
_FEWEST = 5  # reports


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("table", type=Path, metavar="TABLE", help="errors that people counted: study_id, errors")
    parser.add_argument(
        "scores", type=Path, nargs="?", metavar="DIR", help="folder of `cxrgen evaluate` for the same reports"
    )
    counts = parser.add_argument_group("which errors, and the reports of a published table")
    counts.add_argument("--significant", action="store_true", help="clinically significant errors alone")
    counts.add_argument("--reports", type=Path, metavar="CSV", help="ReXVal's second file, with the reports")
    counts.add_argument("--pairs", type=Path, metavar="DIR", help="write the reports to score: pred.csv and gt.csv")
    columns = parser.add_argument_group("columns of a table of your own")
    columns.add_argument("--errors", default="errors", metavar="COLUMN", help="the count (default errors)")
    columns.add_argument("--case", default="case", metavar="COLUMN", help="reports that belong together (default case)")
    columns.add_argument("--rater", default="rater", metavar="COLUMN", help="who counted (default rater)")
    outputs = parser.add_argument_group("interval and output")
    outputs.add_argument("--seed", type=int, default=0, help="of resampling (default 0)")
    outputs.add_argument("--out", type=Path, metavar="JSON", help="file for `cxrgen evaluate --agreement`")
    outputs.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    if options.scores is None and options.pairs is None:
        raise UsageError("a score folder is missing; for a published table --pairs DIR writes the reports to score")
    columns = Columns(options.errors, options.case, options.rater)
    reports = read_csv(options.reports) if options.reports else None
    counted = counted_errors(read_csv(options.table), columns, reports, options.significant)
    for remark in counted.notes:
        say(f"note: {remark}")
    if options.pairs:
        print("\n".join(map(str, write_pairs(options.pairs, counted))))
    if options.scores is None:
        return 0
    found = agreements(read_results(options.scores), counted.errors, counted.case_of, options.seed)
    which = "significant" if options.significant else "all"
    signature = f"tau-b|draws:{_DRAWS}|seed:{options.seed}|by case|errors:{which}|layout:{counted.layout}"
    content = {"schema": 1, "signature": signature, "notes": list(counted.notes)}
    content["agreement"] = [asdict(row) for row in found]
    if options.out:
        write_json(options.out, content)
    print(json.dumps(content, indent=2) if options.json else _as_text(found))
    return 0


def agreements(
    results: Results, counted: Mapping[str, float], case_of: Mapping[str, str], seed: int = 0
) -> list[Agreement]:
    """Every score's agreement over the reports that both know, the highest first."""
    kept = [place for place, study in enumerate(results.study_ids) if study in counted]
    if len(kept) < _FEWEST:
        raise InputError(
            f"{len(kept)} reports of the table are in {results.folder}; {_FEWEST} are needed. Study ids must be those "
            "of the table; of a published one --pairs DIR writes them"
        )
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
