from pathlib import Path

import pytest

from cxrgen.core.errors import InputError
from cxrgen.evaluate.pairs import read_pairs, read_reports, read_truth


def _write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_joined_by_id_whatever_the_order_and_ids_keep_their_zeros(tmp_path: Path) -> None:
    gt = _write(tmp_path / "gt.csv", "study_id,report\n0007,first\n7,second\n")
    pred = _write(tmp_path / "pred.csv", "study_id,report\n7,b\n0007,a\n")
    pairs = read_pairs(pred, gt)
    assert pairs.study_ids == ("0007", "7")
    assert pairs.hypotheses == ("a", "b")
    assert pairs.references == ("first", "second")
    assert pairs.subjects is None
    assert pairs.notes == ()


def test_cells_are_verbatim_and_odd_ones_are_counted(tmp_path: Path) -> None:
    gt = _write(tmp_path / "gt.csv", 'study_id,report\n1,"a, ""b""\r\nc "\n2,x\n3,y\n4,z\n')
    pred = _write(tmp_path / "pred.csv", "study_id,report\n1,None\n2, nan \n3,\n4,N/A\n")
    pairs = read_pairs(pred, gt)
    assert pairs.references[0] == 'a, "b"\r\nc '
    assert pairs.hypotheses == ("None", " nan ", "", "N/A")
    assert any(note.startswith("3 predictions are a word") for note in pairs.notes)
    assert any(note.startswith("1 predictions are empty") for note in pairs.notes)


@pytest.mark.parametrize("ids", [("1", "2"), ("1.0", "2.0"), ("s0001", "s0002")])
def test_ids_that_a_program_changed_are_told(tmp_path: Path, ids: tuple[str, str]) -> None:
    gt = _write(tmp_path / "gt.csv", "study_id,report\n0001,x\n0002,y\n")
    pred = _write(tmp_path / "pred.csv", "study_id,report\n{},x\n{},y\n".format(*ids))
    for allowed in (False, True):
        with pytest.raises(InputError, match=r"differ only in leading zeros, an s or \.0: write them as text"):
            read_pairs(pred, gt, allowed)
    other = _write(tmp_path / "other.csv", "study_id,report\n0003,x\n0004,y\n")
    with pytest.raises(InputError) as error:
        read_pairs(other, gt)
    assert "differ only" not in str(error.value)


def test_a_file_scored_against_itself_is_remarked(tmp_path: Path) -> None:
    gt = _write(tmp_path / "gt.csv", "study_id,report\n1,x\n2,y\n")
    pred = _write(tmp_path / "pred.csv", "study_id,report\n2,y\n1,x\n")
    assert any("its own reference" in note for note in read_pairs(pred, gt).notes)
    almost = _write(tmp_path / "almost.csv", "study_id,report\n2,y\n1,X\n")
    assert not any("its own reference" in note for note in read_pairs(almost, gt).notes)


def test_a_column_without_a_name_is_reported(tmp_path: Path) -> None:
    """As pandas writes a table with its row numbers."""
    gt = _write(tmp_path / "gt.csv", ",study_id,report\n0,1,x\n")
    pred = _write(tmp_path / "pred.csv", "study_id,report\n1,y\n")
    assert "gt.csv: columns without a name, which are not read: 1" in read_pairs(pred, gt).notes


def test_byte_order_mark_and_semicolons(tmp_path: Path) -> None:
    gt = _write(tmp_path / "gt.csv", "\ufeffstudy_id;report\n01;a\n")
    pred = _write(tmp_path / "pred.csv", "\ufeffstudy_id,report\n01,b\n")
    assert read_pairs(pred, gt).study_ids == ("01",)


@pytest.mark.parametrize(
    ("predictions", "said"),
    [
        ("1,a\n", r"1 missing \(gt\.csv:3\)"),
        ("1,a\n2,b\n3,c\n", r"1 extra \(pred\.csv:4\)"),
        ("1,a\n2,b\n2,c\n", r"1 doubled \(pred\.csv:4\)"),
        ("1,a\n02,b\n", r"1 missing \(gt\.csv:3\), 1 extra \(pred\.csv:3\)"),
    ],
)
def test_ids_that_do_not_match_are_refused_and_named(tmp_path: Path, predictions: str, said: str) -> None:
    gt = _write(tmp_path / "gt.csv", "study_id,report\n1,x\n2,y\n")
    pred = _write(tmp_path / "pred.csv", "study_id,report\n" + predictions)
    with pytest.raises(InputError, match=said) as error:
        read_pairs(pred, gt)
    assert "\n" not in str(error.value)
    assert "--allow-missing" in str(error.value)
    pairs = read_pairs(pred, gt, allow_missing=True)
    assert "1" in pairs.study_ids
    assert any("left out" in note for note in pairs.notes)


def test_doubled_ids_are_left_out_and_listed(tmp_path: Path) -> None:
    gt = _write(tmp_path / "gt.csv", "study_id,report\n1,x\n2,y\n2,z\n3,w\n")
    pred = _write(tmp_path / "pred.csv", "study_id,report\n1,a\n1,b\n2,c\n3,d\n")
    pairs = read_pairs(pred, gt, allow_missing=True)
    assert pairs.study_ids == ("3",)
    assert pairs.left_out == {"missing": (), "extra": (), "doubled": ("1", "2")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("study_id,report\n", "no rows"),
        ("study,report\n1,a\n", "no column 'study_id'"),
        ("study_id,text\n1,a\n", "no column 'report'"),
        ("study_id,report\n,a\n", r"pred.csv:2: empty study_id"),
        ("study_id,report\n9,a\n", "no study id in common"),
    ],
)
def test_unusable_files_are_named(tmp_path: Path, text: str, said: str) -> None:
    gt = _write(tmp_path / "gt.csv", "study_id,report\n1,x\n")
    with pytest.raises(InputError, match=said):
        read_pairs(_write(tmp_path / "pred.csv", text), gt, allow_missing=True)


def test_baseline_and_truth_files_must_cover_every_study_once(tmp_path: Path) -> None:
    reports = _write(tmp_path / "f.csv", "study_id,report\n2,b\n1,a\n3,c\n3,d\n")
    assert read_reports(reports, ["1", "2"]) == ["a", "b"]
    with pytest.raises(InputError, match="1 missing, 1 doubled"):
        read_reports(reports, ["3", "4"])
    truth = _write(tmp_path / "findings.csv", "study_id,effusion\n2,left\n1,\n")
    assert read_truth(truth, ["1", "2"]) == [
        {"study_id": "1", "effusion": ""},
        {"study_id": "2", "effusion": "left"},
    ]
    with pytest.raises(InputError, match="no truth"):
        read_truth(truth, ["1", "5"])


def test_header_rows_in_the_middle_are_left_out_with_a_note(tmp_path: Path) -> None:
    """Chunks that were joined end to end, one of them written with a byte order mark."""
    lines = ["study_id,report", "1,a", "study_id,report", "2,b", "\ufeffstudy_id,report", "3,c"]
    (tmp_path / "pred.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "gt.csv").write_text("study_id,report\n1,x\n2,report\n3,z\n", encoding="utf-8")
    pairs = read_pairs(tmp_path / "pred.csv", tmp_path / "gt.csv")
    assert pairs.hypotheses == ("a", "b", "c")
    assert pairs.references == ("x", "report", "z")
    assert pairs.notes == ("pred.csv: 2 header rows in the middle left out",)
    (tmp_path / "pred.csv").write_text("study_id,report\nstudy_id,report\n", encoding="utf-8")
    with pytest.raises(InputError, match="a header and no rows"):
        read_pairs(tmp_path / "pred.csv", tmp_path / "gt.csv")
