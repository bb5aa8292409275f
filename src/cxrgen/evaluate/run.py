"""Score written reports against references: two CSVs with the columns study_id and report.

Writes scores.json, per_study.parquet, per_study.csv and report.html into the output folder and prints a scoreboard.
Every score has a 95 % interval (between patients) and stands beside baselines: the values of a constant normal report,
and of the reports of other patients. report.html holds report texts and images; only you can read it.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxrgen.core.errors import UsageError
from cxrgen.core.files import sha256_file
from cxrgen.core.folders import locked
from cxrgen.core.progress import say
from cxrgen.core.records import Study, read_studies
from cxrgen.evaluate import baselines, metric_options
from cxrgen.evaluate.described import described
from cxrgen.evaluate.intervals import ends_text
from cxrgen.evaluate.page.report import Scored, write_report
from cxrgen.evaluate.page.strata import groups_by, of_group
from cxrgen.evaluate.page.studies import Shown
from cxrgen.evaluate.pairs import Pairs, read_limits, read_pairs, read_reports, read_truth
from cxrgen.evaluate.published import given_published
from cxrgen.evaluate.report_files import column_map
from cxrgen.evaluate.results import document, write_results
from cxrgen.evaluate.scores import ARROWS, Scores, chosen_metrics, evaluate_sets
from cxrgen.evaluate.self_test import as_text, noticed
from cxrgen.evaluate.suites import BOARDS, SUMS, Board, boards_lack, with_sums
from cxrgen.evaluate.verdicts import RULE, against_baseline
from cxrgen.html import number
from cxrgen.metrics import METRICS

_ALLOCATIONS = 1_000_000  # between two searches for cycles of unused objects

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
    inputs = parser.add_argument_group("input")
    inputs.add_argument("--pred", type=Path, metavar="CSV", help="the reports to score; also JSON, JSON lines, Excel")
    inputs.add_argument("--gt", type=Path, metavar="CSV", help="the references")
    inputs.add_argument("--studies", type=Path, metavar="PREPARED", help="prepared set: brings images and patients")
    inputs.add_argument("--truth", type=Path, metavar="CSV", help="table of true findings with a study_id column")
    inputs.add_argument(
        "--baseline",
        "--floor",
        action="append",
        default=[],
        metavar="NAME=CSV",
        help="reports of one more baseline; repeatable",
    )
    inputs.add_argument(
        "--auto-baselines",
        choices=("all", "cheap", "none"),
        default="all",
        help="scores of the baselines normal and shuffled: all (default), those that need no weights, or none",
    )
    inputs.add_argument(
        "--limits", type=Path, metavar="JSON", help='upper limits of scores: {"optimum": {"finding_f1_macro": 1.0}}'
    )
    inputs.add_argument("--show-values", action="store_true", help="messages may show ids and names of columns")
    inputs.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="NAME=COLUMN",
        help='a column of another name: --map report="Generated Report"; also study_id, subject_id; repeatable',
    )
    inputs.add_argument("--by", metavar="COLUMNS", help="comma-separated columns of --gt that make groups of studies")
    inputs.add_argument("--allow-missing", action="store_true", help="score the ids that match, list the others")
    inputs.add_argument(
        "--published", type=Path, metavar="CSV", help="published values (docs/published.csv), for --set and --section"
    )
    inputs.add_argument("--set", metavar="NAME", help="the test set, as --published calls it: mimic-cxr-findings, ...")
    inputs.add_argument("--section", metavar="NAME", help="what the references are, as --published calls it: findings")
    scoring = parser.add_argument_group("scores")
    scoring.add_argument(
        "--metrics",
        metavar="NAMES",
        help=f"comma-separated: metrics ({', '.join(METRICS)}), presets (bleu.sacrebleu), scores (prior_rate), sum, "
        "rexrank (the columns of that leaderboard whose weights are here); default: those that need neither weights "
        "nor Java",
    )
    scoring.add_argument("--seed", type=int, default=0, help="of shuffling and permuting (default 0)")
    scoring.add_argument(
        "--self-test", action="store_true", help="score nothing; show which metric notices which made-up mistake"
    )
    metric_options.add_arguments(parser)
    outputs = parser.add_argument_group("output")
    outputs.add_argument("--out", type=Path, metavar="DIR", help="folder for scores and page")
    outputs.add_argument("--name", metavar="TEXT", help="of the system (default: from the name of --pred)")
    outputs.add_argument("--note", action="append", default=[], metavar="TEXT", help="a remark for page and scores")
    outputs.add_argument(
        "--image-size", type=int, default=Shown.image_size, metavar="N", help="longest side on the page (default 320)"
    )
    outputs.add_argument("--no-images", action="store_true", help="a page without images")
    outputs.add_argument("--hide-text", action="store_true", help="a page without report texts, for sharing")
    outputs.add_argument("--json", action="store_true", help="print scores.json, rows in place of ids")


def run(options: argparse.Namespace) -> int:
    usual = gc.get_threshold()
    gc.set_threshold(_ALLOCATIONS)  # what is kept of 100,000 texts holds no cycles, and to look for them takes its time
    try:
        return _run(options)
    finally:
        gc.set_threshold(*usual)


def _run(options: argparse.Namespace) -> int:
    names = None if options.metrics is None else [name.strip() for name in options.metrics.split(",") if name.strip()]
    chosen = chosen_metrics(names, options.truth is not None)  # a wrong name is reported before files are read
    settings = metric_options.settings(options, chosen)
    if options.seed < 0:
        raise UsageError(f"--seed {options.seed}: give 0 or more")
    if not 16 <= options.image_size <= 4096:
        raise UsageError(f"--image-size {options.image_size}: give 16 to 4096 pixels, or --no-images")
    if options.self_test:
        return _self_test(names, settings, options.json)
    missing = [flag for flag in ("pred", "gt", "out") if getattr(options, flag) is None]
    if missing:
        raise UsageError(f"--{missing[0]} is missing; --pred, --gt and --out are needed")
    lacking = boards_lack(names or (), settings)
    for metric, why in lacking.items():
        say(f"note: left out: {metric}: {why}")
    metrics = [metric for metric in dict.fromkeys([*chosen, *settings]) if metric not in lacking]
    metrics = with_sums(metrics) if names is None else metrics
    if not metrics:
        raise UsageError("--metrics is empty; leave it out for those that need no weights")
    pairs = read_pairs(options.pred, options.gt, options.allow_missing, column_map(options.map), _by(options))
    with locked(options.out, "wait for it, or give another --out"):  # refused before the work, if it has to be
        return _score(options, pairs, names or (), metrics, lacking, settings)


def _score(
    options: argparse.Namespace,
    pairs: Pairs,
    names: Sequence[str],
    metrics: Sequence[str],
    lacking: Mapping[str, str],
    settings: metric_options.Settings,
) -> int:
    studies = _studies(options.studies, pairs) if options.studies else {}
    subjects, patient_note = _subjects(pairs, studies)
    truth = read_truth(options.truth, pairs.study_ids) if options.truth else None
    limits = read_limits(options.limits) if options.limits else {}
    published = given_published(options.published, options.set, options.section)
    by = groups_by(_by(options), pairs.columns, pairs.study_ids, studies)
    notes = (*pairs.notes, *patient_note, *options.note)
    for remark in notes:
        say(f"note: {remark}")
    sets = {"": list(pairs.hypotheses), **_baselines(options, pairs, subjects)}
    scored = evaluate_sets(
        sets,
        pairs.references,
        pairs.study_ids,
        subjects,
        metrics,
        truth=truth,
        settings=settings,
        without_weights=baselines.AUTOMATIC if options.auto_baselines == "cheap" else (),
    )
    scores = baselines.against_baselines(scored.pop(""), scored, options.seed)
    boards = {name: scores.board(name, scored, lacking) for name in BOARDS if name in names}
    content = {**document(scores, scored, pairs.left_out, notes, _inputs(options), boards), "limits": limits}
    if by:
        content["groups"] = {group: of_group(scores, subjects, mask) for group, mask in by.items()}
    page = options.out / "report.html"
    inputs = (pairs, subjects, scores, scored, limits, studies, options.studies, notes)
    add_arguments(parser := argparse.ArgumentParser())
    write_report(page, Scored(*inputs, described(options, parser, studies.values()), _shown(options), by, published))
    write_results(options.out, scores, subjects, content)
    if options.json:
        shown = content if options.show_values else {**content, "left_out": pairs.rows_left_out}
        print(json.dumps(shown, indent=2, sort_keys=True, ensure_ascii=False))
    else:
        print("\n".join([*board_lines(boards), scoreboard(scores, scored, limits)]))
        print(page)
    return 0


def _by(options: argparse.Namespace) -> list[str]:
    return [name.strip() for name in options.by.split(",") if name.strip()] if options.by else []


def _shown(options: argparse.Namespace) -> Shown:
    return Shown(0 if options.no_images else options.image_size, not options.hide_text)


def _self_test(names: list[str] | None, settings: metric_options.Settings, as_json: bool) -> int:
    metrics = chosen_metrics([*chosen_metrics(names, False), *settings], False)
    found = noticed(metrics, settings)
    print(json.dumps({"schema": 1, "noticed": found}, indent=2) if as_json else as_text(found))
    return 0


def scoreboard(
    scores: Scores, of_baselines: Mapping[str, Scores], limits: Mapping[str, Mapping[str, float]] | None = None
) -> str:
    """The scores as plain text: name, arrow, value, interval, best baseline, p, and upper limits where known."""
    shown = {name: score for name, score in scores.metrics.items() if not score.single_finding}
    known = {name: values for name, values in (limits or {}).items() if values.keys() & shown.keys()}
    rows = [["score", "", "value", "95 % interval", "best baseline", "", "p", "verdict", *known]]
    by_baseline = {name: of.metrics for name, of in of_baselines.items()}
    for name, score in shown.items():
        best = baselines.best_baseline(name, score.better, by_baseline)
        compared = [number(best[1].value), best[0]] if best else ["–", ""]
        against = score.against
        compared += [f"{against.p_corrected:.3f}", against_baseline(score, against)] if against else ["–", ""]
        ends = ends_text(score.interval, score.no_interval)
        reached = [number(values[name]) if name in values else "" for values in known.values()]
        rows.append([name, ARROWS[score.better], number(score.value), ends, *compared, *reached])
    lines = aligned_columns(rows, left=(0, 1, 5, 7))
    for name, total in scores.totals(of_baselines).items():
        if total.value is not None:
            beside = "".join(f", {baseline} {number(value)}" for baseline, value in total.baselines.items())
            lines.append(f"{name} {number(total.value)}{beside}: {' + '.join(SUMS[name])}")
    if of_baselines:
        lines.append("p: paired test against the best baseline, corrected for the number of scores")
        lines.append(f"verdict: {RULE[0].lower()}{RULE[1:]}")
    return "\n".join([*lines, f"{scores.n} studies, {scores.patients} patients"])


def board_lines(boards: Mapping[str, Board]) -> list[str]:
    """The rows of leaderboards, each with those of the baselines beneath it."""
    lines: list[str] = []
    for name, row in boards.items():
        named = {"reports": row.values, **row.baselines}
        rows = [[name, *row.values], *([who, *map(number, values.values())] for who, values in named.items())]
        lines += [*aligned_columns(rows, left=(0,)), ""]
    return lines


def aligned_columns(rows: Sequence[Sequence[str]], left: Collection[int]) -> list[str]:
    """Rows of cells as lines; columns whose index is in `left` are aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _baselines(options: argparse.Namespace, pairs: Pairs, subjects: Sequence[str]) -> dict[str, list[str]]:
    """The reports of each baseline by its name: two made from the references, and those given by --baseline."""
    reports = baselines.automatic(pairs.references, subjects, pairs.study_ids, options.seed)
    if options.auto_baselines == "none":
        reports.clear()
    for given in options.baseline:
        name, equals, file = given.partition("=")
        if not (name and equals and file):
            raise UsageError(f"--baseline {given!r}: write it as NAME=FILE.csv")
        if name in reports:
            raise UsageError(f"--baseline {given!r}: the name {name!r} is taken; choose another")
        reports[name] = read_reports(Path(file), pairs.study_ids)
    return reports


def _studies(prepared: Path, pairs: Pairs) -> dict[str, Study]:
    scored = set(pairs.study_ids)
    return {study.study_id: study for study in read_studies(prepared) if study.study_id in scored}


def _subjects(pairs: Pairs, studies: Mapping[str, Study]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The patient of every study, and a remark where patients are unknown."""
    if pairs.subjects is not None:
        return pairs.subjects, ()
    known = [studies[name].subject_id if name in studies else "" for name in pairs.study_ids]
    if all(known):
        return tuple(known), ()
    if not studies:
        return pairs.study_ids, ("every study counts as its own patient; --studies brings the patients",)
    unknown = sum(not name for name in known)
    note = f"{unknown} studies are not in the prepared set; each of them counts as its own patient"
    own = (name if subject == "" else f"patient {subject}" for name, subject in zip(pairs.study_ids, known))
    return tuple(own), (note,)


def _inputs(options: argparse.Namespace) -> dict[str, Any]:
    """Names and hashes of the files that were scored, so that a score can be traced to its texts."""
    files = {"pred": options.pred, "gt": options.gt, "truth": options.truth}
    return {kind: {"file": file.name, "sha256": sha256_file(file)} for kind, file in files.items() if file}
