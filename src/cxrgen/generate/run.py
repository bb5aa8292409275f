"""Write reports for a test set: a prediction CSV and a ground-truth CSV (study_id, report), in the same order.

--question-file is a prepared folder, LLaVA JSON or JSON lines; --image-folder defaults to its folder. Rows without a
report have no ground-truth row. Reports are kept as they are finished: after an interruption the same command goes on.
--answers-file-pred X.jsonl gives answers to chat questions as JSON lines. --images prints the report of one study.
With --baseline no model is needed: the reports come from the training split.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.records import Prediction, read_studies
from cxrgen.core.rejects import share
from cxrgen.generate.questions import write_reports_csv

_EXAMPLES = """examples:
  cxrgen generate --model-name model --question-file prepared \\
      --answers-file-pred pred.csv --answers-file-gt gt.csv
  cxrgen generate --model-name model --question-file test.json --image-folder images \\
      --answers-file-pred pred.csv --answers-file-gt gt.csv --batch-size 64 --num-chunks 8
  torchrun --nnodes 2 --nproc-per-node 8 ... -m cxrgen generate --model-name model ...
  cxrgen generate --model-name model --question-file qa50.jsonl --image-folder images --answers-file-pred answers.jsonl
  cxrgen generate --model-name model --images frontal.dcm lateral.dcm --indication "Cough."
  cxrgen generate --baseline frequent --question-file prepared --answers-file-pred frequent.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("--model-name", type=Path, help="checkpoint folder")
    parser.add_argument("--question-file", type=Path, help="prepared folder, LLaVA JSON or JSON lines")
    parser.add_argument("--image-folder", type=Path, help="where image paths start; default: beside the questions")
    parser.add_argument("--answers-file-pred", type=Path, help="CSV for the reports that are written, or .jsonl")
    parser.add_argument("--answers-file-gt", type=Path, help="CSV for the reports they are scored against")
    parser.add_argument("--num-chunks", type=int, default=1, help="processes, or GPUs (default: 1)")
    parser.add_argument("--batch-size", type=int, default=16, help="studies at a time in each process (default: 16)")
    parser.add_argument("--split", default="test", help="split of a prepared folder (default: test)")
    parser.add_argument(
        "--max-rejects", type=share, default=0.02, help="unusable questions, as a share or percent (default: 2%%)"
    )
    parser.add_argument("--restart", action="store_true", help="forget what an earlier run has written of these files")
    one = parser.add_argument_group("one study")
    one.add_argument("--images", type=Path, nargs="+", help="images of one study; its report is printed")
    one.add_argument("--image-views", nargs="+", help="what each image shows: frontal or lateral")
    one.add_argument("--indication", help="why the study was made")
    one.add_argument("--prior", help="text of the report before this one")
    how = parser.add_argument_group("what is shown and how reports are written")
    how.add_argument("--views", help="images that are shown: all, frontal or lateral (default: as in training)")
    how.add_argument("--conv-mode", help="prompt by name or FILE.json; default: as in training")
    how.add_argument("--compat", choices=("original",), help="start from LLaVA-Med's own prompt")
    how.add_argument("--max-new-tokens", type=int, default=1024, help="longest report in tokens (default: 1024)")
    how.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest token (default: 0)")
    how.add_argument("--top-p", type=float, default=1.0, help="with a temperature: the likeliest tokens of this total")
    how.add_argument("--seed", type=int, default=0, help="with a temperature (default: 0)")
    how.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16", "float16"))
    bits = how.add_mutually_exclusive_group()
    bits.add_argument(
        "--load-in-4bit", action="store_true", help="quantise the language model to 4 bits (bitsandbytes)"
    )
    bits.add_argument(
        "--load-in-8bit", action="store_true", help="quantise the language model to 8 bits (bitsandbytes)"
    )
    how.add_argument("--engine", default="transformers", choices=("transformers", "vllm"), help="vllm needs a GPU")
    how.add_argument(
        "--drafts",
        default="auto",
        help="training reports that give drafts: auto, off, a prepared folder, or nearest (of the images most alike)",
    )
    how.add_argument("--baseline", choices=("frequent", "nearest"), help="no model: reports from the training split")


def run(options: argparse.Namespace) -> int:
    if (options.model_name is None) == (options.baseline is None):
        raise UsageError("give either --model-name or --baseline")
    if options.images:
        if options.question_file or options.baseline:
            raise UsageError("--images is one study by a model; leave out --question-file and --baseline")
        return _one_study(options)
    if options.indication or options.prior or options.image_views:
        raise UsageError("--indication, --prior and --image-views are of one study, given by --images")
    if options.question_file is None or options.answers_file_pred is None:
        raise UsageError("--question-file and --answers-file-pred are needed, or --images for one study")
    _check_outputs(options)
    if options.baseline:
        return _from_training(options)
    from cxrgen.generate.batch import write_test_set

    return write_test_set(options)


def _check_outputs(options: argparse.Namespace) -> None:
    """Told before the work, not after it: a place where no file can be, or where another one is."""
    written = [path for path in (options.answers_file_pred, options.answers_file_gt) if path]
    for path in written:
        if path.is_dir():
            raise UsageError(f"{path}: a folder; name a file in it")
        if path.resolve() == options.question_file.resolve():
            raise UsageError(f"{path}: the question file, which the answers would overwrite")
    if len({path.resolve() for path in written}) < len(written):
        raise UsageError("--answers-file-pred and --answers-file-gt are one file")


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
    predictions = BASELINES[options.baseline](training, studies, options.image_folder or questions)
    write_reports_csv(options.answers_file_pred, predictions)
    if options.answers_file_gt:
        truth = [Prediction(study.study_id, study.report) for study in studies if study.report is not None]
        write_reports_csv(options.answers_file_gt, truth)
    print(options.answers_file_pred)
    return 0


def _one_study(options: argparse.Namespace) -> int:
    # Only here, because it brings torch.
    from cxrgen.generate.api import ReportGenerator
    from cxrgen.generate.settings import settings_of

    print(
        ReportGenerator(settings_of(options)).report(
            options.images, options.indication, options.prior, options.image_views
        )
    )
    return 0
