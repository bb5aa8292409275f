"""Score written reports against references: two CSVs with the columns study_id and report.

Writes scores.json, per_study.parquet and report.html into the output folder and prints a scoreboard. Every score has a
95 % interval (between patients) and stands beside floors: what a constant normal report, and the reports of other
patients, would get. report.html holds report texts and films: it is readable by you only.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxrgen.errors import UsageError
from cxrgen.evaluate import floors as baselines
from cxrgen.evaluate import weights
from cxrgen.evaluate.intervals import ends_text
from cxrgen.evaluate.pairs import Pairs, read_limits, read_pairs, read_reports, read_truth
from cxrgen.evaluate.report import Scored, write_report
from cxrgen.evaluate.results import document, write_results
from cxrgen.evaluate.scores import ARROWS, SUM_OF, Scores, chosen_metrics, evaluate, is_finer, sum_score
from cxrgen.evaluate.self_test import noticed, shown
from cxrgen.files import make_folder, sha256_file
from cxrgen.page import number
from cxrgen.progress import say
from cxrgen.records import Study, read_studies

_EXAMPLES = """\
examples:
  cxrgen evaluate --pred pred.csv --gt gt.csv --out scores
  cxrgen evaluate --pred pred.csv --gt gt.csv --out scores --studies prepared --truth findings.csv
  cxrgen evaluate --pred pred.csv --gt gt.csv --out scores --chexbert chexbert.pth --encoder distilroberta-base
  cxrgen evaluate --pred pred.csv --gt gt.csv --out scores --floor nearest=nearest.csv --metrics bleu,rouge.radeval
  cxrgen evaluate --self-test
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("--pred", type=Path, metavar="CSV", help="the reports to score")
    parser.add_argument("--gt", type=Path, metavar="CSV", help="the references")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for scores and page")
    parser.add_argument("--studies", type=Path, metavar="PREPARED", help="prepared set: brings films and patients")
    parser.add_argument("--truth", type=Path, metavar="CSV", help="table of true findings with a study_id column")
    parser.add_argument(
        "--floor", action="append", default=[], metavar="NAME=CSV", help="one more floor to stand beside; repeatable"
    )
    parser.add_argument(
        "--metrics",
        metavar="NAMES",
        help="comma-separated: metrics (bleu), presets (bleu.sacrebleu), scores (prior_rate), sum; "
        "default: all that need neither weights nor Java",
    )
    parser.add_argument(
        "--limits", type=Path, metavar="JSON", help='what scores could reach: {"optimum": {"finding_f1_macro": 1.0}}'
    )
    parser.add_argument("--note", action="append", default=[], metavar="TEXT", help="a remark for page and scores")
    weights.add_arguments(parser)
    parser.add_argument("--allow-missing", action="store_true", help="score the ids that match, list the others")
    parser.add_argument("--seed", type=int, default=0, help="of shuffling and permuting (default 0)")
    parser.add_argument("--json", action="store_true", help="print scores.json instead of the scoreboard")
    parser.add_argument(
        "--self-test", action="store_true", help="score nothing; show which metric notices which made-up mistake"
    )


def run(options: argparse.Namespace) -> int:
    names = None if options.metrics is None else [name.strip() for name in options.metrics.split(",") if name.strip()]
    chosen = chosen_metrics(names, options.truth is not None)  # a wrong name is said before files are read
    settings = weights.settings(options, chosen)
    if options.seed < 0:
        raise UsageError(f"--seed {options.seed}: give 0 or more")
    if options.self_test:
        return _self_test(names, settings, options.json)
    absent = [flag for flag in ("pred", "gt", "out") if getattr(options, flag) is None]
    if absent:
        raise UsageError(f"--{absent[0]} is missing; --pred, --gt and --out are needed")
    names = [*chosen, *settings]
    if not names:
        raise UsageError("--metrics names nothing; leave it out to measure all that need no weights")
    pairs = read_pairs(options.pred, options.gt, options.allow_missing)
    studies = _studies(options.studies, pairs) if options.studies else {}
    subjects, patient_note = _subjects(pairs, studies)
    truth = read_truth(options.truth, pairs.study_ids) if options.truth else None
    limits = read_limits(options.limits) if options.limits else {}
    make_folder(options.out)  # a place that cannot be written is said before the work
    notes = (*pairs.notes, *patient_note, *options.note)
    for remark in notes:
        say(f"note: {remark}")
    floors = {
        "normal": baselines.constant_normal(len(pairs.study_ids)),
        "shuffled": baselines.shuffled(pairs.references, subjects, pairs.study_ids, options.seed),
        **_given_floors(options.floor, pairs),
    }
    scored: dict[str, Scores] = {}
    for name, hypotheses in {"": list(pairs.hypotheses), **floors}.items():
        columns = (hypotheses, pairs.references, pairs.study_ids, subjects)
        scored[name] = evaluate(*columns, names, truth=truth, settings=settings)
    scores = baselines.against_baselines(scored.pop(""), scored, options.seed)
    content = {**document(scores, scored, pairs.left_out, notes, _inputs(options)), "limits": limits}
    page = options.out / "report.html"
    write_report(page, Scored(pairs, subjects, scores, scored, limits, studies, options.studies, notes))
    write_results(options.out, scores, subjects, content)
    if options.json:
        print(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False))
    else:
        print(scoreboard(scores, scored, limits))
        print(page)
    return 0


def _self_test(names: list[str] | None, settings: Mapping[str, Mapping[str, Any]], as_json: bool) -> int:
    metrics = chosen_metrics([*chosen_metrics(names, False), *settings], False)
    found = noticed(metrics, settings)
    print(json.dumps({"schema": 1, "noticed": found}, indent=2) if as_json else shown(found))
    return 0


def scoreboard(
    scores: Scores, floors: Mapping[str, Scores], limits: Mapping[str, Mapping[str, float]] | None = None
) -> str:
    """The scores as plain text: name, arrow, value, interval, best floor, p, and what could be reached where known."""
    shown = {name: score for name, score in scores.metrics.items() if not is_finer(name)}
    known = {name: values for name, values in (limits or {}).items() if values.keys() & shown.keys()}
    rows = [["score", "", "value", "95 % interval", "best floor", "", "p", *known]]
    of_floors = {name: of.metrics for name, of in floors.items()}
    for name, score in shown.items():
        best = baselines.best_floor(name, score.direction, of_floors)
        floor = [number(best[1].value), best[0]] if best else ["–", ""]
        floor.append(f"{score.against.p_corrected:.3f}" if score.against else "–")
        ends = ends_text(score.interval, score.no_interval)
        reached = [number(values[name]) if name in values else "" for values in known.values()]
        rows.append([name, ARROWS[score.direction], number(score.value), ends, *floor, *reached])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if place in (0, 1, 5) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append("  ".join(cells).rstrip())
    total, _ = sum_score(scores.metrics)
    if total is not None:
        lines.append(f"sum {number(total)}: {' + '.join(SUM_OF)}")
    if floors:
        lines.append("p: paired test against the best floor, corrected for the number of scores")
    return "\n".join([*lines, f"{scores.n} studies, {scores.patients} patients"])


def _studies(prepared: Path, pairs: Pairs) -> dict[str, Study]:
    wanted = set(pairs.study_ids)
    return {study.study_id: study for study in read_studies(prepared) if study.study_id in wanted}


def _subjects(pairs: Pairs, studies: Mapping[str, Study]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A patient for every study, and a remark where that is not known."""
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


def _given_floors(floors: list[str], pairs: Pairs) -> dict[str, list[str]]:
    result = {}
    for given in floors:
        name, equals, file = given.partition("=")
        if not (name and equals and file):
            raise UsageError(f"--floor {given!r}: write it as NAME=FILE.csv")
        if name in ("normal", "shuffled") or name in result:
            raise UsageError(f"--floor {given!r}: the name {name!r} is taken; choose another")
        result[name] = read_reports(Path(file), pairs.study_ids)
    return result


def _inputs(options: argparse.Namespace) -> dict[str, Any]:
    """Names and hashes of the files that were scored, so that a score can be traced to its texts."""
    files = {"pred": options.pred, "gt": options.gt, "truth": options.truth}
    return {kind: {"file": file.name, "sha256": sha256_file(file)} for kind, file in files.items() if file}
