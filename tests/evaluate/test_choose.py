"""`cxrgen choose`: from several files of candidates to one report a study."""

from __future__ import annotations

import csv
import json
import stat
from pathlib import Path

import pytest

from cxrgen.cli import main

CLEAR, SAME, EDEMA = "The lungs are clear.", "The lungs are clear. No effusion.", "Pulmonary edema."


def write(path: Path, studies: dict[str, list[str]], **more: object) -> Path:
    records = [{"study_id": name, "samples": texts, **more} for name, texts in studies.items()]
    path.write_text("\n".join(map(json.dumps, records)) + "\n", encoding="utf-8")
    return path


def chosen(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_candidates_of_several_files_are_put_together(tmp_path: Path) -> None:
    one = write(tmp_path / "a.jsonl", {"01": [EDEMA, CLEAR], "2": [EDEMA, EDEMA]})
    other = write(tmp_path / "b.jsonl", {"2": [EDEMA], "01": [SAME]})
    out = tmp_path / "pred.csv"
    assert main(["choose", str(one), str(other), "--utility", "rouge_l", "--out", str(out)]) == 0
    rows = chosen(out)
    assert [(row["study_id"], row["report"]) for row in rows] == [("01", SAME), ("2", EDEMA)]
    assert rows[1]["confidence"] == "1.0000"
    assert 0.2 < float(rows[0]["confidence"]) < 0.6
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_less_sure_studies_are_left_out_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "a.jsonl", {"1": [EDEMA, CLEAR], "2": [EDEMA, EDEMA]})
    out = tmp_path / "pred.csv"
    command = ["choose", str(file), "--utility", "rouge_l", "--out", str(out), "--min-confidence"]
    assert main([*command, "0.9"]) == 0
    assert [row["study_id"] for row in chosen(out)] == ["2"]
    assert chosen(tmp_path / "pred.csv.unsure.csv") == [{"study_id": "1", "confidence": "0.0000"}]
    assert main([*command, "1.5"]) == 2
    assert "the highest is 1.0000" in capsys.readouterr().err


def test_the_likeliest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "a.jsonl", {"1": [EDEMA, CLEAR]}, log_probabilities=[-0.7, -0.1])
    out = tmp_path / "pred.csv"
    assert main(["choose", str(file), "--choose", "likeliest", "--out", str(out)]) == 0
    assert chosen(out) == [{"study_id": "1", "report": CLEAR, "confidence": "0.9048"}]
    assert main(["choose", str(file), "--choose", "likeliest", "--utility", "rule", "--out", str(out)]) == 2
    bare = write(tmp_path / "b.jsonl", {"1": [EDEMA, CLEAR]})
    assert main(["choose", str(bare), "--choose", "likeliest", "--out", str(out)]) == 1
    assert "without log-probabilities" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty|no study in it"),
        ('{"study_id": "1"}', 'line 1: needs "study_id" and "samples"'),
        ('{"study_id": "1", "samples": ["a"]}\n{"study_id": "1", "samples": ["a"]}', "line 2: its study came before"),
        ('{"study_id": 1, "samples": ["a"]}', "line 1: needs"),
        ('{"study_id": "1", "samples": ["a"], "log_probabilities": [1, 2]}', "line 1: needs"),
        ('{"study_id": "1", "samples": ["SECRET"]}', "at least 2"),
        ("no json", "not JSON"),
    ],
)
def test_files_that_cannot_be_used(
    tmp_path: Path, content: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(content, encoding="utf-8")
    assert main(["choose", str(file), "--out", str(tmp_path / "pred.csv")]) == 1
    error = capsys.readouterr().err
    assert any(part in error for part in message.split("|"))
    assert "SECRET" not in error
    assert not (tmp_path / "pred.csv").exists()


def test_files_about_other_studies_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write(tmp_path / "a.jsonl", {"1": [EDEMA, CLEAR], "2": [EDEMA]})
    other = write(tmp_path / "b.jsonl", {"1": [EDEMA], "3": [EDEMA]})
    assert main(["choose", str(one), str(other), "--out", str(tmp_path / "pred.csv")]) == 1
    assert "1 studies of" in capsys.readouterr().err


def test_a_utility_with_weights_says_what_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "a.jsonl", {"1": [EDEMA, CLEAR]})
    assert main(["choose", str(file), "--utility", "sum", "--out", str(tmp_path / "pred.csv")]) == 1
    assert "give its folder with --encoder" in capsys.readouterr().err
