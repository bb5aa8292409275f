"""All questions of a file, from options to the two CSVs.

Reports go to append-only files while they are written, and the CSVs are made of these at the end. So the CSVs are whole
or absent, and the same however often the run was interrupted and by however many processes it was done.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from cxrgen.core.candidates import DEFAULT_UTILITY, FILE_NAME, WAYS, write_candidates, write_chosen
from cxrgen.core.errors import InputError, TooManyRejects, UsageError
from cxrgen.core.progress import say, track
from cxrgen.core.records import Conversation, Prediction, Reject
from cxrgen.core.rejects import check_share, write_rejects
from cxrgen.generate.answer_files import write_predictions, write_references
from cxrgen.generate.distributed import (
    Event,
    Job,
    broadcast_object,
    generate_shard,
    process_group,
    torchrun_rank,
    write_as_launched,
    write_in_processes,
)
from cxrgen.generate.label_prompt import reader_of
from cxrgen.generate.questions import Questions, read_questions, references, write_answers
from cxrgen.generate.resume import checkpoint_digest, partial_path, partial_paths, read_finished, remove_partial
from cxrgen.generate.samples import as_candidates, by_study, sampled
from cxrgen.generate.settings import Settings, settings_of
from cxrgen.metrics.consensus import choose, read_utility
from cxrgen.text.prior_mentions import speaks_of_prior, without_priors

Written = Mapping[int, Sequence[Prediction]]  # the number of a question, and its reports
_SHOWN = 20  # studies that failed, on the screen; the file lists all


def write_test_set(options: argparse.Namespace) -> int:
    """Write the reports, then the files; returns or raises what the exit code says."""
    settings = settings_of(options)
    where = (options.question_file, options.image_folder, options.split)
    questions = read_questions(*where, settings.format, settings.question, reader_of(settings))
    predictions: Path = options.answers_file_pred
    rank, count = torchrun_rank()
    if options.num_chunks < 1:
        raise UsageError("--num-chunks is at least 1")
    if count > 1 and (options.num_chunks > 1 or options.restart):
        raise UsageError(
            "torchrun has started the processes; leave out --num-chunks and --restart, and remove .partial files"
        )
    for path in partial_paths(predictions) if options.restart else ():
        remove_partial(path)
    with process_group(count):
        identity = _agreed(_identity(settings, questions.conversations), count)
        asked = sampled(questions.conversations, settings.samples)
        job = Job(settings, asked, questions.folder, predictions, identity)
        finished = read_finished(predictions, identity, job.conversations, job.folder)
        failed = _write_reports(job, options.num_chunks, rank, count, finished)
        written = by_study(finished, settings.samples)
        if rank == 0:
            _list_failures(predictions, questions, written, by_study(failed, settings.samples, all_of_it=False))
            _write_files(options, questions.conversations, written)
        complete = broadcast_object(len(finished) == len(asked), count)
    if complete:  # each process its own, for nodes without a common disk
        for path in partial_paths(predictions) if rank == 0 else [partial_path(predictions, rank)]:
            remove_partial(path)
    return _outcome(options, questions, written) if rank == 0 else 0


def _write_reports(job: Job, processes: int, rank: int, count: int, finished: dict[int, Prediction]) -> dict[int, str]:
    """Write the missing reports into `finished` and show the progress; returns what failed, and why."""
    total = len(job.conversations)
    if finished and rank == 0:
        say(f"{len(finished)} of {total} reports are there from an earlier run")
    processes = min(processes, total - len(finished))
    mine = len([number for number in job.share(rank, count) if number not in finished])
    if count > 1:
        events = write_as_launched(job, rank, count, finished)
    elif processes > 1:
        events = write_in_processes(job, processes, finished)
    else:
        events = generate_shard(job, 0, 1, finished)
    failed = {number: why for number, why in _watched(events, mine, quiet=rank > 0) if why}
    if count == 1:
        finished.update(read_finished(job.predictions, job.identity, job.conversations))
    return failed


def _agreed(identity: dict[str, Any], count: int) -> dict[str, Any]:
    """The identity of process 0, which that of every process must equal."""
    first: dict[str, Any] = broadcast_object(identity, count)
    for key in identity:
        if identity[key] != first[key]:
            raise InputError(f"this process was started with {key} {identity[key]!r}, process 0 with {first[key]!r}")
    return first


def _identity(settings: Settings, conversations: Sequence[Conversation]) -> dict[str, Any]:
    """What the reports depend on: not batch size, processes, speculative decoding or the places of files."""
    asked = sha256()
    for each in conversations:
        asked.update(repr((each.id, each.images, each.turns[:1])).encode())
    options = {key: value for key, value in asdict(settings).items() if key in Settings.decides}
    options |= {"samples": settings.samples} if settings.samples else {}
    return {
        "cxrgen": "reports of an unfinished run",
        "version": 2,  # of this file
        "checkpoint": checkpoint_digest(settings.model),
        "questions": asked.hexdigest()[:16],
        **options,
    }


def _watched(events: Iterator[Event], total: int, quiet: bool) -> Iterator[Event]:
    """The same events; on the screen: how many are done, the time left, reports a second."""
    start, done = time.monotonic(), 0

    def counted() -> Iterator[Event]:
        nonlocal done
        for event in events:
            done += 1
            yield event

    def rate() -> str:
        return f"{done / max(time.monotonic() - start, 1e-3):.2f} reports/s"

    return counted() if quiet or not total else track(counted(), "writing reports", total, rate)


def _list_failures(
    predictions: Path, questions: Questions, written: Written, failed: Mapping[int, Sequence[str]]
) -> None:
    """`P.csv.rejects.csv` and the screen say which questions have no report, and why. Raises when none has one."""
    conversations = questions.conversations
    lost = [number for number in range(len(conversations)) if number not in written]
    rejects = questions.rejects + [
        Reject(f"question {number + 1}", conversations[number].id, "failed", failed.get(number, ["not written"])[0])
        for number in lost
    ]
    if len(lost) == len(conversations):
        first = rejects[-len(lost)]
        raise InputError(f"no report could be written; {first.row}: {first.hint}", detail=f"id {first.id!r}")
    path = _rejects_path(predictions)
    path.unlink(missing_ok=True)
    if rejects:
        write_rejects(path, rejects)
        for each in rejects[:_SHOWN]:
            say(f"{each.row}: {each.hint}")
        say(f"{len(rejects)} without a report, all listed in {path}")


def _rejects_path(predictions: Path) -> Path:
    return predictions.with_name(f"{predictions.name}.rejects.csv")


def _write_files(options: argparse.Namespace, conversations: Sequence[Conversation], written: Written) -> None:
    """Truth, then predictions. Raises InputError when there is no room for them; the partial files stay."""
    predictions: Path = options.answers_file_pred
    numbers = sorted(written)
    try:
        truth = references(conversations)
        images = {each.id: each.images for each in conversations}
        if options.answers_file_gt:
            write_references(options.answers_file_gt, options.answers_format, truth, images)
            if len(truth) < len(conversations):
                say(f"{len(conversations) - len(truth)} of {len(conversations)} have no report to compare with")
        reports = [report for number in numbers for report in written[number]]
        if options.no_priors:
            reports = _without_priors(reports)
        if options.samples:
            _write_samples(options, reports)
        elif predictions.suffix == ".jsonl":
            write_answers(predictions, [conversations[number] for number in numbers], reports, options.model_name.name)
        else:
            write_predictions(predictions, options.answers_format, reports, truth, images)
    except OSError as error:
        raise InputError(f"{error.filename or predictions}: {error.strerror}; make room and run again") from None
    print(predictions)


def _write_samples(options: argparse.Namespace, reports: Sequence[Prediction]) -> None:
    """predictions.jsonl with all samples, and the CSV of those that are chosen."""
    each = options.samples
    studies = [as_candidates(reports[start : start + each]) for start in range(0, len(reports), each)]
    path = options.answers_file_pred.with_name(FILE_NAME)
    write_candidates(path, studies)
    print(path)
    utility = read_utility(options.utility or DEFAULT_UTILITY)
    write_chosen(options.answers_file_pred, choose(studies, options.choose or WAYS[0], utility))


def _without_priors(written: Sequence[Prediction]) -> list[Prediction]:
    """The reports without what they say of earlier studies; one that says nothing else stays as it is."""
    rewritten = [replace(each, report=without_priors(each.report) or each.report) for each in written]
    changed = sum(speaks_of_prior(each.report) for each in written)
    left = sum(speaks_of_prior(each.report) for each in rewritten)
    say(f"--no-priors: {changed} of {len(written)} reports spoke of an earlier study; {left} say nothing else and stay")
    return [new if speaks_of_prior(old.report) else old for old, new in zip(written, rewritten)]


def _outcome(options: argparse.Namespace, questions: Questions, written: Written) -> int:
    """0. Raises TooManyRejects for a failed study or too many unusable questions."""
    predictions: Path = options.answers_file_pred
    total, unusable = len(questions.conversations), len(questions.rejects)
    if len(written) < total:
        raise TooManyRejects(
            f"{total - len(written)} of {total} failed, see {_rejects_path(predictions)}; "
            "the others are written, and the same command tries only these again"
        )
    check_share(unusable, total + unusable, options.max_rejects, "questions", _rejects_path(predictions))
    return 0
