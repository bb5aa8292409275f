"""Files that are built to do harm, and names that no tool expects: one line or a reject, soon, with little memory."""

from __future__ import annotations

import gzip
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.imaging.dicoms import image, saved

from cxrgen.core.records import read_studies

Prepare = Callable[..., tuple[int, str]]
Write = Callable[..., Path]


def one_line(said: str) -> str:
    """The last line, which has to be the only one of its kind: no traceback."""
    assert "Traceback" not in said
    return said.strip().splitlines()[-1]


def rejects(out: Path) -> str:
    return (out / "rejects.csv").read_text(encoding="utf-8")


@pytest.fixture
def little_memory() -> None:
    """The process's peak grows by less than 600 MB while a test runs."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000


# --- size ---


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", ["t.csv.gz", "t.json.gz"])
def test_a_packed_table_of_blanks(tmp_path: Path, prepare: Prepare, name: str) -> None:
    with gzip.open(tmp_path / name, "wb", compresslevel=1) as file:
        file.write(b"study_id,findings\n")
        for _ in range(300):
            file.write(b" " * (1 << 20))
    code, said = prepare(tmp_path / name, "--kind", "table", "--out", tmp_path / "out")
    assert code == 1
    assert "unpacked, which no such table does" in one_line(said) or "neither a table" in one_line(said)


def test_a_hundred_thousand_columns(tmp_path: Path, prepare: Prepare) -> None:
    columns = ",".join(f"c{number}" for number in range(100_000))
    (tmp_path / "t.csv").write_text(f"study_id,findings,{columns}\n1,x{',' * 100_000}\n")
    code, said = prepare(tmp_path / "t.csv", "--out", tmp_path / "out")
    assert (code, "100002 columns, more than 10000" in one_line(said)) == (1, True)


@pytest.mark.parametrize(
    "text", ["A " * 2_000_000, "x:" * 1_000_000, "IMPRESSION: I " * 200_000, "<b " * 900_000, "\\n" * 1_000_000]
)
def test_a_report_of_megabytes_is_a_reject(tmp_path: Path, prepare: Prepare, write_table: Write, text: str) -> None:
    rows = [("1", text), *((str(n), "FINDINGS: Clear.") for n in range(2, 9))]
    path = write_table(tmp_path / "t.csv", ("study_id", "report"), rows)
    code, said = prepare(path, "--out", tmp_path / "out", "--max-rejects", "20%")
    assert code == 0, one_line(said)
    assert "text-too-large" in rejects(tmp_path / "out")


@pytest.mark.parametrize(
    "text",
    ["A " * 120_000, "x:" * 120_000, "IMPRESSION: I " * 18_000, "reviewed agree I. " * 9_000, "<head>" * 40_000],
)
def test_a_report_just_below_the_limit_is_read(tmp_path: Path, prepare: Prepare, write_table: Write, text: str) -> None:
    """No pattern of the parsers takes a square of the length: these would be minutes."""
    path = write_table(tmp_path / "t.csv", ("study_id", "report"), [("1", text), ("2", "FINDINGS: Clear.")])
    assert prepare(path, "--out", tmp_path / "out", "--max-rejects", "100%")[0] == 0


def test_a_report_file_of_the_course_is_not_read_whole(course: Path, tmp_path: Path, prepare: Prepare) -> None:
    (course / "reports").mkdir()
    with open(course / "reports" / "0005.txt", "wb") as file:
        file.truncate(300 << 20)
    code, said = prepare(course, "--out", tmp_path / "out")
    assert code == 0, one_line(said)
    assert "reports/0005.txt,0005,text-too-large" in rejects(tmp_path / "out")


# --- pipes, links, names ---


@pytest.mark.parametrize("place", ["t.csv", "in/a.dcm", "in/pipe", "in/report.txt", "in/t.csv"])
def test_pipes_are_not_opened(tmp_path: Path, prepare: Prepare, place: str) -> None:
    (tmp_path / "in").mkdir()
    saved(image(), tmp_path / "in" / "whole.dcm")
    os.mkfifo(tmp_path / place)
    source = tmp_path / ("in" if place.startswith("in/") else place)
    code, said = prepare(source, "--out", tmp_path / "out", *(() if source.is_dir() else ("--kind", "table")))
    assert code in (0, 1), one_line(said)
    one_line(said)


def test_a_pipe_as_an_image_of_a_table(
    tmp_path: Path, prepare: Prepare, write_table: Write, write_image: Write
) -> None:
    rows = [(str(n), write_image(tmp_path / f"{n}.png", n).name, "Clear.") for n in range(9)]
    os.mkfifo(tmp_path / "pipe.png")
    path = write_table(tmp_path / "t.csv", ("study_id", "image", "findings"), [*rows, ("9", "pipe.png", "Clear.")])
    code, said = prepare(path, "--out", tmp_path / "out", "--max-rejects", "10%")
    assert code == 0, one_line(said)
    assert "9,no-image" in rejects(tmp_path / "out")


def test_links_that_lead_to_themselves_or_out(course: Path, tmp_path: Path, prepare: Prepare) -> None:
    (tmp_path / "victim.png").write_bytes((course / "images" / "0001-0001.png").read_bytes())
    (course / "images" / "0001-0003.png").symlink_to(tmp_path / "victim.png")
    (course / "images" / "0002-0003.png").symlink_to("0002-0003.png")
    (course / "loop").symlink_to(course)
    code, said = prepare(course, "--out", tmp_path / "out")
    assert code == 0, one_line(said)
    assert "images/0001-0003.png,0001,bad-path" in rejects(tmp_path / "out")
    assert [len(study.views) for study in read_studies(tmp_path / "out")] == [2] * 6


@pytest.mark.parametrize("kind", ["course", "table", "dicom", "mimic", "openi"])
def test_a_folder_of_loops_is_one_line(tmp_path: Path, prepare: Prepare, kind: str) -> None:
    folder = tmp_path / "in"
    (folder / "images").mkdir(parents=True)
    for name in ("train.csv", "t.csv", "a.dcm", "p10", "1.xml", "NLMCXR_reports.tgz"):
        (folder / name).symlink_to(name)
    (folder / "images" / "loop").symlink_to(folder)
    code, said = prepare(folder, "--kind", kind, "--out", tmp_path / "out")
    assert code == 1
    one_line(said)


@pytest.mark.parametrize(
    "name",
    ["n" * 300 + ".png", "a/" * 2000 + "a.png", "caf\u0301e\u0301.png", "a\tb.png", "-rf.png", "loop.png", "~", "."],
)
def test_odd_names_of_images_are_rejects(
    tmp_path: Path, prepare: Prepare, write_table: Write, write_image: Write, name: str
) -> None:
    (tmp_path / "loop.png").symlink_to("loop.png")
    rows = [(str(n), write_image(tmp_path / f"{n}.png", n).name, "Clear.") for n in range(9)]
    path = write_table(tmp_path / "t.csv", ("study_id", "image", "findings"), [*rows, ("9", name, "Clear.")])
    code, said = prepare(path, "--out", tmp_path / "out", "--max-rejects", "10%")
    assert code == 0, one_line(said)
    assert len(read_studies(tmp_path / "out")) == 9


def test_names_on_disk_that_are_no_text(course: Path, tmp_path: Path, prepare: Prepare, write_image: Write) -> None:
    write_image(course / "images" / "x.png", 77)
    os.rename(course / "images" / "x.png", os.fsencode(course / "images") + b"/\xff\xfe-0001.png")
    code, said = prepare(course, "--out", tmp_path / "out", "--max-rejects", "20%")
    assert code == 0, one_line(said)
    assert "image-without-row" in rejects(tmp_path / "out")


@pytest.mark.parametrize("study_id", ["s" * 245, "a/b", "..", "-", "\u202e1", "1;2", "con", "=1+1", "1\x00"])
def test_odd_ids_are_ids(course: Path, tmp_path: Path, prepare: Prepare, write_table: Write, study_id: str) -> None:
    images = [f"images/000{n}-0001.png" for n in range(1, 5)]
    ids = [study_id, "2", "3", "4"]
    rows = [(name, f"{n}", "PA", "Clear.") for name, n in zip(images, ids)]
    for file in ("train.csv", "test.csv"):
        (course / file).unlink()
    write_table(course / "train.csv", ("Path", "study_id", "ViewPosition", "findings"), rows)
    code, said = prepare(course, "--out", tmp_path / "out", "--max-rejects", "100%")
    assert code in (0, 1), one_line(said)
    if code == 0:
        assert read_studies(tmp_path / "out")[0].study_id == study_id
    assert {path.name for path in tmp_path.iterdir()} <= {"course", "out"}


# --- JSON ---

GOOD = {"study_id": "1", "findings": "Clear."}


@pytest.mark.parametrize(
    "line",
    [
        '{"study_id": "2", "findings": "Half \\ud800 a pair."}',
        '{"study_id": ' + "7" * 5000 + ', "findings": "Clear."}',
        '{"study_id": "2", "findings": "Clear.", "more": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"study_id": "2", "findings": "Line\u2028and\u2029page\u000bor\u000cform\u0085feed."}',
        '{"study_id": {"a": 1}, "findings": ["x"]}',
        '{"study_id": 1e400, "findings": "Clear."}',
        "[1, 2]", '"text"', "null", "{}",
    ],
    ids=["surrogate", "digits", "deep", "separators", "objects", "infinite", "list", "text", "null", "empty"],
)  # fmt: skip
def test_lines_of_json(tmp_path: Path, prepare: Prepare, line: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join([json.dumps({**GOOD, "study_id": str(n)}) for n in range(10, 20)] + [line]) + "\n")
    code, said = prepare(path, "--kind", "table", "--out", tmp_path / "out", "--max-rejects", "20%")
    assert code == 0, one_line(said)
    assert len(read_studies(tmp_path / "out")) >= 10


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, '{"id": ' + "7" * 6000 + "}", '"\\ud800"', "[1e999]"]
)
@pytest.mark.parametrize("kind", ["auto", "table", "llava"])
def test_json_documents(tmp_path: Path, prepare: Prepare, text: str, kind: str) -> None:
    (tmp_path / "t.json").write_text(text)
    code, said = prepare(tmp_path / "t.json", "--kind", kind, "--out", tmp_path / "out")
    assert code == 1
    one_line(said)


def test_a_report_in_xml_of_an_unknown_encoding(tmp_path: Path, prepare: Prepare) -> None:
    folder = tmp_path / "in" / "ecgen-radiology"
    folder.mkdir(parents=True)
    report = "<eCitation><uId id='CXR{0}'/><a>Indiana University</a>"
    report += "<AbstractText Label='FINDINGS'>Clear {0}.</AbstractText></eCitation>"
    for number in range(1, 10):
        (folder / f"{number}.xml").write_text(report.format(number))
    (folder / "10.xml").write_text('<?xml version="1.0" encoding="klingon"?>' + report.format(10))
    code, said = prepare(tmp_path / "in", "--out", tmp_path / "out", "--max-rejects", "20%")
    assert code == 0, one_line(said)
    assert "10.xml,,bad-xml" in rejects(tmp_path / "out")
