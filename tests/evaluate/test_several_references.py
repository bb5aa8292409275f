"""Several references of a study: columns report_2 and so on, lists in JSON and in Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.evaluate.test_tabular import Frame

from cxrgen.cli import main
from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.files import write_csv
from cxrgen.evaluate import evaluate
from cxrgen.evaluate.pairs import read_pairs
from cxrgen.evaluate.report_files import column_map
from cxrgen.metrics import measure_several

HYPS = {"1": "Small left effusion.", "2": "Heart is normal.", "3": "No edema is seen.", "4": "Lungs clear."}
REFS = {
    "1": ("Large right effusion.", "Small left effusion.", ""),
    "2": ("Normal heart.", "", "Heart size is normal."),
    "3": ("Edema.", "", ""),
    "4": ("", "Lungs are clear.", "Clear lungs."),
}
GIVEN = {name: [text for text in of if text] for name, of in REFS.items()}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    write_csv(tmp_path / "pred.csv", ("study_id", "report"), list(HYPS.items()))
    write_csv(
        tmp_path / "gt.csv", ("study_id", "report", "Report_2", "report_10"), [(k, *of) for k, of in REFS.items()]
    )
    return tmp_path


def run(folder: Path, *more: str) -> int:
    files = [str(folder / name) for name in ("pred.csv", "gt.csv", "out")]
    return main(["evaluate", "--pred", files[0], "--gt", files[1], "--out", files[2], *more])


def scores(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "out" / "scores.json").read_text())
    return content


def test_columns_and_lists_are_the_same_references(files: Path) -> None:
    pairs = read_pairs(files / "pred.csv", files / "gt.csv")
    assert [list(of) for of in pairs.all_references()] == list(GIVEN.values())
    rows = [{"study_id": name, "report": list(REFS[name])} for name in HYPS]
    (files / "gt.json").write_text(json.dumps(rows))
    assert read_pairs(files / "pred.csv", files / "gt.json").all_references() == pairs.all_references()
    (files / "other.csv").write_text((files / "gt.csv").read_text().replace("Report_2", "Reader B"))
    mapped = read_pairs(files / "pred.csv", files / "other.csv", columns=column_map(["report_2=Reader B"]))
    assert mapped.all_references() == pairs.all_references()


def test_all_references_are_scored_and_shown(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files) == 0
    said = capsys.readouterr()
    assert "3 of 4 studies have several references, up to 2; scores use all" in said.err
    assert "left out: flips: it has no definition for several references" in said.err
    found = scores(files)["metrics"]
    for name in ("bleu_1", "rouge_l", "cider"):
        measured = measure_several(name.partition("_")[0], list(HYPS.values()), list(GIVEN.values()))
        assert found[name]["value"] == pytest.approx(float(measured.aggregate(measured.counts.sum(axis=0))[name]))
        assert "references:several" in found[name]["signature"]
    assert found["rule_f1_micro_14"]["signature"].endswith("the fewest false alarms and misses")
    assert "side_flips" not in found
    assert scores(files)["baselines"]["normal"].keys() == found.keys()
    page = (files / "out" / "report.html").read_text()
    assert "<summary>1 further reference</summary><p>Small left effusion.</p>" in page
    assert run(files, "--hide-text") == 0
    assert "Small left effusion." not in (files / "out" / "report.html").read_text()


def test_empty_columns_change_nothing(files: Path) -> None:
    assert run(files) == 0
    write_csv(files / "gt.csv", ("study_id", "report"), [(name, of[0]) for name, of in REFS.items()])
    assert run(files) == 0
    one = scores(files)
    page = (files / "out" / "report.html").read_bytes()
    write_csv(files / "gt.csv", ("study_id", "report", "report_2"), [(name, of[0], " ") for name, of in REFS.items()])
    assert run(files) == 0
    same = scores(files)
    assert same["metrics"] == one["metrics"]
    assert "side_flips" in same["metrics"]
    assert len((files / "out" / "report.html").read_bytes()) == len(page)


def test_a_named_metric_without_a_definition_is_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files, "--metrics", "bleu,flips") == 2
    assert "flips: no definition for several references of a study; leave it out" in capsys.readouterr().err


def test_a_doubled_study_of_the_references_names_the_columns(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open(files / "gt.csv", "a") as file:
        file.write("1,Another.,,\n")
    assert run(files) == 1
    assert "further references of a study go into columns report_2, report_3" in capsys.readouterr().err


def test_a_prediction_is_one_text(files: Path) -> None:
    rows = [(name, text, "other") for name, text in HYPS.items()]
    write_csv(files / "pred.csv", ("study_id", "report", "report_2"), rows)
    pairs = read_pairs(files / "pred.csv", files / "gt.csv")
    assert pairs.hypotheses == tuple(HYPS.values())
    assert any("columns not used: 1" in note for note in pairs.notes)


def test_tables_compared_and_numbers_explained(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "b.csv").write_text((files / "pred.csv").read_text().replace("left", "right"))
    systems = [str(files / "pred.csv"), str(files / "b.csv")]
    assert main(["compare", "--gt", str(files / "gt.csv"), *systems, "--json", "--permutations", "50"]) == 0
    table = json.loads(capsys.readouterr().out)["table"]
    measured = measure_several("bleu", list(HYPS.values()), list(GIVEN.values()))
    value = float(measured.aggregate(measured.counts.sum(axis=0))["bleu_2"])
    assert table["bleu_2"]["values"]["pred"]["value"] == pytest.approx(value)
    files_of = ["--pred", systems[0], "--gt", str(files / "gt.csv")]
    assert main(["metrics", "--explain", f"bleu_2={value:.4f}", *files_of]) == 0
    assert "* bleu_2 " in capsys.readouterr().out


def test_in_python() -> None:
    names = list(HYPS)
    frame = Frame(study_id=names, report=[REFS[n][0] for n in names], report_2=[REFS[n][1] for n in names])
    two = {name: [text for text in of[:2] if text] for name, of in REFS.items()}
    expected = evaluate(list(HYPS.values()), list(two.values()), names, metrics=["bleu"])
    for references in (two, frame):
        assert evaluate(HYPS, references, metrics=["bleu"]).values() == expected.values()
    one = evaluate(HYPS, {name: [of[0] or "Clear."] for name, of in REFS.items()}, metrics=["bleu"])
    assert one.values() == evaluate(HYPS, {n: of[0] or "Clear." for n, of in REFS.items()}, metrics=["bleu"]).values()
    assert "flips" not in evaluate(HYPS, two).measured
    with pytest.raises(UsageError, match="flips has no definition"):
        evaluate(HYPS, two, metrics=["flips"])
    with pytest.raises(InputError, match="empty list of references"):
        evaluate({"a": "x"}, {"a": []})
