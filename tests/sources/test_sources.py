"""The registry, what is recognised as what, and the source that docs/sources.md teaches."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cxrgen import sources
from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.records import read_studies

DOCS = Path(__file__).parents[2] / "docs" / "sources.md"
Prepare = Callable[..., tuple[int, str]]


def test_every_source_is_described() -> None:
    described = DOCS.read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in described for name in sources.SOURCES)


def read_recipe(out: Path) -> dict[str, Any]:
    recipe: dict[str, Any] = json.loads((out / "recipe.json").read_text(encoding="utf-8"))
    return recipe


def test_the_source_of_the_docs_works(
    tmp_path: Path, write_image: Callable[..., Path], prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = re.search(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    module = ModuleType("folders")
    exec(code[1], module.__dict__)
    monkeypatch.setitem(sys.modules, "folders", module)
    monkeypatch.setitem(sources.SOURCES, "folders", "folders")
    for number in range(10):
        write_image(tmp_path / "in" / f"P{number // 2}_S{number}" / "PA.png", number)
        (tmp_path / "in" / f"P{number // 2}_S{number}" / "report.txt").write_text(f"FINDINGS: Synthetic {number}.\n")
    (tmp_path / "in" / "empty").mkdir()
    status, said = prepare(tmp_path / "in", "--out", tmp_path / "out", "--max-rejects", "10%")
    assert status == 0, said
    assert "folders (10 folders with a report.txt)" in said
    studies = read_studies(tmp_path / "out")
    assert studies[3].report == "Synthetic 3."
    assert studies[3].views[0].view == "frontal"
    assert [study.subject_id for study in studies[:3]] == ["P0", "P0", "P1"]
    with open(tmp_path / "out" / "rejects.csv", encoding="utf-8", newline="") as file:
        assert [(row["id"], row["code"]) for row in csv.DictReader(file)] == [("empty", "image-missing")]
    assert read_recipe(tmp_path / "out")["options"]["report_name"] == "report.txt"
    (tmp_path / "in" / "P0_S0" / "letter.txt").write_text("IMPRESSION: Another text.\n")
    words = ("--report-name", "letter.txt", "--max-rejects", "100%")
    assert prepare(tmp_path / "in", "--out", tmp_path / "letters", *words)[0] == 0
    assert "Another text." in [study.report for study in read_studies(tmp_path / "letters")]
    table = tmp_path / "t.csv"
    table.write_text("study_id,findings\n1,Synthetic.\n", encoding="utf-8")
    status, said = prepare(table, "--out", tmp_path / "no", "--report-name", "letter.txt")
    assert (status, "--report-name is an option of folders sources; this one is table" in said) == (2, True)


def test_nothing_is_recognised_by_guessing(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("nothing")
    with pytest.raises(InputError, match="no such file"):
        sources.detect_source(tmp_path / "absent")
    with pytest.raises(InputError, match="no kind of source is recognised"):
        sources.detect_source(tmp_path / "notes.md")
    with pytest.raises(InputError, match="no kind of source is recognised"):
        sources.detect_source(tmp_path)
    with pytest.raises(UsageError, match=r"unknown --kind .dicoms.; choose from auto, course"):
        sources.detect_source(tmp_path, "dicoms")


def test_a_folder_with_one_table_is_that_table(tmp_path: Path, write_table: Callable[..., Path]) -> None:
    columns = ("study_id", "image", "findings")
    write_table(tmp_path / "one.csv", columns, [("1", "a.png", "Synthetic.")])
    assert sources.detect_source(tmp_path) == ("table", "a table with 3 columns")
    assert [study.study_id for study in sources.read("table", tmp_path, sources.SourceOptions()).studies] == ["1"]
    write_table(tmp_path / "two.csv", columns, [])
    with pytest.raises(InputError, match="no kind of source is recognised"):
        sources.detect_source(tmp_path)


@pytest.mark.parametrize("name", ["a.hl7", "a.RTF", "letter.pdf"])
def test_texts_that_are_not_read_beside_images_are_counted(tmp_path: Path, name: str) -> None:
    for file in ("a.png", "b.JPG", name):
        (tmp_path / file).write_bytes(b"x")
    with pytest.raises(InputError, match=r"2 images, 1 texts and no table .* a CSV with a row an image \(study_id"):
        sources.detect_source(tmp_path)
    with pytest.raises(InputError, match="0 images, 1 texts and no table"):
        sources.detect_source(tmp_path / name)


def test_a_folder_as_text_file_is_wrong_usage(
    course: Path, tmp_path: Path, prepare: Callable[..., tuple[int, str]]
) -> None:
    status, said = prepare(course, "--out", tmp_path / "out", "--text-file", course)
    assert (status, "a folder; give a CSV with study_id and report" in said) == (2, True)
    assert not (tmp_path / "out").exists()
