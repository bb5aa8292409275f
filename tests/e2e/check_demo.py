"""What `make demo` must have left behind. Not collected by name: .ci/run calls it after the demo."""

from __future__ import annotations

import csv
import json
from pathlib import Path

DEMO = Path(__file__).parents[2] / "runs" / "demo"


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_two_csvs() -> None:
    pred, truth = rows(DEMO / "generate" / "pred.csv"), rows(DEMO / "generate" / "gt.csv")
    assert [row["study_id"] for row in pred] == [row["study_id"] for row in truth]
    assert len(pred) == 200
    assert all(row["report"].strip() for row in pred + truth)


def test_the_model_sees() -> None:
    scores = json.loads((DEMO / "evaluate" / "scores.json").read_text())
    model = scores["metrics"]["finding_f1_macro"]["value"]
    floors = {name: floor["finding_f1_macro"]["value"] for name, floor in scores["floors"].items()}
    assert set(floors) >= {"normal", "shuffled", "frequent", "nearest"}
    assert model >= 0.80
    assert model >= max(floors.values()) + 0.25, floors


def test_the_page_is_there_and_whole() -> None:
    page = (DEMO / "evaluate" / "report.html").read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>")
    assert "<svg" in page
    assert "data:image/" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
