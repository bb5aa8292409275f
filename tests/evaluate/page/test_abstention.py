"""Thresholds of confidence, the error that is measured at each, and the curve on the page."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from cxrgen.cli import main
from cxrgen.evaluate.page.abstention import kept_by_threshold

RIGHT, WRONG = "Small left pleural effusion.", "The lungs are clear."


def test_equal_confidences_stay_together() -> None:
    kept = kept_by_threshold([0.1, 0.5, 0.5, 0.5, 0.9, 0.9], (1.0, 0.5, 0.2))
    assert {threshold: int(mask.sum()) for threshold, mask in kept.items()} == {0.1: 6, 0.5: 5, 0.9: 2}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Forty studies; the less sure half has the wrong report in two of three cases, the other in none."""
    pred, gt = tmp_path / "pred.csv", tmp_path / "gt.csv"
    with open(pred, "w", newline="") as one, open(gt, "w", newline="") as other:
        predictions, references = csv.writer(one), csv.writer(other)
        predictions.writerow(("study_id", "report", "confidence"))
        references.writerow(("study_id", "report"))
        for number in range(40):
            wrong = number < 20 and number % 3 < 2
            predictions.writerow((f"{number:02}", WRONG if wrong else RIGHT, f"{number / 40:.4f}"))
            references.writerow((f"{number:02}", RIGHT))
    return pred, gt


def test_the_error_falls_with_the_coverage(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "scores"
    assert main(["evaluate", "--pred", str(files[0]), "--gt", str(files[1]), "--out", str(out)]) == 0
    content = json.loads((out / "scores.json").read_text())
    rows = content["abstention"]
    assert [row["n"] for row in rows] == [40, 36, 32, 28, 24, 20]
    assert rows[-1]["threshold"] == pytest.approx(0.5)
    similar = [row["metrics"]["rule_similarity"]["value"] for row in rows]
    assert similar == sorted(similar)
    assert similar[-1] == 1.0
    assert similar[0] == content["metrics"]["rule_similarity"]["value"]
    page = (out / "report.html").read_text()
    assert "Leaving out unsure reports" in page
    assert not any("not used" in note for note in content["notes"])


def test_without_numbers_there_is_no_panel(files: tuple[Path, Path], tmp_path: Path) -> None:
    text = files[0].read_text().replace("0.5000", "high")
    files[0].write_text(text)
    out = tmp_path / "scores"
    assert main(["evaluate", "--pred", str(files[0]), "--gt", str(files[1]), "--out", str(out)]) == 0
    assert "abstention" not in json.loads((out / "scores.json").read_text())
    assert "Leaving out unsure reports" not in (out / "report.html").read_text()
