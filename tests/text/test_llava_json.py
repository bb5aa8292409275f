from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cxrgen.core.errors import InputError
from cxrgen.core.records import Conversation, Turn
from cxrgen.text.llava_json import read_conversations

ASK = {"from": "human", "value": "What is seen?\n<image>"}


def written(folder: Path, items: Any, lines: bool = False) -> Path:
    path = folder / "items.json"
    path.write_text("\n".join(map(json.dumps, items)) if lines else json.dumps(items), encoding="utf-8")
    return path


@pytest.mark.parametrize("answering", ["gpt", "report", "assistant", "GPT"])
@pytest.mark.parametrize("key", ["conversations", "conversatons"])
@pytest.mark.parametrize("lines", [False, True])
def test_every_published_spelling_reads_alike(tmp_path: Path, answering: str, key: str, lines: bool) -> None:
    items = [{"id": "0001-0001", "image": "0001-0001.png", key: [ASK, {"from": answering, "value": "Clear lungs."}]}]
    kept, rejects = read_conversations(written(tmp_path, items, lines))
    turns = (Turn("human", ASK["value"]), Turn("assistant", "Clear lungs."))
    assert kept == [Conversation("0001-0001", ("0001-0001.png",), turns)]
    assert not rejects


def test_whole_numbers_text_alone_and_several_images(tmp_path: Path) -> None:
    items = [
        {"id": 7, "conversations": [{"from": "human", "value": "How many?"}, {"from": "gpt", "value": 3}]},
        {"id": "8", "image": ["a.png", "b.png"], "conversations": [{"from": "human", "value": "<image>\n<image> ?"}]},
    ]
    kept, rejects = read_conversations(written(tmp_path, items))
    assert [(each.id, each.images) for each in kept] == [("7", ()), ("8", ("a.png", "b.png"))]
    assert kept[0].turns[1].text == "3"
    assert not rejects


@pytest.mark.parametrize("lines", [False, True])
def test_chat_questions_are_one_human_turn(tmp_path: Path, lines: bool) -> None:
    items = [
        {"question_id": 17, "image": "a.jpg", "text": "What is seen?\n<image>", "pair_id": "a", "gpt4_answer": "..."},
        {"question_id": 18, "image": "a.jpg", "text": "Is it large?"},
        {"question_id": 19, "text": "What is a CT?"},
    ]
    kept, rejects = read_conversations(written(tmp_path, items, lines))
    assert [(each.id, each.images, each.turns) for each in kept] == [
        ("17", ("a.jpg",), (Turn("human", "What is seen?\n<image>"),)),
        ("18", ("a.jpg",), (Turn("human", "Is it large?\n<image>"),)),
        ("19", (), (Turn("human", "What is a CT?"),)),
    ]
    assert not rejects


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ("text", "not-an-object"),
        ({"image": "a.png", "conversations": [ASK]}, "id-missing"),
        ({"id": "1", "image": "a.png"}, "turns-missing"),
        ({"id": "1", "conversations": [{"from": "nurse", "value": "?"}]}, "speaker-unknown"),
        ({"id": "1", "conversations": [{"from": "human"}]}, "value-missing"),
        ({"id": "1", "image": 5, "conversations": [ASK]}, "image-unreadable"),
        ({"id": "1", "conversations": [ASK]}, "image-count"),
        ({"id": "1", "image": ["a.png", "b.png"], "conversations": [ASK]}, "image-count"),
    ],
)
def test_an_item_that_cannot_be_meant_is_left_out_alone(tmp_path: Path, item: Any, code: str) -> None:
    good = {"id": "2", "image": "a.png", "conversations": [ASK]}
    kept, rejects = read_conversations(written(tmp_path, [item, good]))
    assert [each.id for each in kept] == ["2"]
    assert [(each.row, each.code) for each in rejects] == [("items.json: item 1", code)]


@pytest.mark.parametrize("content", ["", "{", '{"id": 1}', "[]", "[1]"])
def test_a_file_without_conversations_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "items.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"items\.json"):
        read_conversations(path)
