"""A name planted in ids, image paths and texts of questions stays off the screen and out of open files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cxrgen.cli import main

NAME = "Mustermann"
FAULTS = (
    "none", "no-image", "damaged-image", "folder-as-image", "no-id", "id-doubled", "speaker", "image-count",
    "long-text", "all-missing", "not-json", "no-list",
)  # fmt: skip


def item(number: int) -> dict[str, Any]:
    turns = [{"from": "human", "value": f"{NAME}?\n<image>"}, {"from": "gpt", "value": f"{NAME} is well."}]
    return {"id": f"{NAME} {number}", "image": f"{NAME}/{number}.png", NAME: NAME, "conversations": turns}


def questions(folder: Path, prepared: Path, fault: str) -> Path:
    (folder / NAME).mkdir()
    items = [item(number) for number in range(3)]
    for number in range(3):
        shutil.copy(prepared / f"images/{number:03}-frontal.png", folder / NAME / f"{number}.png")
    image = folder / NAME / "1.png"
    if fault in ("no-image", "folder-as-image"):
        image.unlink()
    if fault == "folder-as-image":
        image.mkdir()
    if fault == "damaged-image":
        image.write_bytes(image.read_bytes()[:200])
    if fault == "all-missing":
        shutil.rmtree(folder / NAME)
    if fault == "no-id":
        del items[1]["id"]
    if fault == "id-doubled":
        items[1]["id"] = items[0]["id"]
    if fault == "speaker":
        items[1]["conversations"][0]["from"] = NAME
    if fault == "image-count":
        items[1]["image"] = [f"{NAME}.png", NAME]
    if fault == "long-text":
        items[1]["conversations"][0]["value"] += f" {NAME}" * 5000
    text = json.dumps({NAME: NAME} if fault == "no-list" else items)
    (folder / "q.json").write_text(text + (NAME if fault == "not-json" else ""))
    return folder / "q.json"


def generate(model: Path, file: Path, capfd: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    out = file.parent / "out"
    files = ["--question-file", file, "--answers-file-pred", out / "pred.csv", "--answers-file-gt", out / "gt.csv"]
    code = main(["generate", "--model-name", str(model), *map(str, files), "--max-new-tokens", "4", *more])
    said = capfd.readouterr()
    return code, said.out + said.err


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_name_stays_in_private_files(
    model: Path, prepared: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], fault: str
) -> None:
    code, said = generate(model, questions(tmp_path, prepared, fault), capfd)
    assert code == (0 if fault == "none" else 1 if fault in ("all-missing", "not-json", "no-list") else 3), said
    assert NAME not in said
    for path in (tmp_path / "out").glob("*"):
        assert NAME not in path.name
        assert not path.stat().st_mode & 0o077 or NAME.encode() not in path.read_bytes()


def test_values_are_shown_when_asked_for(
    model: Path, prepared: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, said = generate(model, questions(tmp_path, prepared, "all-missing"), capfd, "--show-values")
    assert (code, NAME in said) == (1, True)


def test_images_that_were_typed_are_named(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "typed.png").write_bytes(b"\x89PNG")
    for name in ("typed.png", "absent.png"):
        assert main(["generate", "--model-name", str(model), "--images", str(tmp_path / name)]) == 1
        assert name in capfd.readouterr().err
