"""What `cxrgen evaluate` does: read pairs, score reports and baselines, write scores and page, print a scoreboard."""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cxrgen.core.errors import UsageError
from cxrgen.core.files import sha256_file
from cxrgen.core.folders import locked
from cxrgen.core.progress import say
from cxrgen.core.records import Study, read_studies
from cxrgen.evaluate import baselines, metric_options
from cxrgen.evaluate.agreement import read_agreement
from cxrgen.evaluate.described import described
from cxrgen.evaluate.group_table import group_columns
from cxrgen.evaluate.page.abstention import abstentions
from cxrgen.evaluate.page.report import Scored, write_report
from cxrgen.evaluate.page.strata import groups_by, of_group
from cxrgen.evaluate.page.studies import Shown
from cxrgen.evaluate.pairs import Pairs, read_limits, read_pairs, read_reports, read_truth
from cxrgen.evaluate.published import given_published
from cxrgen.evaluate.report_files import column_map
from cxrgen.evaluate.results import document, write_results
from cxrgen.evaluate.scoreboard import board_lines, scoreboard
from cxrgen.evaluate.scores import chosen_metrics, evaluate_sets, with_several
from cxrgen.evaluate.self_test import as_text, noticed
from cxrgen.evaluate.suites import BOARDS, boards_lack, with_sums
from cxrgen.evaluate.unscored import unscored_in, unscored_remarks

_ALLOCATIONS = 1_000_000  # between two searches for cycles of unused objects


def evaluate_files(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Run the command; `parser` knows its flags, which the page names. Returns the exit code."""
    usual = gc.get_threshold()
    gc.set_threshold(_ALLOCATIONS)  # what is kept of 100,000 texts holds no cycles, and to look for them takes its time
    try:
        return _run(options, parser)
    finally:
        gc.set_threshold(*usual)


def _run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
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
    pairs = read_pairs(
        options.pred, options.gt, options.allow_missing, column_map(options.map), _by(options), options.format
    )
    if pairs.further:
        metrics = with_several(metrics, named=names is not None)
    with locked(options.out, "wait for it, or give another --out"):  # refused before the work, if it has to be
        return _score(options, parser, pairs, names or (), metrics, lacking, settings)


def _score(
    options: argparse.Namespace,
    parser: argparse.ArgumentParser,
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
    agreement = read_agreement(options.agreement) if options.agreement else {}
    of_table = group_columns(options.by_table, _by(options), pairs.study_ids)
    by = groups_by(_by(options), {**pairs.columns, **of_table}, pairs.study_ids, studies)
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
        settings=metric_options.kept_in(settings, metrics, options.out),
        further=pairs.further,
        without_weights=baselines.AUTOMATIC if options.auto_baselines == "cheap" else (),
    )
    scores = baselines.against_baselines(scored.pop(""), scored, options.seed)
    unscored = unscored_in(scores, scored)
    for remark in unscored_remarks(unscored):
        say(f"note: {remark}")
    notes += unscored_remarks(unscored)
    boards = {name: scores.board(name, scored, lacking) for name in BOARDS if name in names}
    content = {**document(scores, scored, pairs.left_out, notes, _inputs(options), boards), "limits": limits}
    if agreement:
        content["agreement"] = {name: asdict(of) for name, of in agreement.items() if name in scores.metrics}
    if unscored:
        content["unscored"] = unscored
    if by:
        content["groups"] = {group: of_group(scores, subjects, mask) for group, mask in by.items()}
    if pairs.confidences is not None:
        content["abstention"] = abstentions(scores, subjects, pairs.confidences)
    page = options.out / "report.html"
    inputs = (pairs, subjects, scores, scored, limits, studies, options.studies, notes)
    about = described(options, parser, studies.values())
    write_report(page, Scored(*inputs, about, _shown(options), by, published, agreement))
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
