"""LLaVA JSON to conversations: what LLaVA-Med's published files and the original's question files hold.

A file is a JSON list or JSON lines of `{"id", "image", "conversations": [{"from", "value"}]}`. `image` is a file name,
a list of them, or absent in an item of text alone; each stands for one `<image>` in the human turns. Published files
misspell the key as `conversatons`, hold whole numbers as values and name the answering side in three ways; all of that
is read. So are chat questions, `{"question_id", "image", "text"}`, which are one human turn. An item that cannot be
meant is left out and listed, never repaired by guessing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError
from cxrgen.core.records import Conversation, Reject, Turn
from cxrgen.core.tables import read_json
from cxrgen.text.prompts import IMAGE, SPEAKERS


def read_conversations(path: Path) -> tuple[list[Conversation], list[Reject]]:
    """All items of a LLaVA JSON file in its order, and those left out with place and reason.

    Raises InputError when the file is missing, no JSON, holds no list, or not one usable item.
    """
    items = read_json(path)
    if isinstance(items, dict) and items.keys() & {"conversations", "conversatons", "text"}:
        items = [items]  # JSON lines of a single line
    if not isinstance(items, list):
        raise InputError(f"{path}: a JSON {type(items).__name__}, needed is a list of conversations")
    kept: list[Conversation] = []
    rejects: list[Reject] = []
    for number, item in enumerate(items, 1):
        read = _conversation(item, f"{path.name}: item {number}")
        if isinstance(read, Conversation):
            kept.append(read)
        else:
            rejects.append(read)
    if not kept:
        why = f"; the first: {rejects[0].row}: {rejects[0].hint}" if rejects else ""
        raise InputError(f"{path}: no usable conversation among {len(items)} items{why}")
    return kept, rejects


def _conversation(item: Any, place: str) -> Conversation | Reject:
    if not isinstance(item, Mapping):
        return Reject(place, "", "not-an-object", "an item is an object with id, image and conversations")
    name = item.get("id", item.get("question_id", ""))
    name = str(name) if isinstance(name, (str, int)) and not isinstance(name, bool) else ""
    if not name.strip():
        return Reject(place, "", "id-missing", "give every item an id")
    turns = item.get("conversations", item.get("conversatons"))
    if turns is None and isinstance(item.get("text"), str):
        turns = [{"from": "human", "value": _with_image(item["text"], item.get("image"))}]
    if not isinstance(turns, list) or not turns:
        return Reject(place, name, "turns-missing", "give the item a list of conversations")
    read = []
    for turn in turns:
        speaker = str(turn.get("from", "")).lower() if isinstance(turn, Mapping) else ""
        value = turn.get("value") if isinstance(turn, Mapping) else None
        if speaker not in SPEAKERS:
            return Reject(place, name, "speaker-unknown", f"`from` must be one of {', '.join(SPEAKERS)}")
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            return Reject(place, name, "value-missing", "`value` must be text")
        read.append(Turn(SPEAKERS[speaker], str(value)))
    given = item.get("image", [])
    images = [given] if isinstance(given, str) else given
    if not isinstance(images, list) or not all(isinstance(image, str) and image for image in images):
        return Reject(place, name, "image-unreadable", "`image` must be a file name or a list of them")
    wanted = sum(turn.text.count(IMAGE) for turn in read if turn.role == "human")  # in an answer it is text
    if wanted != len(images):
        return Reject(place, name, "image-count", f"{wanted} {IMAGE} in the questions, {len(images)} images given")
    return Conversation(name, tuple(images), tuple(read))


def _with_image(question: str, image: Any) -> str:
    """Chat questions mostly leave `<image>` out; it then stands behind the question."""
    return question if IMAGE in question or not isinstance(image, str) else f"{question}\n{IMAGE}"


_SPEAKERS = {"human": "human", "assistant": "gpt"}


def llava_item(conversation: Conversation) -> dict[str, Any]:
    """A conversation as LLaVA writes it; `image` is a name for one image, a list for several."""
    images = list(conversation.images)
    turns = [{"from": _SPEAKERS[turn.role], "value": turn.text} for turn in conversation.turns]
    return {"id": conversation.id, "image": images[0] if len(images) == 1 else images, "conversations": turns}
