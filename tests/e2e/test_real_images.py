"""Real images from prepare to page, by the commands that docs/results.md prints, with few steps."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from cxrgen.cli import main

pytestmark = pytest.mark.slow


def test_real_images_from_prepare_to_page(shared: Path, tmp_path: Path) -> None:
    def run(*words: object) -> None:
        assert main([str(word) for word in words]) == 0

    prepared, model = tmp_path / "prepared", tmp_path / "model"
    table = shared / "data" / "real_cxr" / "reports.csv"
    run("prepare", table, "--map", "findings=notes_imaging", "--max-rejects", "60%", "--out", prepared)
    few = ("--tower_steps", 2, "--text_steps", 2, "--max_steps", 3, "--vocabulary", 500)
    run("train", "tiny", "--data_path", prepared, "--output_dir", model, *few)
    pred, gt, nearest = (tmp_path / f"{name}.csv" for name in ("pred", "gt", "nearest"))
    questions = ("--question-file", prepared)
    most = ("--max-new-tokens", 30)
    run("generate", "--model-name", model, *questions, "--answers-file-pred", pred, "--answers-file-gt", gt, *most)
    run("generate", "--baseline", "nearest", *questions, "--answers-file-pred", nearest)
    scores = tmp_path / "scores"
    pairs = ("--pred", pred, "--gt", gt, "--studies", prepared, "--allow-missing")  # half have images alone
    run("evaluate", *pairs, "--baseline", f"nearest={nearest}", "--out", scores)

    content = json.loads((scores / "scores.json").read_text())
    assert content["n"] >= 15
    assert content["patients"] < content["n"]  # split and resampled by patient, of whom some have several studies
    assert {"normal", "shuffled", "nearest"} == set(content["baselines"])
    page = (scores / "report.html").read_text(encoding="utf-8")
    assert "data:image/" in page
    with open(gt, encoding="utf-8", newline="") as file:
        assert all(row["report"].strip() for row in csv.DictReader(file))
