"""LLaVA JSON to conversations: what LLaVA-Med's published files and the original's question files hold.

A file is a JSON list or JSON lines of `{"id", "image", "conversations": [{"from", "value"}]}`. `image` is a file name,
a list of them, or absent in an item of text alone; each stands for one `<image>` in the human turns. Published files
misspell the key as `conversatons`, call the images `images`, hold whole numbers as values and name the answering side
in three ways; all of that is read. So are chat questions, `{"question_id", "image", "text"}`, which are one human turn,
and items whose last answer is blank, which have none. An item that is no conversation is left out and listed, never
repaired by guessing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError, RejectError
from cxrgen.core.records import Conversation, Reject, Turn
from cxrgen.core.tables import read_json
from cxrgen.text.prompts import IMAGE, SPEAKERS
from cxrgen.text.special_tokens import without_special_tokens


def read_conversations(path: Path) -> tuple[list[Conversation], list[Reject]]:
    """All items of a LLaVA JSON file in its order, and those left out with place and reason.

    Raises InputError when the file is missing, no JSON, holds no list, or not one usable item.
    """
    items = read_json(path)
    if isinstance(items, dict) and items.keys() & {"conversations", "conversatons", "messages", "text"}:
        items = [items]  # JSON lines of a single line
    if not isinstance(items, list):
        raise InputError(f"{path}: a JSON {type(items).__name__}, needed is a list of conversations")
    conversations: list[Conversation] = []
    rejects: list[Reject] = []
    for number, item in enumerate(items, 1):
        read = _conversation(item, f"{path.name}: item {number}")
        if isinstance(read, Conversation):
            conversations.append(read)
        else:
            rejects.append(read)
    if not conversations:
        why = f"; the first: {rejects[0].row}: {rejects[0].hint}" if rejects else ""
        raise InputError(f"{path}: no usable conversation among {len(items)} items{why}")
    return conversations, rejects


def _conversation(item: Any, row_ref: str) -> Conversation | Reject:
    if not isinstance(item, Mapping):
        return Reject(row_ref, "", "not-an-object", "an item is an object with id, image and conversations")
    name = item.get("id", item.get("question_id", ""))
    name = str(name) if isinstance(name, (str, int)) and not isinstance(name, bool) else ""
    if not name.strip():
        return Reject(row_ref, "", "id-missing", "give every item an id")
    given: Any = next((item[key] for key in ("image", "images") if item.get(key) is not None), [])
    turns: Any = next((item[key] for key in ("conversations", "conversatons", "messages") if key in item), None)
    if turns is None and isinstance(item.get("text"), str):
        turns = [{"from": "human", "value": _with_image(item["text"], given)}]
    if not isinstance(turns, list) or not turns:
        return Reject(row_ref, name, "turns-missing", "give the item a list of conversations")
    try:
        read = [_turn(turn) for turn in turns]
    except RejectError as error:
        return Reject(row_ref, name, error.code, error.hint)
    if len(read) > 1 and read[-1].role == "assistant" and not read[-1].text.strip():
        read.pop()  # a question: nothing can be learnt from it, and nothing compared with
    if any(turn.role == "assistant" and not turn.text.strip() for turn in read):
        return Reject(row_ref, name, "answer-empty", "an answer before the last one is empty")
    images = [given] if isinstance(given, str) else given
    if not isinstance(images, list) or not all(isinstance(image, str) and image for image in images):
        return Reject(row_ref, name, "image-unreadable", "`image` must be a file name or a list of them")
    wanted = sum(turn.text.count(IMAGE) for turn in read if turn.role == "human")  # in an answer it is text
    if wanted != len(images):
        return Reject(row_ref, name, "image-count", f"{wanted} {IMAGE} in the questions, {len(images)} images given")
    return Conversation(name, tuple(images), tuple(read))


def _turn(turn: Any) -> Turn:
    """One turn; what looks like a special token is text, but for the `<image>` of a question."""
    if not isinstance(turn, Mapping):
        raise RejectError("turns-missing", "a turn is an object with `from` and `value`")
    speaker = str(turn.get("from", turn.get("role", ""))).lower()
    if speaker not in SPEAKERS:
        raise RejectError("speaker-unknown", f"`from` must be one of {', '.join(SPEAKERS)}")
    value = turn.get("value", turn.get("content"))
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise RejectError("value-missing", "`value` must be text")
    role = SPEAKERS[speaker]
    return Turn(role, without_special_tokens(str(value), keep_images=role == "human"))


def _with_image(question: str, image: Any) -> str:
    """Chat questions mostly leave `<image>` out; it then stands behind the question."""
    return question if IMAGE in question or not isinstance(image, str) else f"{question}\n{IMAGE}"


_SPEAKERS = {"human": "human", "assistant": "gpt"}


def llava_item(conversation: Conversation) -> dict[str, Any]:
    """A conversation as LLaVA writes it; `image` is a name for one image, a list for several."""
    images = list(conversation.images)
    turns = [{"from": _SPEAKERS[turn.role], "value": turn.text} for turn in conversation.turns]
    return {"id": conversation.id, "image": images[0] if len(images) == 1 else images, "conversations": turns}
