"""What a dry run says of a table: fields by name and by content, lengths and no cells, and a --map line that works."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrgen.core.errors import InputError
from cxrgen.core.records import read_studies
from cxrgen.core.tables import missing_column
from cxrgen.sources.column_table import is_header
from cxrgen.sources.rows import map_columns

Prepare = Callable[..., tuple[int, str]]
Write = Callable[..., Path]
TEXT = "FINDINGS: Synthetic lungs {} are clear. IMPRESSION: Synthetic chest {}."


def test_headers_of_a_hospital_are_names(tmp_path: Path, write_table: Write, prepare: Prepare) -> None:
    columns = ("Exam No.", "Sex/Gender", "Findings/Impression", "Patient Age")
    rows = [(f"E{number}", "F", TEXT.format(number, number), 50 + number) for number in range(20)]
    table = write_table(tmp_path / "ris.csv", columns, rows)
    code, said = prepare(table, "--out", tmp_path / "p", "--dry-run")
    assert code == 0, said
    assert "1 Exam No. -> study_id (by name), 3 characters" in said
    assert "2 Sex/Gender -> sex (by name), 1 characters" in said
    assert f"3 Findings/Impression -> report (by name), {len(TEXT.format(10, 10))} characters" in said
    assert "4 Patient Age -> age (by name), 2 characters" in said
    assert "Synthetic" not in said
    assert not (tmp_path / "p").exists()
    for column in columns:
        assert "read like data" not in str(missing_column("t", "for image", "image", [column]))


@pytest.mark.parametrize(
    "data", ["The lungs are clear. No effusion.", "images/a/1.png", "Doe^Jane", "20200101", "a.png"]
)
def test_a_row_of_data_is_no_header(data: str) -> None:
    assert "read like data" in str(missing_column("t", "for image", "image", ["1", data]))


def test_the_map_line_is_ready_when_nothing_was_recognised(
    tmp_path: Path, write_table: Write, write_image: Write, prepare: Prepare
) -> None:
    rows = []
    for number in range(20):
        write_image(tmp_path / f"{number}.png", number)
        rows.append((f"E{number}", "PA", f"{number}.png", TEXT.format(number, number), "F"))
    table = write_table(tmp_path / "t.csv", ("colA", "colB", "Mustermann", "colD", "colE"), rows)
    code, said = prepare(table, "--out", tmp_path / "p", "--dry-run")
    assert code == 1, "nothing can be read by these names"
    assert "Mustermann" not in said
    assert "3 (name not shown) -> image (a guess), 6 characters" in said
    line = next(line for line in said.splitlines() if line.startswith("to take the guesses: "))
    words = shlex.split(line.removeprefix("to take the guesses: "))
    assert words[1::2] == ["study_id=#1", "view=#2", "image=#3", "report=#4", "sex=#5"]
    code, said = prepare(table, "--out", tmp_path / "p", *words)
    assert code == 0, said
    studies = read_studies(tmp_path / "p")
    assert (studies[3].report, studies[3].sex) == ("Synthetic lungs 3 are clear. Synthetic chest 3.", "F")
    assert [view.view for view in studies[3].views] == ["frontal"]


def test_a_table_without_text_says_how_to_name_one(tmp_path: Path, write_table: Write, prepare: Prepare) -> None:
    table = write_table(tmp_path / "t.csv", ("id", "image"), [("1", "a.png")])
    _, said = prepare(table, "--out", tmp_path / "p", "--dry-run")
    assert "no column looks like report text: --map report=#NUMBER names one by its number" in said


def test_columns_by_number_and_by_letters() -> None:
    columns = ["Study ID", "x", "View-Position"]
    assert map_columns(columns, {"report": "#2"}, "t") == {
        "report": "x",
        "study_id": "Study ID",
        "view": "View-Position",
    }
    with pytest.raises(InputError, match="the table has 3 columns"):
        map_columns(columns, {"report": "#4"}, "t")


def test_only_words_of_headers_are_shown() -> None:
    assert all(map(is_header, ("Exam No.", "StudyInstanceUID", "Report_Text", "Datum", "PATIENT ID")))
    assert not any(map(is_header, ("Mustermann", "Patient Mustermann", "12345", "", "reportMustermann")))
    assert is_header("Befund")
