"""Reports in the files that people have: other columns, JSON, JSON lines, Excel, ReXrank's; and groups by columns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cxrgen.cli import main
from cxrgen.core.errors import InputError, UsageError
from cxrgen.evaluate.report_files import column_map, read_table

ROWS = [{"study_id": "01", "report": "Small left effusion."}, {"study_id": "02", "report": "Heart normal.\nNo edema."}]
REXRANK = {
    "CXR1_IM-1": {
        "section_findings": "Heart normal.",
        "section_impression": "No acute disease.",
        "subject_id": "p1",
        "image_path": ["a.png"],
        "model_prediction": "Heart size is normal.",
    },
    "CXR2_IM-2": {
        "section_findings": "Left effusion.",
        "section_impression": None,
        "subject_id": "p2",
        "model_prediction": "",
    },
}


def texts(path: Path, **columns: str) -> list[tuple[str, str]]:
    return [(row.cells["study_id"], row.cells["report"]) for row in read_table(path, columns).rows]


def test_json_json_lines_and_csv_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(ROWS))
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS))
    (tmp_path / "a.csv").write_text('Study,Generated Report\n01,Small left effusion.\n02,"Heart normal.\nNo edema."\n')
    expected = [(row["study_id"], row["report"]) for row in ROWS]
    assert texts(tmp_path / "a.json") == texts(tmp_path / "a.jsonl") == expected
    assert texts(tmp_path / "a.csv", report="generated report", study_id="Study") == expected


def test_a_mapped_column_stands_before_one_that_has_the_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("study_id,report,model\n1,reference,written\n")
    assert texts(tmp_path / "a.csv") == [("1", "reference")]
    assert texts(tmp_path / "a.csv", report="model") == [("1", "written")]


def test_excel(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (
        ("study_id", "report"),
        ("01", "Small left effusion."),
        (None, None),
        ("02", "Heart normal.\nNo edema."),
    ):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    assert texts(tmp_path / "a.xlsx") == [(row["study_id"], row["report"]) for row in ROWS]
    (tmp_path / "b.xlsx").write_text("no workbook")
    with pytest.raises(InputError, match="cannot be read as an Excel file"):
        read_table(tmp_path / "b.xlsx")


def test_one_file_of_rexrank_holds_reports_and_references(tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    content = {
        "1": {"findings": "Heart normal.", "impression": "", "model_prediction": "Clear."},
        "2": {"report": "Left effusion.", "section_findings": "other", "model_prediction": "Effusion."},
        "3": {"reports": "Findings: Edema.", "model_prediction": ""},
        "4": {"image_path": ["a.png"], "model_prediction": "Nothing to compare with."},
        "5": {"section_findings": None, "section_impression": "Normal."},
    }
    path.write_text(json.dumps(content))
    written = {row.cells["study_id"]: row.cells["report"] for row in read_table(path).rows}
    assert written == {
        "1": "Clear.",
        "2": "Effusion.",
        "3": "",
        "4": "Nothing to compare with.",
        "5": "Impression: Normal.",
    }
    wanted = {row.cells["study_id"]: row.cells["report"] for row in read_table(path, references=True).rows}
    assert wanted == {
        "1": "Findings: Heart normal.",
        "2": "Left effusion.",
        "3": "Findings: Edema.",
        "5": "Impression: Normal.",
    }
    path.write_text(json.dumps({name: {"model_prediction": "Clear."} for name in "12"}))
    assert len(read_table(path, references=True).rows) == 2, "reports of a second system, to compare with"


def test_rexrank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pred.json").write_text(json.dumps(REXRANK))
    references = {name: {k: v for k, v in of.items() if k != "model_prediction"} for name, of in REXRANK.items()}
    (tmp_path / "gt.json").write_text(json.dumps(references))
    assert texts(tmp_path / "pred.json") == [("CXR1_IM-1", "Heart size is normal."), ("CXR2_IM-2", "")]
    assert texts(tmp_path / "gt.json")[1] == ("CXR2_IM-2", "Findings: Left effusion.")
    words = ["--pred", tmp_path / "pred.json", "--gt", tmp_path / "gt.json", "--out", tmp_path / "out"]
    assert main(["evaluate", *map(str, words), "--metrics", "rouge"]) == 0
    content = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert (content["n"], content["patients"]) == (2, 2)
    assert "Left effusion" not in capsys.readouterr().out


@pytest.mark.parametrize("content", ["[]", "{}", "3", '["a"]', '{"a": 1}'])
def test_what_is_no_table(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match="not a table"):
        read_table(tmp_path / "a.json")


def test_maps() -> None:
    assert column_map(["report=Generated Report", "study_id=a=b"]) == {"report": "Generated Report", "study_id": "a=b"}
    for wrong in ("report", "report=", "text=a"):
        with pytest.raises(UsageError, match="NAME=COLUMN"):
            column_map([wrong])


def test_groups_by_a_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sites = [("north", "south", "")[number % 3] for number in range(12)]
    lines = [f"{number},Left effusion {number}.,{site}" for number, site in enumerate(sites)]
    (tmp_path / "gt.csv").write_text("\n".join(["study_id,report,Site", *lines]) + "\n")
    reports = [f"{number},{'Left effusion' if number % 3 else 'Edema'} {number}." for number in range(12)]
    (tmp_path / "pred.csv").write_text("\n".join(["study_id,findings", *reports]) + "\n")
    words = ["--pred", tmp_path / "pred.csv", "--gt", tmp_path / "gt.csv", "--out", tmp_path / "out"]
    command = ["evaluate", *map(str, words), "--metrics", "rouge,rule", "--map", "report=findings"]
    assert main([*command, "--by", "site"]) == 0
    groups = json.loads((tmp_path / "out" / "scores.json").read_text())["groups"]
    assert {name: of["n"] for name, of in groups.items()} == {"site: unknown": 4, "site: north": 4, "site: south": 4}
    value = {name: of["metrics"]["rouge_l"]["value"] for name, of in groups.items()}
    assert value["site: south"] == 1.0 > value["site: north"]
    assert "site: north" in (tmp_path / "out" / "report.html").read_text()
    capsys.readouterr()
    assert main([*command, "--by", "scanner"]) == 2
    assert "no such column" in capsys.readouterr().err


def test_rexranks_file_by_any_name_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "results", tmp_path / "out"
    path.write_text(json.dumps({**REXRANK, "CXR3": {"report": "Clear.", "model_prediction": "Clear."}}))
    command = ["evaluate", "--pred", str(path), "--gt", str(path), "--metrics", "bleu", "--out", str(out)]
    assert main([*command, "--format", "rexrank"]) == 0
    assert json.loads((out / "scores.json").read_text())["n"] == 3
    path.write_text(json.dumps(ROWS))
    assert main([*command, "--format", "rexrank"]) == 1
    assert "results: not ReXrank's file" in capsys.readouterr().err
