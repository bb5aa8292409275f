"""What is asked: a prepared set, LLaVA JSON, JSON lines, or chat questions; each as conversations.

A prepared set is asked as the checkpoint was trained, unless options say otherwise; a study of which no film is to be
shown is not asked about. The answer turn of an item is its reference; an item without one has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cxrgen.data.conversations import read_conversations
from cxrgen.errors import InputError
from cxrgen.model.conversation import Format
from cxrgen.records import Conversation, Prediction, Reject, read_studies
from cxrgen.text.prompts import prior_reports, study_conversation


@dataclass(frozen=True)
class Questions:
    conversations: list[Conversation]
    folder: Path  # where image paths start
    rejects: list[Reject]


def read_questions(path: Path, images: Path | None, split: str, format: Format) -> Questions:
    """All that is asked, in its order. Raises InputError when there is nothing, or none of the films is there."""
    folder = images or (path if path.is_dir() else path.parent)
    rejects: list[Reject] = []
    if path.is_dir():
        studies = read_studies(path)
        priors = prior_reports(studies, format.prompt)
        asked = [
            study_conversation(study, format.views, format.prompt, priors.get(study.study_id))
            for study in studies
            if study.split == split
        ]
        conversations = [each for each in asked if each.images]
        kind = "film" if format.views == "all" else f"{format.views} film"
        rejects = [Reject("study", each.id, "no-film", f"no {kind} to show") for each in asked if not each.images]
    else:
        conversations, rejects = read_conversations(path)
    if not conversations:
        why = f"; {rejects[0].hint} in any of {len(rejects)} studies" if rejects else ""
        raise InputError(f"{path}: nothing to report on in split {split!r}{why}")
    films = [folder / name for each in conversations for name in each.images]
    if films and not any(film.is_file() for film in films):
        raise InputError(f"{films[0]}: no such image, nor any other of {len(films)}; is --image-folder right?")
    return Questions(conversations, folder, rejects)


def references(conversations: Iterable[Conversation]) -> list[Prediction]:
    """The reports to compare with, of the items that have one."""
    return [Prediction(each.id, each.turns[1].text) for each in conversations if _answered(each)]


def _answered(conversation: Conversation) -> bool:
    return len(conversation.turns) > 1 and bool(conversation.turns[1].text.strip())
