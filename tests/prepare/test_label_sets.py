from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from cxrgen.core.records import read_studies


def table(folder: Path, write_image: Callable[..., Path], write_table: Callable[..., Path], texts: bool) -> Path:
    rows = []
    for number in range(20):
        write_image(folder / f"{number}.png", number)
        text = "No effusion." if texts and number == 0 else ""
        rows.append([str(number), f"p{number // 2}", f"{number}.png", "PA", text, number % 2, "" if number == 3 else 0])
    columns = ["study_id", "patient_id", "image", "view", "findings", "Pleural Effusion", "Pneumonia"]
    return write_table(folder / "labels.csv", columns, rows)


def test_labels_without_text_are_split_by_patient_and_kept(
    tmp_path: Path, write_image: Callable[..., Path], write_table: Callable[..., Path], prepare: Callable[..., object]
) -> None:
    source = table(tmp_path, write_image, write_table, texts=False)
    status, said = prepare(source, "--out", tmp_path / "out", "--valid-share", "0.2", "--test-share", "0.2")  # type: ignore[misc]
    assert status == 0, said
    assert "no study has a report: a set of labels" in said
    studies = read_studies(tmp_path / "out")
    splits = {split: {study.subject_id for study in studies if study.split == split} for split in ("train", "valid")}
    assert len(studies) == 20
    assert splits["train"]
    assert splits["valid"]
    assert not splits["train"] & splits["valid"]
    assert all(study.report is None for study in studies)
    of_three = next(study.labels for study in studies if study.study_id == "3")
    assert of_three == {"Pleural Effusion": 1}  # what a table does not say is unknown
    assert json.loads((tmp_path / "out" / "train.json").read_text()) == []


def test_one_text_makes_it_a_set_of_reports(
    tmp_path: Path, write_image: Callable[..., Path], write_table: Callable[..., Path], prepare: Callable[..., object]
) -> None:
    source = table(tmp_path, write_image, write_table, texts=True)
    status, said = prepare(source, "--out", tmp_path / "out", "--max-rejects", "1", "--test-share", "0")  # type: ignore[misc]
    assert status == 0, said
    assert [study.study_id for study in read_studies(tmp_path / "out")] == ["0"]
    assert "text-empty 19" in said
