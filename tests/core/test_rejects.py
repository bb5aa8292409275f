"""What was left out: the table, and the share that ends a run."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from cxrgen.core.errors import RejectError, TooManyRejects, unknown
from cxrgen.core.records import Reject
from cxrgen.core.rejects import check_share, counted_codes, share, write_rejects


def test_the_table(tmp_path: Path) -> None:
    rejects = [Reject("t.csv:2", "0001", "text-empty", "no text"), Reject("t.csv:3", "2", "bad-path", "a, b")]
    write_rejects(tmp_path / "rejects.csv", rejects)
    lines = (tmp_path / "rejects.csv").read_text(encoding="utf-8").splitlines()
    assert lines == ["row,id,code,hint", "t.csv:2,0001,text-empty,no text", 't.csv:3,2,bad-path,"a, b"']
    assert (tmp_path / "rejects.csv").stat().st_mode & 0o777 == 0o600
    assert counted_codes(rejects) == "bad-path 1, text-empty 1"


def test_the_limit_itself_is_allowed() -> None:
    check_share(1, 50, 0.02, "studies", "rejects.csv")
    with pytest.raises(TooManyRejects, match=r"2 of 50 studies were left out, 4.0% \(limit 2.0%\)"):
        check_share(2, 50, 0.02, "studies", "rejects.csv")


@pytest.mark.parametrize(("text", "value"), [("2%", 0.02), ("0.5", 0.5), ("100%", 1.0), ("0", 0.0)])
def test_shares(text: str, value: float) -> None:
    assert share(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["2", "x", "%", "-1%", "nan", "101%"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no share"):
        share(text)


def test_errors_carry_their_code() -> None:
    error = RejectError("bad-path", "the name leads out of its folder")
    assert (error.code, error.hint, str(error)) == ("bad-path", error.hint, f"bad-path: {error.hint}")


def test_the_nearest_name_is_suggested() -> None:
    said = str(unknown("--kind", "dicoms", ("course", "dicom")))
    assert said == "unknown --kind 'dicoms'; choose from course, dicom; did you mean 'dicom'?"
    assert str(unknown("--kind", "zzz", ("course", "dicom"))) == "unknown --kind 'zzz'; choose from course, dicom"
