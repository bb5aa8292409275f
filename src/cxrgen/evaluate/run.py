"""Score written reports against references: two CSVs with the columns study_id and report.

Writes scores.json, per_study.parquet, per_study.csv and report.html into the output folder and prints a scoreboard.
Every score has a 95 % interval (between patients) and stands beside baselines: the values of a constant normal report,
and of the reports of other patients. report.html holds report texts and images; only you can read it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cxrgen.evaluate import metric_options
from cxrgen.evaluate.defaults import FORMATS, IMAGE_SIZE
from cxrgen.metrics import METRICS

_EXAMPLES = """\
examples:
  cxrgen evaluate --pred pred.csv --gt gt.csv --out scores
  cxrgen evaluate --pred pred.csv --gt gt.csv --out scores --studies prepared --truth findings.csv
  cxrgen evaluate --pred pred.csv --gt gt.csv --out scores --chexbert chexbert.pth --encoder distilroberta-base
  cxrgen evaluate --pred pred.csv --gt gt.csv --out scores --baseline nearest=nearest.csv --metrics bleu,rouge.radeval
  cxrgen evaluate --pred pred.csv --gt gt.csv --out scores --metrics green --radeval PYTHON --cache kept
  cxrgen evaluate --self-test
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    _add_inputs(parser.add_argument_group("input"))
    _add_scores(parser.add_argument_group("scores"))
    metric_options.add_arguments(parser)
    _add_outputs(parser.add_argument_group("output"))


def _add_inputs(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--pred", type=Path, metavar="CSV", help="the reports to score; also JSON, JSON lines, Excel")
    group.add_argument(
        "--gt", type=Path, metavar="CSV", help="the references; further ones of a study in report_2, report_3"
    )
    group.add_argument("--studies", type=Path, metavar="PREPARED", help="prepared set: brings images and patients")
    group.add_argument("--truth", type=Path, metavar="CSV", help="table of true findings with a study_id column")
    group.add_argument(
        "--baseline",
        "--floor",
        action="append",
        default=[],
        metavar="NAME=CSV",
        help="reports of one more baseline; repeatable",
    )
    group.add_argument(
        "--auto-baselines",
        choices=("all", "cheap", "none"),
        default="all",
        help="scores of the baselines normal and shuffled: all (default), those that need no weights, or none",
    )
    group.add_argument(
        "--limits", type=Path, metavar="JSON", help='upper limits of scores: {"optimum": {"finding_f1_macro": 1.0}}'
    )
    group.add_argument("--show-values", action="store_true", help="messages may show ids and names of columns")
    group.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="NAME=COLUMN",
        help='a column of another name: --map report="Generated Report"; also study_id, subject_id, report_2',
    )
    group.add_argument(
        "--format", choices=FORMATS, default="auto", help="of --pred and --gt: auto (by name and content), or rexrank"
    )
    group.add_argument("--by", metavar="COLUMNS", help="comma-separated columns of --gt that make groups of studies")
    group.add_argument("--by-table", type=Path, metavar="CSV", help="table with study_id and the columns of --by")
    group.add_argument("--allow-missing", action="store_true", help="score the ids that match, list the others")
    group.add_argument(
        "--published", type=Path, metavar="CSV", help="published values (docs/published.csv), for --set and --section"
    )
    group.add_argument(
        "--agreement", type=Path, metavar="JSON", help="what `cxrgen meta --out` wrote, shown beside each score"
    )
    group.add_argument("--set", metavar="NAME", help="the test set, as --published calls it: mimic-cxr-findings, ...")
    group.add_argument("--section", metavar="NAME", help="what the references are, as --published calls it: findings")


def _add_scores(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--metrics",
        metavar="NAMES",
        help=f"comma-separated: metrics ({', '.join(METRICS)}), presets (bleu.sacrebleu), scores (prior_rate), sum, "
        "rexrank (the columns of that leaderboard whose weights are here); default: those that need neither weights "
        "nor Java",
    )
    group.add_argument("--seed", type=int, default=0, help="of shuffling and permuting (default 0)")
    group.add_argument(
        "--self-test", action="store_true", help="score nothing; show which metric notices which made-up mistake"
    )


def _add_outputs(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--out", type=Path, metavar="DIR", help="folder for scores and page")
    group.add_argument("--name", metavar="TEXT", help="of the system (default: from the name of --pred)")
    group.add_argument("--note", action="append", default=[], metavar="TEXT", help="a remark for page and scores")
    group.add_argument(
        "--link",
        action="append",
        default=[],
        metavar="NAME=PAGE",
        help="another page that the head of report.html links: --link comparison=compare/compare.html; repeatable",
    )
    group.add_argument(
        "--image-size", type=int, default=IMAGE_SIZE, metavar="N", help="longest side on the page (default 320)"
    )
    group.add_argument("--no-images", action="store_true", help="a page without images")
    group.add_argument("--hide-text", action="store_true", help="a page without report texts, for sharing")
    group.add_argument("--json", action="store_true", help="print scores.json, rows in place of ids")


def run(options: argparse.Namespace) -> int:
    from cxrgen.evaluate.pipeline import evaluate_files  # what scoring needs is imported when there is work

    add_arguments(parser := argparse.ArgumentParser())
    return evaluate_files(options, parser)
