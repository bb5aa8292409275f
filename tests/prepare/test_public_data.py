"""Real images and real texts by the documented commands; skipped where the public data folder is not there."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from cxrgen.core.records import read_studies

Prepare = Callable[..., tuple[int, str]]


def test_real_images_with_short_texts(shared: Path, tmp_path: Path, prepare: Prepare) -> None:
    """The command of docs/sources.md."""
    source, out = shared / "data" / "real_cxr" / "reports.csv", tmp_path / "out"
    code, said = prepare(source, "--map", "findings=notes_imaging", "--out", out, "--max-rejects", "60%")
    assert code == 0, said
    with open(source, encoding="utf-8", newline="") as file:
        rows = {row["study_id"]: row for row in csv.DictReader(file)}
    studies = read_studies(out)
    with open(out / "rejects.csv", encoding="utf-8", newline="") as file:
        rejects = Counter(row["code"] for row in csv.DictReader(file))
    assert len(studies) + sum(rejects.values()) == len(rows) == 336
    assert set(rejects) == {"text-empty", "no-frontal"}
    splits: dict[str, set[str]] = {}
    for study in studies:
        row = rows[study.study_id]
        splits.setdefault(study.subject_id, set()).add(study.split)
        assert study.subject_id == row["patient_id"]
        assert len(study.views) == len({view.sha256 for view in study.views}) >= len(row["images"].split(";")) - 1
        assert study.report == (" ".join(row["notes_imaging"].split()) or None)
        assert study.split == "test" or study.report
        for view in study.views:
            with Image.open(out / view.path) as image:
                assert (image.mode, image.size) == ("L", (view.width, view.height))
    assert all(len(each) == 1 for each in splits.values())
    assert not any(row["notes_imaging"][:30] in said for row in rows.values() if row["notes_imaging"])


def test_real_texts_alone(shared: Path, tmp_path: Path, prepare: Prepare) -> None:
    out = tmp_path / "out"
    code, said = prepare(shared / "data" / "openi_reports", "--out", out)
    assert code == 0, said
    assert "a set of texts alone" in said
    studies = read_studies(out)
    assert len(studies) == 1000
    assert all(study.report for study in studies)
    card = json.loads((out / "card.json").read_text())
    assert 0.1 < card["texts"]["blanks (___ or XXXX)"] < 0.6
    assert card["sections"]["findings"] == {"train": 800, "valid": 100, "test": 100}
