"""A study whose DICOM images are of two patients is left out, named by its files, whatever the source."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.imaging.dicoms import image, saved, values

from cxrgen.core.records import read_studies

Prepare = Callable[..., tuple[int, str]]
SECRETS = ("PAT-", "Doe", "Roe")


@pytest.fixture
def mixed(tmp_path: Path, write_table: Callable[..., Path]) -> Path:
    """Four studies of two DICOM images each in the course layout; the images of 0002 are of two patients."""
    folder = tmp_path / "in"
    (folder / "images").mkdir(parents=True)
    rows = []
    for study in range(1, 5):
        for number, view in ((1, "PA"), (2, "LL")):
            name = f"{study:04}-{number:04}.dcm"
            patient = 9 if (study, number) == (2, 2) else study
            pixels = values() // (1 + study) + 31 * number
            tags = {"PatientID": f"PAT-{patient}", "PatientName": "Roe^Mary" if patient == 9 else "Doe^Jane"}
            saved(image(pixels, SOPInstanceUID=f"1.2.{study}.{number}", **tags), folder / "images" / name)
            rows.append((f"images/{name}", view, "train" if study < 4 else "test", f"Synthetic {study}.", "Clear."))
    write_table(folder / "train.csv", ("Path", "ViewPosition", "split", "findings", "impression"), rows)
    return folder


def rejects(out: Path) -> list[dict[str, str]]:
    with open(out / "rejects.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_study_of_two_patients_is_left_out_and_its_files_are_named(
    mixed: Path, tmp_path: Path, prepare: Prepare, workers: int
) -> None:
    status, said = prepare(mixed, "--out", tmp_path / "p", "--max-rejects", "30%", workers=workers)
    assert status == 0, said
    assert [study.study_id for study in read_studies(tmp_path / "p")] == ["0001", "0003", "0004"]
    of_study = next(row for row in rejects(tmp_path / "p") if row["row"] == "study 0002")
    assert of_study["code"] == "duplicate-conflict"
    assert "0002-0001.dcm, 0002-0002.dcm" in of_study["hint"]
    written = (tmp_path / "p" / "rejects.csv").read_text() + said
    assert not any(secret in written for secret in SECRETS)


def test_the_files_are_not_named_where_ids_are_hashed(mixed: Path, tmp_path: Path, prepare: Prepare) -> None:
    prepare(mixed, "--out", tmp_path / "p", "--max-rejects", "30%", "--pseudonyms", tmp_path / "key")
    written = (tmp_path / "p" / "rejects.csv").read_text()
    assert "name several patients" in written
    assert "0002" not in written
