"""Choose one report of each study from several: from predictions.jsonl files to pred.csv.

The files are written by `cxrgen generate --samples N`; several of them, of several checkpoints or orders of views, are
put together study by study. `consensus` keeps the report that agrees most with all others of its study, by --utility;
`likeliest` the one whose tokens the model finds most probable. Column `confidence` is that mean agreement, or that mean
probability of a token; with --min-confidence less sure studies are left out of pred.csv and listed beside it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cxrgen.core.candidates import DEFAULT_UTILITY, UTILITY_HELP, WAYS, Chosen, pooled, write_chosen
from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.files import write_csv
from cxrgen.core.progress import say
from cxrgen.evaluate import metric_options
from cxrgen.metrics import load

_EXAMPLES = """examples:
  cxrgen choose runs/a/predictions.jsonl --out pred.csv
  cxrgen choose runs/a/predictions.jsonl runs/b/predictions.jsonl --utility rule+rouge_l --out pred.csv
  cxrgen choose predictions.jsonl --utility bertscore --encoder distilroberta-base --out pred.csv
  cxrgen choose predictions.jsonl --min-confidence 0.6 --out pred.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("files", type=Path, nargs="+", metavar="JSONL", help="predictions.jsonl, one or several")
    parser.add_argument("--out", required=True, type=Path, metavar="CSV", help="the reports that are chosen")
    parser.add_argument("--choose", choices=WAYS, default=WAYS[0], help=f"how (default: {WAYS[0]})")
    parser.add_argument("--utility", metavar="MIX", help=f"of consensus: {UTILITY_HELP}")
    parser.add_argument("--min-confidence", type=float, metavar="T", help="leave out studies that are less sure")
    parser.add_argument("--show-values", action="store_true", help="messages may show ids")
    metric_options.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    from cxrgen.metrics.consensus import choose, read_utility

    if options.utility and options.choose != "consensus":
        raise UsageError(f"--utility is for --choose consensus, not for {options.choose}")
    utility = read_utility(options.utility or DEFAULT_UTILITY)
    settings = metric_options.settings(options, utility.metrics)
    for metric in utility.metrics:
        if missing := load(metric).lacks(settings.get(metric, {})):
            raise InputError(missing)
    chosen = choose(pooled(options.files), options.choose, replace(utility, settings=settings))
    kept = [each for each in chosen if options.min_confidence is None or each.confidence >= options.min_confidence]
    if not kept:
        highest = max(each.confidence for each in chosen)
        raise UsageError(
            f"--min-confidence {options.min_confidence}: no study is as sure; the highest is {highest:.4f}"
        )
    write_chosen(options.out, kept)
    if options.min_confidence is not None:
        _list_left_out(options.out, [each for each in chosen if each not in kept])
    print(options.out)
    return 0


def _list_left_out(out: Path, studies: Sequence[Chosen]) -> None:
    """`pred.csv.unsure.csv`: the studies that are left out, without their reports."""
    path = out.with_name(f"{out.name}.unsure.csv")
    write_csv(path, ("study_id", "confidence"), [(each.study_id, f"{each.confidence:.4f}") for each in studies], True)
    say(f"{len(studies)} studies are less sure and left out, all listed in {path}")
