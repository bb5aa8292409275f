"""Sex and age: read from what tables and tags write, shown to others only up to 90."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cxrgen.sources import SourceOptions, detect_source, read
from cxrgen.sources.demographics import age_in_year, read_age, read_sex, shown_age

Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("58", 58), ("58.0", 58), (" 058Y ", 58), ("58 years", 58), ("006M", 0), ("018M", 1), ("012W", 0), ("400D", 1),
        ("0", 0), ("90+", 90), (">89", 90), ("> 90", 90), ("103", 103),
        ("", None), ("old", None), ("-1", None), ("121", None), ("40-50", None), ("19500101", None), ("___", None),
    ],
)  # fmt: skip
def test_ages(text: str, years: int | None) -> None:
    assert read_age(text) == years


def test_sexes_and_ages_by_year_of_birth() -> None:
    assert [read_sex(word) for word in ("F", " Female ", "m", "MALE", "O", "", "F/M", "unknown")] == [
        "F", "F", "M", "M", "O", "", "", "",
    ]  # fmt: skip
    assert age_in_year("1950.0", "20140915") == 64
    assert age_in_year("1950", "") is age_in_year("", "20140915") is age_in_year("2020", "20140915") is None
    assert [shown_age(age) for age in (None, 0, 89, 90, 103)] == [None, 0, 89, 90, 90]


def people(path: Path, **columns: str) -> list[tuple[str, int | None]]:
    studies = read(detect_source(path)[0], path, SourceOptions(columns=columns)).studies
    return [(study.sex, study.age) for study in studies]


def test_tables(tmp_path: Path, write_table: Write) -> None:
    columns = ("path_to_image", "deid_patient_id", "section_findings", "split", "sex", "age")
    rows = [
        (f"train/patient{n}/study1/view1_frontal.jpg", f"patient{n}", "S.", "train", sex, age)
        for n, (sex, age) in enumerate([("Female", "67"), ("Male", "90"), ("Unknown", "")])
    ]
    chexpert = write_table(tmp_path / "chexpert.csv", columns, rows)
    assert people(chexpert) == [("F", 67), ("M", 90), ("", None)]
    columns = ("ImageID", "StudyID", "Projection", "StudyDate_DICOM", "PatientBirth", "PatientSex_DICOM", "Report")
    rows = [("a.png", "S1", "PA", "20140915", "1950.0", "M", "s ."), ("b.png", "S2", "PA", "20140915", "", "", "s .")]
    assert people(write_table(tmp_path / "padchest.csv", columns, rows)) == [("M", 64), ("", None)]
    columns = ("id", "PatientID", "ImagePath", "Indication", "Comparison", "Findings", "Impression", "PatientSex")
    row = ("S1", "P1", "a.png", "", "", "S.", "", "F", "045Y")
    assert people(write_table(tmp_path / "train_rex.csv", (*columns, "PatientAge"), [row])) == [("F", 45)]
    own = write_table(
        tmp_path / "own.csv", ("study", "image", "befund", "wer", "alt"), [("1", "a.png", "S.", "w", "7")]
    )
    assert people(own, sex="wer", age="alt") == [("F", 7)]


def test_rows_of_a_study_complete_each_other(tmp_path: Path, write_table: Write) -> None:
    rows = [("1", "a.png", "", ""), ("1", "b.png", "F", "0"), ("1", "c.png", "M", "58")]
    assert people(write_table(tmp_path / "t.csv", ("study_id", "image", "sex", "age"), rows)) == [("F", 0)]
