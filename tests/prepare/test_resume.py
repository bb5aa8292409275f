"""A run that goes on gives the same bytes as a fresh one, or is refused; nothing outside the folder is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrgen.core.folders import LOCK, locked
from cxrgen.core.records import read_studies

Prepare = Callable[..., tuple[int, str]]
Write = Callable[..., Path]


def content(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != LOCK
    }


def as_fresh(course: Path, out: Path, prepare: Prepare) -> bool:
    """Whether the folder has the very bytes of a set that is made anew from the same source."""
    fresh = out.parent / f"fresh{time.monotonic_ns()}"
    assert prepare(course, "--out", fresh, "--max-rejects", "100%")[0] == 0
    return content(out) == content(fresh)


@pytest.fixture
def out(course: Path, tmp_path: Path, prepare: Prepare) -> Path:
    assert prepare(course, "--out", tmp_path / "out")[0] == 0
    return tmp_path / "out"


def again(course: Path, out: Path, prepare: Prepare) -> tuple[int, str]:
    return prepare(course, "--out", out, "--max-rejects", "100%")


def test_an_image_replaced_with_size_and_time_kept(course: Path, out: Path, prepare: Prepare) -> None:
    file = course / "images" / "0001-0001.png"
    state = file.stat()
    other = (course / "images" / "0003-0002.png").read_bytes()
    file.write_bytes(other[: state.st_size].ljust(state.st_size, b"\0"))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert again(course, out, prepare)[0] == 0
    assert as_fresh(course, out, prepare)


def test_a_deleted_image_and_a_deleted_stored_image(course: Path, out: Path, prepare: Prepare) -> None:
    next((out / "images").glob("*/*")).unlink()
    (course / "images" / "0002-0002.png").unlink()
    assert again(course, out, prepare)[0] == 0
    assert as_fresh(course, out, prepare)


def test_images_of_withdrawn_patients_do_not_stay(course: Path, out: Path, prepare: Prepare) -> None:
    for name in ("0001-0001.png", "0001-0002.png"):
        (course / "images" / name).unlink()
    lines = (course / "train.csv").read_text().splitlines(keepends=True)
    (course / "train.csv").write_text("".join(line for line in lines if "0001-" not in line))
    (out / "images" / "ab").mkdir(exist_ok=True)
    (out / "images" / "ab" / f"{'ab' * 10}.png").write_bytes(b"of a run whose journal was lost")
    assert again(course, out, prepare)[0] == 0
    assert len(list((out / "images").glob("*/*"))) == 10
    assert as_fresh(course, out, prepare)


def journal(out: Path, change: Callable[[list[dict[str, object]]], object]) -> None:
    path = out / "images.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    change(records)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_lines_of_another_version_are_not_believed(course: Path, out: Path, prepare: Prepare) -> None:
    def older(records: list[dict[str, object]]) -> None:
        del records[0]["cxrgen"]
        for record in records[1:]:
            record["stamp"] = "1-2"
            del record["source_sha256"]

    journal(out, older)
    assert again(course, out, prepare)[0] == 0
    assert as_fresh(course, out, prepare)


@pytest.mark.parametrize("path", ["../victim.png", "/etc/passwd", "images/../../victim.png", "card.html"])
def test_a_path_in_the_journal_leads_nowhere(course: Path, out: Path, prepare: Prepare, path: str) -> None:
    (out.parent / "victim.png").write_bytes(b"x")
    journal(out, lambda records: records[1].update(path=path))
    code, said = again(course, out, prepare)
    assert (code, "images.jsonl:2: damaged; --force makes the set anew" in said) == (1, True)
    assert (out.parent / "victim.png").read_bytes() == b"x"
    assert prepare(course, "--out", out, "--force")[0] == 0
    assert (out.parent / "victim.png").read_bytes() == b"x"
    assert as_fresh(course, out, prepare)


@pytest.mark.parametrize("line", ["{}", "[]", "null", '{"key": 5}', '{"key": "a", "notes": 3}', "{"])
def test_a_damaged_line_is_one_line(course: Path, out: Path, prepare: Prepare, line: str) -> None:
    path = out / "images.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], line, *lines[2:]]) + "\n")
    code, said = again(course, out, prepare)
    assert code == 1
    assert said.strip().splitlines()[-1].startswith("cxrgen prepare: ")
    assert "images.jsonl:2: damaged" in said


def test_swapped_lines_are_the_same_journal(course: Path, out: Path, prepare: Prepare) -> None:
    journal(out, lambda records: records.insert(1, records.pop()))
    assert again(course, out, prepare)[0] == 0
    assert as_fresh(course, out, prepare)


@pytest.mark.parametrize("place", ["images", "images/00"])
def test_links_in_the_folder_are_not_followed(course: Path, tmp_path: Path, prepare: Prepare, place: str) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert prepare(course, "--out", out)[0] == 0
    if place == "images":
        (out / "images").rename(out / "old")
    (out / place).symlink_to(elsewhere)
    code, said = again(course, out, prepare)
    assert (code, "is a link, or holds one" in said) == (1, True)
    assert list(elsewhere.iterdir()) == []


def test_a_set_without_the_newest_options_goes_on(course: Path, out: Path, prepare: Prepare) -> None:
    """Options that did not exist when a set was made had their defaults."""
    journal(out, lambda records: records[0]["options"].pop("encoding"))
    assert again(course, out, prepare)[0] == 0
    journal(out, lambda records: records[0]["options"].pop("encoding"))
    code, said = prepare(course, "--out", out, "--encoding", "utf-8")
    assert (code, "was made with --encoding" in said) == (1, True)


def test_two_runs_at_once(course: Path, tmp_path: Path, prepare: Prepare) -> None:
    out = tmp_path / "out"
    with locked(out):
        command = [sys.executable, "-m", "cxrgen", "prepare", str(course), "--out", str(out), "--workers", "1"]
        other = subprocess.run(command, capture_output=True, text=True, check=False)
    assert other.returncode == 1
    assert "another run is writing there; wait for it, or give another --out" in other.stderr
    assert prepare(course, "--out", out)[0] == 0
    assert as_fresh(course, out, prepare)


def test_a_second_run_with_other_options_meets_the_lock_or_the_set(course: Path, tmp_path: Path) -> None:
    """Started together: one makes its set, the other is refused, and no image has the other's size."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "cxrgen", "prepare", str(course), "--out", str(out), "--workers", "1", "--size"]
    runs = [subprocess.Popen([*command, size], stderr=subprocess.PIPE, text=True) for size in ("64", "32")]
    ends = [(run.communicate()[1], run.returncode) for run in runs]
    codes = sorted(code for _, code in ends)
    assert codes == [0, 1], ends
    sides = {max(view.width, view.height) for study in read_studies(out) for view in study.views}
    assert len(sides) == 1
