"""Sets whose right scores are known, as users would score them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cxrgen.cli import main
from cxrgen.core.files import write_csv
from cxrgen.core.tables import read_csv


@pytest.fixture(scope="module")
def faults(shared: Path) -> Path:
    folder = shared / "faults" / "metrics"
    if not folder.is_dir():
        pytest.skip("needs the folder faults/metrics of the public data")
    return folder


def scores(pred: Path, gt: Path, out: Path, metrics: str) -> dict[str, Any]:
    assert main(["evaluate", "--pred", str(pred), "--gt", str(gt), "--out", str(out), "--metrics", metrics]) == 0
    return {name: score["value"] for name, score in json.loads((out / "scores.json").read_text())["metrics"].items()}


def test_both_sums_rank_two_systems_the_two_ways_they_are_ranked(faults: Path, tmp_path: Path) -> None:
    folder = faults / "sum_preset"
    right = json.loads((folder / "right_values.json").read_text())
    for system, expected in right.items():
        found = scores(folder / f"{system}.csv", folder / "gt.csv", tmp_path / system, "bleu,bleu.cxr-report-metric")
        named = [found[f"bleu_{order}.cxr-report-metric"] for order in (1, 2, 3, 4)]
        program = expected["CXR-Report-Metric (fast-bleu, mean of studies) BLEU-1..4"]
        assert named == pytest.approx(program, abs=5e-5)
        treebank = sum(found[f"bleu_{order}"] for order in (1, 2, 3, 4))
        assert treebank == pytest.approx(expected["pycocoevalcap with PTB BLEU-1..4 sum"], abs=5e-5)


def test_one_study_has_the_value_of_a_set(faults: Path, tmp_path: Path) -> None:
    folder = faults / "one_study_sacrebleu"
    found = scores(folder / "one_pred.csv", folder / "one_gt.csv", tmp_path / "out", "bleu.sacrebleu")
    assert found["bleu_4.sacrebleu"] == 0


def test_temporal_f1_as_radeval_computes_it(faults: Path, tmp_path: Path) -> None:
    for number, row in enumerate(read_csv(faults / "temporal_f1_radeval.csv").rows):
        for name in ("prediction", "reference"):
            write_csv(tmp_path / f"{name}.csv", ("study_id", "report"), [("s1", row.cells[name])])
        out = tmp_path / str(number)
        found = scores(tmp_path / "prediction.csv", tmp_path / "reference.csv", out, "temporal_f1.radeval")
        assert found["temporal_f1.radeval"] == pytest.approx(float(row.cells["RadEval temporal_f1"]), abs=1e-6)
