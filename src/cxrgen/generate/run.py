"""Write reports for a test set: a prediction CSV and a ground-truth CSV (study_id, report), in the same order.

--question-file is a prepared folder or a LLaVA JSON file; --image-folder defaults to its folder. Rows without a report
have no ground-truth row. With --baseline no model is needed: the reports come from the training split.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cxrgen.data.conversations import read_conversations
from cxrgen.errors import InputError, UsageError
from cxrgen.files import write_csv
from cxrgen.progress import say, track
from cxrgen.records import Conversation, Prediction, read_studies
from cxrgen.text.prompts import study_conversation

_EXAMPLES = """examples:
  cxrgen generate --model-name model --question-file prepared \\
      --answers-file-pred pred.csv --answers-file-gt gt.csv
  cxrgen generate --model-name model --question-file test.json --image-folder images \\
      --answers-file-pred pred.csv --answers-file-gt gt.csv --batch-size 64
  cxrgen generate --baseline frequent --question-file prepared --answers-file-pred frequent.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("--model-name", help="checkpoint folder")
    parser.add_argument("--question-file", required=True, type=Path, help="prepared folder, LLaVA JSON or JSON lines")
    parser.add_argument("--image-folder", type=Path, help="where image paths start; default: beside the questions")
    parser.add_argument("--answers-file-pred", required=True, type=Path, help="CSV for the reports that are written")
    parser.add_argument("--answers-file-gt", type=Path, help="CSV for the reports they are scored against")
    parser.add_argument("--split", default="test", help="split of a prepared folder (default: test)")
    parser.add_argument("--views", default="all", help="films that are shown: all, frontal or lateral (default: all)")
    parser.add_argument("--batch-size", type=int, default=16, help="studies at a time (default: 16)")
    parser.add_argument("--max-new-tokens", type=int, default=1024, help="longest report in tokens (default: 1024)")
    parser.add_argument("--baseline", choices=("frequent", "nearest"), help="no model: reports from the training split")


def run(options: argparse.Namespace) -> int:
    if (options.model_name is None) == (options.baseline is None):
        raise UsageError("give either --model-name or --baseline")
    questions: Path = options.question_file
    folder: Path = options.image_folder or (questions if questions.is_dir() else questions.parent)
    if options.baseline:
        predictions = _from_training(options.baseline, questions, options.split, folder)
    else:
        conversations = _conversations(questions, options.split, options.views)
        if not conversations:
            raise InputError(f"{questions}: nothing to report on in split {options.split!r}")
        predictions = _from_model(options, conversations, folder)
    _write_reports(options.answers_file_pred, predictions)
    if options.answers_file_gt:
        truth = _references(_conversations(questions, options.split, options.views))
        _write_reports(options.answers_file_gt, truth)
        if len(truth) < len(predictions):
            say(f"{len(predictions) - len(truth)} of {len(predictions)} studies have no report to compare with")
    print(options.answers_file_pred)
    return 0


def _conversations(questions: Path, split: str, views: str) -> list[Conversation]:
    if questions.is_dir():
        return [study_conversation(study, views) for study in read_studies(questions, split)]
    conversations, rejects = read_conversations(questions)
    if rejects:
        say(f"{len(rejects)} items left out; the first: {rejects[0].row}: {rejects[0].code}, {rejects[0].hint}")
    return conversations


def _from_model(options: argparse.Namespace, conversations: Sequence[Conversation], folder: Path) -> list[Prediction]:
    # Only here, so that baselines and wrong paths do not wait for torch.
    from cxrgen.generate.decode import write_reports
    from cxrgen.model.bundle import load_bundle

    bundle = load_bundle(Path(options.model_name))
    written = write_reports(bundle, conversations, folder, options.batch_size, options.max_new_tokens)
    by_number = dict(track(written, "writing reports", len(conversations)))
    return [by_number[number] for number in range(len(conversations))]


def _from_training(name: str, questions: Path, split: str, folder: Path) -> list[Prediction]:
    from cxrgen.generate.baselines import BASELINES

    if not questions.is_dir():
        raise UsageError("--baseline needs a prepared folder as --question-file, for its training reports")
    training = [study for study in read_studies(questions, "train") if study.report is not None]
    if not training:
        raise InputError(f"{questions}: no training study with a report")
    return BASELINES[name](training, read_studies(questions, split), folder)


def _references(conversations: Sequence[Conversation]) -> list[Prediction]:
    return [Prediction(each.id, each.turns[1].text) for each in conversations if len(each.turns) > 1]


def _write_reports(path: Path, reports: Sequence[Prediction]) -> None:
    write_csv(path, ("study_id", "report"), [(each.study_id, each.report) for each in reports], private=True)
