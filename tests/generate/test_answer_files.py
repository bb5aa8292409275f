"""Reports as CSV or as ReXrank's JSON, and that `cxrgen evaluate` gives the same scores of both."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from cxrgen.cli import main
from cxrgen.core.records import FRONTAL, Study, View, write_studies


@pytest.fixture
def reported(tmp_path: Path) -> Path:
    """A set of four training studies and four to report on, one of which has no reference."""
    texts = ["Heart normal. \u2265 2 cm.", 'Left "effusion".\nEdema.', "Lungs clear.", "Lungs clear."]
    studies = []
    for number in range(8):
        split = "train" if number < 4 else "test"
        report = None if number == 7 else f"{texts[number % 4]} Number {number}."
        views = (View(f"images/{number}.png", FRONTAL),)
        studies.append(Study(f"00{number}", f"p{number}", split, views=views, report=report))
    write_studies(tmp_path / "set" / "studies.parquet", studies)
    return tmp_path


def generate(folder: Path, ending: str, *more: str) -> int:
    files = ["--answers-file-pred", str(folder / f"pred.{ending}"), "--answers-file-gt", str(folder / f"gt.{ending}")]
    return main(["generate", "--baseline", "frequent", "--question-file", str(folder / "set"), *files, *more])


def scored(folder: Path, pred: str, gt: str) -> dict[str, Any]:
    given = ["--pred", str(folder / pred), "--gt", str(folder / gt), "--out", str(folder / "out"), "--metrics", "bleu"]
    assert main(["evaluate", *given, "--allow-missing"]) == 0
    content: dict[str, Any] = json.loads((folder / "out" / "scores.json").read_text())
    return {"n": content["n"], "left_out": content["left_out"], "metrics": content["metrics"]}


def test_rexranks_json_is_scored_as_the_csv_is(reported: Path) -> None:
    assert generate(reported, "csv") == 0
    assert generate(reported, "json", "--answers-format", "rexrank") == 0
    content = json.loads((reported / "pred.json").read_text(encoding="utf-8"))
    assert list(content) == ["004", "005", "006", "007"]
    assert content["004"]["image_path"] == ["images/4.png"]
    assert content["004"]["report"].startswith("Heart normal. \u2265 2 cm.")
    assert content["004"]["model_prediction"]
    assert "report" not in content["007"]
    assert list(json.loads((reported / "gt.json").read_text())) == ["004", "005", "006"]
    assert {stat.S_IMODE((reported / f"{name}.json").stat().st_mode) for name in ("pred", "gt")} == {0o600}
    expected = scored(reported, "pred.csv", "gt.csv")
    assert expected["n"] == 3
    assert scored(reported, "pred.json", "gt.json") == expected
    assert scored(reported, "pred.json", "pred.json") == expected, "one file holds both"


def test_a_name_that_says_another_format_is_refused(reported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(reported, "csv", "--answers-format", "rexrank") == 2
    assert "pred.csv: --answers-format rexrank writes JSON" in capsys.readouterr().err
    assert generate(reported, "json") == 2
    assert "for ReXrank's JSON give --answers-format rexrank" in capsys.readouterr().err
    assert not list(reported.glob("pred.*"))


def test_a_model_writes_rexranks_json(model: Path, prepared: Path, tmp_path: Path) -> None:
    given = ["--model-name", str(model), "--question-file", str(prepared), "--max-new-tokens", "5"]
    for ending, form in (("csv", "csv"), ("json", "rexrank")):
        files = ["--answers-file-pred", str(tmp_path / f"pred.{ending}"), "--answers-format", form]
        assert main(["generate", *given, *files]) == 0
    lines = (tmp_path / "pred.csv").read_text().count("\n") - 1
    content = json.loads((tmp_path / "pred.json").read_text())
    assert len(content) == lines == 14
    assert all(study["image_path"] and "model_prediction" in study for study in content.values())
    assert sum("report" in study for study in content.values()) == 11
