"""A name planted in ids, image paths and texts of training data stays off the screen and out of open files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.train.material import write_image

from cxrgen.cli import main

NAME = "Mustermann"
FAULTS = (
    "none", "no-image", "damaged-image", "no-id", "no-answer", "speaker", "image-count", "long-text", "refused-text",
    "all-missing", "not-json", "no-list",
)  # fmt: skip


def data(folder: Path, fault: str) -> Path:
    items: list[dict[str, Any]] = []
    for number in range(8):
        write_image(folder / NAME / f"{number}.png", number)
        turns = [{"from": "human", "value": f"{NAME}?\n<image>"}, {"from": "gpt", "value": f"{NAME} {number} is well."}]
        items.append({"id": f"{NAME} {number}", "image": f"{NAME}/{number}.png", "conversations": turns})
    image, turns = folder / NAME / "1.png", items[1]["conversations"]
    if fault == "no-image":
        image.unlink()
    if fault == "damaged-image":
        image.write_bytes(image.read_bytes()[:200])
    if fault == "all-missing":
        (folder / NAME).rename(folder / "away")
    if fault == "no-id":
        del items[1]["id"]
    if fault == "no-answer":
        turns[1]["value"] = ""
    if fault == "speaker":
        turns[0]["from"] = NAME
    if fault == "image-count":
        items[1]["image"] = [f"{NAME}.png", NAME]
    if fault in ("long-text", "refused-text"):
        turns[1]["value"] = f"{NAME} " * 5000
    text = json.dumps({NAME: NAME} if fault == "no-list" else items)
    (folder / "train.json").write_text(text + (NAME if fault == "not-json" else ""))
    return folder / "train.json"


def train(file: Path, capfd: pytest.CaptureFixture[str], fault: str, *more: str) -> tuple[int, str]:
    words = ["--data-path", str(file), "--output-dir", str(file.parent / "out"), "--max-steps", "2"]
    words += ["--per-device-train-batch-size", "8", "--save-strategy", "no", "--max-rejects", "0.5"]
    words += ["--long", "refuse" if fault == "refused-text" else "drop", "--model-max-length", "400"]
    words += ["--tower-steps", "0", "--text-steps", "0"]
    code = main(["train", "tiny", *words, *more])
    said = capfd.readouterr()
    return code, said.out + said.err


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_name_stays_in_private_files(tmp_path: Path, capfd: pytest.CaptureFixture[str], fault: str) -> None:
    code, said = train(data(tmp_path, fault), capfd, fault)
    stops = fault in ("damaged-image", "refused-text", "all-missing", "not-json", "no-list")
    assert code == int(stops), said
    assert NAME not in said
    for path in (tmp_path / "out").rglob("*"):
        assert NAME not in path.name
        closed = not path.is_file() or not path.stat().st_mode & 0o077 or path.name.startswith("tokenizer")
        assert closed or NAME.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("fault", ["damaged-image", "refused-text"])
def test_values_are_shown_when_asked_for(tmp_path: Path, capfd: pytest.CaptureFixture[str], fault: str) -> None:
    code, said = train(data(tmp_path, fault), capfd, fault, "--show-values")
    assert (code, NAME in said) == (1, True)
