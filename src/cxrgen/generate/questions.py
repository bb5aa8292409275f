"""What is asked: a prepared set, LLaVA JSON, JSON lines, or chat questions; each as conversations.

A prepared set is asked as the checkpoint was trained, unless options say otherwise; a study without an image of the
wanted view is left out. The answer turn of an item is its reference; an item without one has none. An id names one
report, so of several items with one id the first is asked and the others are listed as rejects.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.files import write_csv, write_text
from cxrgen.core.records import Conversation, Prediction, Reject, read_studies
from cxrgen.text.llava_json import read_conversations
from cxrgen.text.prompts import IMAGE, priors_by_rule, say_cut_images, study_conversation

if TYPE_CHECKING:
    from cxrgen.model.conversation import Format
    from cxrgen.model.label_reader import LabelReader


@dataclass(frozen=True)
class Questions:
    conversations: list[Conversation]
    folder: Path  # where image paths start
    rejects: list[Reject]


def read_questions(
    path: Path, images: Path | None, split: str, format: Format, task: str = "", reader: LabelReader | None = None
) -> Questions:
    """All that is asked, in its order; `task` replaces that of a prepared set's questions, `reader` gives their labels.

    Raises InputError when there is nothing, or none of the images is there.
    """
    folder = images or (path if path.is_dir() else path.parent)
    rejects: list[Reject] = []
    if path.is_dir():
        studies = read_studies(path)
        rule = replace(format.asks, task=task)
        priors = priors_by_rule(studies, rule)
        chosen = [study for study in studies if study.split == split]
        if reader is not None:
            chosen = reader.with_labels(chosen, rule, folder)
        asked = [study_conversation(study, rule, priors.get(study.study_id)) for study in chosen]
        say_cut_images(chosen, priors, rule)
        conversations = [each for each in asked if each.images]
        kind = "image" if format.views == "all" else f"{format.views} image"
        rejects = [Reject("study", each.id, "no-image", f"no {kind} to show") for each in asked if not each.images]
    elif task:
        raise UsageError(f"--question is for prepared folders and --images; {path.name} holds its own questions")
    else:
        conversations, rejects = read_conversations(path)
    conversations, doubled = _one_per_id(conversations, path.name)
    rejects = [*rejects, *doubled]
    if not conversations:
        why = f"; {rejects[0].hint} in any of {len(rejects)} studies" if rejects else ""
        raise InputError(f"{path}: nothing to report on in split {split!r}{why}")
    paths = [folder / name for each in conversations for name in each.images]
    if paths and not any(path.is_file() for path in paths):
        raise InputError(
            f"{path}: no such image in {folder} as any of its {len(paths)}; is --image-folder right?",
            detail=f"the first: {str(paths[0])!r}",
        )
    return Questions(conversations, folder, rejects)


def _one_per_id(conversations: Sequence[Conversation], name: str) -> tuple[list[Conversation], list[Reject]]:
    """The first conversation of each id, and the others as rejects."""
    first: dict[str, int] = {}
    kept, rejects = [], []
    for number, each in enumerate(conversations, 1):
        if each.id in first:
            hint = f"question {first[each.id]} has this id too; give each question its own id"
            rejects.append(Reject(f"{name}: question {number}", each.id, "id-doubled", hint))
        else:
            first[each.id] = number
            kept.append(each)
    return kept, rejects


def references(conversations: Iterable[Conversation]) -> list[Prediction]:
    """The reports to compare with, of the items that have one."""
    return [Prediction(each.id, each.turns[1].text) for each in conversations if _answered(each)]


def _answered(conversation: Conversation) -> bool:
    return len(conversation.turns) > 1 and bool(conversation.turns[1].text.strip())


COLUMNS = ("study_id", "report")


def write_reports_csv(path: Path, reports: Sequence[Prediction]) -> None:
    """study_id,report with one header, readable by its owner only."""
    write_csv(path, COLUMNS, [(each.study_id, each.report) for each in reports], private=True)


def write_answers(path: Path, questions: Sequence[Conversation], answers: Sequence[Prediction], model: str) -> None:
    """One line an answer: question_id, prompt, text, answer_id, model_id, metadata.

    A question_id that is a whole number is written as one, as question files have it. The prompt is the question with
    its image behind it, wherever the file had it. An answer_id follows from what it names: the same in every run.
    """
    lines = []
    for question, answer in zip(questions, answers):
        name = question.id
        words = question.turns[0].text.replace(IMAGE, "").strip()
        record: dict[str, Any] = {
            "question_id": int(name) if name.isdecimal() and str(int(name)) == name else name,
            "prompt": "\n".join([words, *[IMAGE] * len(question.images)]),
            "text": answer.report,
            "answer_id": uuid5(NAMESPACE_URL, f"{model}\0{name}\0{words}\0{answer.report}").hex[:22],
            "model_id": model,
            "metadata": {},
        }
        lines.append(json.dumps(record, ensure_ascii=False))
    write_text(path, "".join(line + "\n" for line in lines), private=True)
