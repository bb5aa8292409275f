from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrgen.ablate.run import Arm, arms_of, limits_of
from cxrgen.cli import main
from cxrgen.core.records import FRONTAL, LATERAL, Study, View, write_studies
from cxrgen.phantom.write import write_phantoms

FULL = Arm("all", ("indication", "prior-report"))


@pytest.mark.parametrize(
    ("which", "names"),
    [
        ("without-one", ["all.none", "all.prior-report", "all.indication", *["frontal", "lateral"]]),
        ("one", ["all.none", "all.indication", "all.prior-report", *["frontal", "lateral"]]),
    ],
)
def test_the_arms(which: str, names: list[str]) -> None:
    whole = ".indication+prior-report"
    assert [arm.name for arm in arms_of(FULL, which)] == [name if "." in name else name + whole for name in names]
    assert len(set(arms_of(FULL, "all"))) == 3 * 4


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    Image.fromarray(np.zeros((32, 32), dtype=np.uint8)).save(tmp_path / "a.png")
    both = (View("a.png", FRONTAL), View("a.png", LATERAL))
    studies = []
    for number in range(12):
        split = "train" if number % 2 else "test"
        views = both if number < 8 else both[:1]  # some studies have no lateral
        text = f"Small effusion. Number {number}."
        studies.append(Study(str(number), f"p{number}", split, "20200101", views, {"indication": "Cough."}, text))
    write_studies(tmp_path / "studies.parquet", studies)
    return tmp_path


@pytest.mark.slow
def test_each_arm_is_scored_and_compared_with_everything(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("--vocabulary", "100", "--image_size", "32", "--image_tokens", "2", "--layers", "1", "--hidden_size", "32")
    model, out = prepared / "model", prepared / "ablation"
    where = ("--data_path", str(prepared), "--output_dir", str(model), "--max_steps", "2", "--heads", "2")
    assert main(["train", *where, *small, "--context_dropout", "0.5"]) == 0
    ask = ["ablate", str(model), str(prepared), "--out", str(out), "--max-new-tokens", "4"]
    assert main(ask) == 0, capsys.readouterr().err
    rows = list(csv.DictReader((out / "ablation.csv").open(encoding="utf-8")))
    arms = ["all.indication", "all.none", "frontal.indication", "lateral.indication"]
    assert [row["arm"] for row in rows] == arms
    scores = json.loads((out / "all.none" / "scores.json").read_text())["metrics"]
    assert float(rows[1]["bleu_4"]) == pytest.approx(scores["bleu_4"]["value"], abs=0.001)
    assert len((out / "lateral.indication" / "pred.csv").read_text().splitlines()) == 1 + 4
    assert (out / "compare.html").is_file()
    written = (out / "all.none" / "pred.csv").stat().st_mtime_ns
    assert main([*ask, "--arm", "all:none"]) == 0
    assert (out / "all.none" / "pred.csv").read_text().count("\n") == 7
    assert main([*ask, "--arm", "all:gap"]) == 2
    assert "unknown --arm 'gap'; choose from indication, none" in capsys.readouterr().err
    assert written <= (out / "all.none" / "pred.csv").stat().st_mtime_ns


def test_arms_of_synthetic_studies_stand_beside_what_a_perfect_reader_could_score(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "phantom", 60, 20, seed=1, size=32, workers=1)
    truth, gt = tmp_path / "phantom/findings.csv", tmp_path / "gt.csv"
    gt.write_text((tmp_path / "phantom/truth/test_reports.csv").read_text())
    optimum = {arm: limits_of(truth, gt, arm)["optimum"] for arm in (Arm("all", ()), Arm("all", ("indication",)))}
    nothing, told = optimum.values()
    assert told["finding_cause_accuracy"] == 1 > nothing["finding_cause_accuracy"]
    assert told["finding_change_accuracy"] == nothing["finding_change_accuracy"]
    other = tmp_path / "other.csv"
    other.write_text("study_id,cardiomegaly\n1,1\n")
    assert limits_of(other, gt, FULL) == {}
