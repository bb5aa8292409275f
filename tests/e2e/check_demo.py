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


def values(folder: Path) -> dict[str, float]:
    scores = json.loads((folder / "scores.json").read_text())
    return {name: score["value"] for name, score in scores["metrics"].items()}


def test_the_model_sees() -> None:
    scores = json.loads((DEMO / "evaluate" / "scores.json").read_text())
    model = values(DEMO / "evaluate")
    every = {name: baseline["finding_f1_macro"]["value"] for name, baseline in scores["baselines"].items()}
    assert set(every) == {"normal", "shuffled", "frequent", "medoid", "nearest", "nearest_features"}
    assert model["finding_f1_macro"] >= max(every.values()) + 0.1, every
    baselines = {name: every[name] for name in ("normal", "shuffled", "frequent", "nearest")}  # without the model
    assert model["finding_f1_macro"] >= max(baselines.values()) + 0.25, baselines
    assert model["finding_f1_macro"] >= 0.70
    assert model["finding_f1_macro_9"] >= 0.80
    # One seed gives another model on another processor (0.71 and 0.59 were seen), so the interval must reach the mark.
    assert scores["metrics"]["finding_f1_nodule"]["ci95"][1] >= 0.60
    nodule = {name: scores["baselines"][name]["finding_f1_nodule"]["value"] for name in baselines}
    assert model["finding_f1_nodule"] >= max(nodule.values()) + 0.1, nodule
    assert model["finding_side_accuracy"] >= 0.90


def test_the_lateral_tells_the_depth() -> None:
    both, frontal = values(DEMO / "evaluate"), values(DEMO / "other" / "frontal")
    assert both["finding_lobe_accuracy"] >= 0.85
    assert both["finding_depth_accuracy"] >= 0.90
    alone = json.loads((DEMO / "other" / "frontal" / "scores.json").read_text())["metrics"]["finding_depth_accuracy"]
    assert alone["ci95"][0] <= 0.5, "the frontal alone should not tell the depth better than chance"
    assert frontal["finding_depth_accuracy"] <= 0.75
    limits = json.loads((DEMO / "evaluate" / "scores.json").read_text())["limits"]
    assert {"optimum", "linear_probe", "linear_probe_auc", "blind", "linear_probe_over_blind"} <= set(limits)


def test_the_page_is_there_and_whole() -> None:
    page = (DEMO / "evaluate" / "report.html").read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>")
    assert "<svg" in page
    assert "labels read from the training reports" in page
    assert "data:image/" in page
    assert 'href="../other/compare/compare.html"' in page
    assert (DEMO / "other" / "compare" / "compare.html").is_file()
    assert "http://" not in page.replace("http://www.w3.org", "")
