"""Write reports for a test set: a prediction CSV and a ground-truth CSV (study_id, report), in the same order.

--question-file is a prepared folder, LLaVA JSON or JSON lines; --image-folder defaults to its folder. Rows without a
report have no ground-truth row. Finished reports are saved at once: after an interruption the same command continues.
--answers-file-pred X.jsonl gives answers to chat questions as JSON lines. --images prints the report of one study.
--samples N writes N reports a study into predictions.jsonl, beside the CSV of those that --choose keeps.
With --baseline no model is needed: the reports come from the training split.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from cxrgen.core.candidates import DEFAULT_UTILITY, UTILITY_HELP, WAYS
from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.records import Prediction, read_studies
from cxrgen.core.rejects import share
from cxrgen.generate.answer_files import FORMATS, check_format, write_predictions, write_references
from cxrgen.text.context import NOTHING, PARTS, SECTIONS
from cxrgen.text.prior_mentions import without_priors

_EXAMPLES = """examples:
  cxrgen generate --model-name model --question-file prepared \\
      --answers-file-pred pred.csv --answers-file-gt gt.csv
  cxrgen generate --model-name model --question-file test.json --image-folder images \\
      --answers-file-pred pred.csv --answers-file-gt gt.csv --batch-size 64 --num-chunks 8
  torchrun --nnodes 2 --nproc-per-node 8 ... -m cxrgen generate --model-name model ...
  cxrgen generate --model-name model --question-file qa50.jsonl --image-folder images --answers-file-pred answers.jsonl
  cxrgen generate --model-name model --images frontal.dcm lateral.dcm --indication "Cough."
  cxrgen generate --model-name model --question-file prepared --answers-file-pred pred.csv \\
      --samples 8 --temperature 0.7 --choose consensus --utility rule+rouge_l
  cxrgen generate --baseline medoid --question-file prepared --answers-file-pred medoid.csv
  cxrgen generate --baseline nearest --model-name model --question-file prepared --answers-file-pred nearest.csv
"""

_SECTIONS = {
    "indication": "why the study was made",
    "history": "what is known of the patient",
    "technique": "how the images were taken",
    "comparison": "which earlier studies there are",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    _add_files(parser.add_argument_group("a test set"))
    _add_study(parser.add_argument_group("one study"))
    _add_input(parser.add_argument_group("model and prompt"))
    _add_decoding(parser.add_argument_group("decoding"))
    _add_machine(parser.add_argument_group("speed and memory"))


def _add_files(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--question-file", type=Path, metavar="PATH", help="prepared folder, LLaVA JSON or JSON lines")
    add("--image-folder", type=Path, metavar="DIR", help="where image paths start (default: beside the questions)")
    add("--answers-file-pred", type=Path, metavar="FILE", help="CSV for the reports that are written, or .jsonl")
    add("--answers-file-gt", type=Path, metavar="FILE", help="CSV for the reports they are scored against")
    add("--answers-format", choices=FORMATS, default="csv", help="of both files: csv (default), or rexrank for JSON")
    add("--split", default="test", metavar="NAME", help="split of a prepared folder (default: test)")
    add(
        "--max-rejects",
        type=share,
        default=0.02,
        metavar="SHARE",
        help="unusable questions: 0.02 or 2%% (default: 2%%)",
    )
    add("--restart", action="store_true", help="discard what an earlier run has written for these files")
    add("--show-values", action="store_true", help="messages may show ids and paths of the questions")
    add(
        "--baseline",
        choices=("frequent", "medoid", "nearest"),
        help="no model: reports from the training split; nearest with --model-name: by that model's image features",
    )


def _add_study(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--images", type=Path, nargs="+", metavar="FILE", help="images of one study; its report is printed")
    add("--image-views", nargs="+", metavar="VIEW", help="of each image: frontal, lateral, other or unknown")
    for name in SECTIONS:
        add(f"--{name}", metavar="TEXT", help=_SECTIONS[name])
    add("--prior", metavar="TEXT", help="the report before this one")
    add("--prior-images", type=Path, nargs="+", default=[], metavar="FILE", help="images of the study before")
    add("--prior-image-views", nargs="+", metavar="VIEW", help="of each of these, as --image-views")
    add("--gap", type=int, metavar="DAYS", help="how many days before this study that one was made")


def _add_input(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--model-name",
        type=Path,
        metavar="MODEL",
        help="checkpoint folder; or any image-text model, folder or hub name",
    )
    add("--question", metavar="TEXT", help="the task that prompts end with (default: Write the report.)")
    add("--views", metavar="VIEWS", help="images that are given: all, frontal or lateral (default: as in training)")
    add(
        "--context",
        metavar="PARTS",
        help=f"what else is stated, with commas: {', '.join(PARTS)}; or {NOTHING} (default: as in training)",
    )
    add("--conv-mode", metavar="MODE", help="prompt by name or FILE.json (default: as in training)")
    add("--compat", choices=("original",), help="start from LLaVA-Med's own inference prompt")


def _add_decoding(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--max-new-tokens", type=int, default=1024, metavar="N", help="longest report in tokens (default: 1024)")
    add("--temperature", type=float, default=0.0, metavar="T", help="0 takes the likeliest token (default: 0)")
    add("--top-p", type=float, default=1.0, metavar="P", help="with a temperature: nucleus sampling (default: 1)")
    add("--seed", type=int, default=0, metavar="N", help="with a temperature (default: 0)")
    add("--samples", type=int, default=0, metavar="N", help="reports a study, into predictions.jsonl; see --choose")
    add("--choose", choices=WAYS, help=f"with --samples: the report that is kept (default: {WAYS[0]})")
    add("--utility", metavar="MIX", help=f"with --choose consensus: {UTILITY_HELP}")
    add("--no-priors", action="store_true", help="cut from the reports what they say of earlier studies")


def _add_machine(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--batch-size",
        type=int,
        default=16,
        metavar="N",
        help="studies at a time in each process (default: 16); vllm takes as many as its memory holds",
    )
    add("--num-chunks", type=int, default=1, metavar="N", help="processes, or GPUs (default: 1)")
    add("--dtype", default="auto", choices=("auto", "float32", "bfloat16", "float16"))
    bits = group.add_mutually_exclusive_group()
    bits.add_argument("--load-in-4bit", action="store_true", help="quantise the language model (bitsandbytes)")
    bits.add_argument("--load-in-8bit", action="store_true", help="quantise the language model (bitsandbytes)")
    add(
        "--engine",
        default="auto",
        choices=("auto", "transformers", "vllm"),
        help="auto and transformers: refilled batches for class llava, else model.generate; vllm needs a GPU",
    )
    add(
        "--speculative",
        "--drafts",
        default="auto",
        metavar="WAY",
        help="speculative decoding (n-gram drafts from training reports): auto, ngram, none, or a prepared folder",
    )


def run(options: argparse.Namespace) -> int:
    if options.model_name is None and options.baseline is None:
        raise UsageError("give either --model-name or --baseline")
    if options.model_name is not None and options.baseline not in (None, "nearest"):
        raise UsageError(f"give either --model-name or --baseline: {options.baseline} needs no model")
    if options.images:
        if options.question_file or options.baseline:
            raise UsageError("--images is one study by a model; leave out --question-file and --baseline")
        _check_images("--images", options.images)
        _check_images("--prior-images", options.prior_images)
        return _one_study(options)
    for name in (*SECTIONS, "prior", "prior_images", "prior_image_views", "gap", "image_views"):
        if getattr(options, name) not in (None, []):
            raise UsageError(f"--{name.replace('_', '-')} describes one study, given by --images")
    if options.question_file is None or options.answers_file_pred is None:
        raise UsageError("--question-file and --answers-file-pred are needed, or --images for one study")
    _check_outputs(options)
    _check_choice(options)
    if options.baseline:
        return _from_training(options)
    from cxrgen.generate.batch import write_test_set

    return write_test_set(options)


def _check_images(flag: str, paths: Sequence[Path]) -> None:
    """Raises UsageError for a folder, which is not one study, and for pipes and devices."""
    for path in paths:
        if os.path.isdir(path):  # which raises for no name, too long or not encodable
            raise UsageError(
                f"{flag} {path}: a folder; list the image files of one study, as in {flag} {path}/*.png, or make a "
                f"prepared set of many studies with `cxrgen prepare {path} --out SET` and give --question-file SET"
            )
        if os.path.exists(path) and not os.path.isfile(path):
            raise UsageError(f"{flag} {path}: not a regular file, so no image")


def _check_outputs(options: argparse.Namespace) -> None:
    """Raises UsageError, before the work, for output paths that are a folder, the question file or each other."""
    written = [path for path in (options.answers_file_pred, options.answers_file_gt) if path]
    for path in written:
        if path.is_dir():
            raise UsageError(f"{path}: a folder; name a file in it")
        if path.resolve() == options.question_file.resolve():
            raise UsageError(f"{path}: the question file, which the answers would overwrite")
    check_format(options.answers_format, written)
    if len({path.resolve() for path in written}) < len(written):
        raise UsageError("--answers-file-pred and --answers-file-gt are one file")


def _check_choice(options: argparse.Namespace) -> None:
    """Raises UsageError, before the work, for a choice without samples and for a utility that needs more than texts."""
    if not options.samples:
        for flag, value in (("--choose", options.choose), ("--utility", options.utility)):
            if value is not None:
                raise UsageError(f"{flag} chooses among samples; give --samples N")
        return
    if options.baseline:
        raise UsageError("--samples needs a model; a baseline has one report a study")
    if options.answers_file_pred.suffix == ".jsonl":
        raise UsageError("--samples: name a CSV as --answers-file-pred; predictions.jsonl is written beside it")
    if options.answers_format != "csv":
        raise UsageError(f"--answers-format {options.answers_format} has no place for samples; leave --samples out")
    if options.choose == "likeliest" and options.utility:
        raise UsageError("--utility is for --choose consensus")
    from cxrgen.metrics import load
    from cxrgen.metrics.consensus import read_utility

    for metric in read_utility(options.utility or DEFAULT_UTILITY).metrics:
        if load(metric).lacks({}):
            raise UsageError(f"--utility: {metric} needs files that `cxrgen choose` takes; choose with that afterwards")


def _from_training(options: argparse.Namespace) -> int:
    from cxrgen.generate.baselines import BASELINES

    questions: Path = options.question_file
    if not questions.is_dir():
        raise UsageError("--baseline needs a prepared folder as --question-file, for its training reports")
    training = [study for study in read_studies(questions, "train") if study.report is not None]
    if not training:
        raise InputError(f"{questions}: no training study with a report")
    studies = read_studies(questions, options.split)
    if not studies:
        raise InputError(f"{questions}: nothing to report on in split {options.split!r}")
    folder = options.image_folder or questions
    if options.model_name is not None:
        from cxrgen.generate.engine import open_on_device  # brings torch
        from cxrgen.generate.image_features import nearest_by_features
        from cxrgen.generate.settings import settings_of

        predictions = nearest_by_features(open_on_device(settings_of(options)), training, studies, folder)
    else:
        predictions = BASELINES[options.baseline](training, studies, folder)
    truth = [Prediction(study.study_id, study.report) for study in studies if study.report is not None]
    images = {study.study_id: [view.path for view in study.views] for study in studies}
    write_predictions(options.answers_file_pred, options.answers_format, predictions, truth, images)
    if options.answers_file_gt:
        write_references(options.answers_file_gt, options.answers_format, truth, images)
    print(options.answers_file_pred)
    return 0


def _one_study(options: argparse.Namespace) -> int:
    from cxrgen.imaging.stored import refuse_two_patients

    refuse_two_patients([*options.images, *options.prior_images])  # before a model is opened, which takes minutes
    from cxrgen.generate.api import ReportGenerator  # brings torch
    from cxrgen.generate.settings import settings_of

    writer = ReportGenerator(settings_of(options))
    known = {name: getattr(options, name) for name in (*SECTIONS, "prior", "prior_images", "gap")}
    shown = {"shown": options.image_views, "prior_shown": options.prior_image_views}
    report = writer.report(options.images, **known, **shown)
    print(without_priors(report) or report if options.no_priors else report)
    return 0
