from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image, UnidentifiedImageError

from cxrgen.cli import main
from cxrgen.core.errors import InputError
from cxrgen.core.tables import read_csv
from cxrgen.phantom.bad_inputs.cases import CASES


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("broken")
    assert main(["phantom", "--out", str(folder), "--broken"]) == 0
    return folder


def listed(folder: Path) -> list[dict[str, str]]:
    with open(folder / "broken.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): f"{path.is_symlink()} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_case_is_a_folder_that_differs_from_the_good_one(broken: Path) -> None:
    rows = listed(broken)
    assert {row["case"] for row in rows} == {path.name for path in broken.iterdir() if path.is_dir()}
    good = content(broken / "00-good")
    for row in rows[1:]:
        same = content(broken / row["case"]) == good
        assert same == (row["case"] == "48-no-target"), row["case"]


def test_what_is_listed(broken: Path) -> None:
    rows = listed(broken)
    assert max(Counter(row["case"] for row in rows).values()) == 1
    assert {row["reaction"] for row in rows} == {"keep", "note", "reject", "stop"}
    assert all(row["code"] for row in rows if row["reaction"] == "reject")
    numbers = {case.number for case in CASES}
    assert numbers == set(range(1, 51)) - {47}  # an interruption is no file


@pytest.mark.parametrize("case", ["02-image-empty", "03-truncated-png", "04-web-page", "13-huge"])
def test_these_images_cannot_be_read(broken: Path, case: str) -> None:
    study = listed(broken)[0]["study_id"]
    with pytest.raises((UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError)):
        Image.open(broken / case / "images" / f"{study}-0001.png").load()


@pytest.mark.parametrize("case", ["28-open-quote", "29-extra-field"])
def test_these_tables_cannot_be_read(broken: Path, case: str) -> None:
    with pytest.raises(InputError):
        read_csv(broken / case / "train.csv")


@pytest.mark.parametrize(
    ("case", "note"), [("24-semicolons", "semicolons"), ("25-utf-16", "utf-16"), ("26-cp1252", "cp1252")]
)
def test_these_tables_are_read_with_a_note(broken: Path, case: str, note: str) -> None:
    table = read_csv(broken / case / "train.csv")
    assert note in " ".join(table.notes)
    assert len(table.rows) == len(read_csv(broken / "00-good" / "train.csv").rows)


def test_a_second_run_writes_the_same(broken: Path, tmp_path: Path) -> None:
    assert main(["phantom", "--out", str(tmp_path), "--broken"]) == 0
    assert content(tmp_path) == content(broken)
