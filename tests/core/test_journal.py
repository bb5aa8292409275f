"""A journal is whole up to its last line feed, wherever a run was ended."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrgen.core.errors import InputError
from cxrgen.core.journal import Journal, read_journal, write_journal


def test_lines_come_back_and_a_new_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "done.jsonl"
    with Journal(path) as journal:
        journal.add({"id": "0001", "text": "two\nlines\u2028 and \ud800"})
        journal.add({"id": "0002"})
    assert read_journal(path) == [{"id": "0001", "text": "two\nlines\u2028 and \ud800"}, {"id": "0002"}]
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_journal(tmp_path / "absent.jsonl") == []


@settings(deadline=None)
@given(st.integers(0, 60))
def test_a_cut_at_any_byte_costs_the_last_line_at_most(cut: int) -> None:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"cxrgen-journal-{os.getpid()}.jsonl"
    try:
        write_journal(path, [{"n": n, "word": "ab"} for n in range(4)])
        whole = path.read_bytes()
        path.write_bytes(whole[:cut])
        kept = whole[:cut].count(b"\n")
        assert [record["n"] for record in read_journal(path)] == list(range(kept))
        with Journal(path) as journal:
            journal.add({"n": 9})
        assert [record["n"] for record in read_journal(path)] == [*range(kept), 9]
    finally:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("line", [b"{", b"[1]", b'"text"', b"[" * 100_000, b"\xff\xfe"])
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "done.jsonl"
    path.write_bytes(b'{"n": 1}\n' + line + b'\n{"n": 2}\n')
    with pytest.raises(InputError, match=r"done.jsonl:2: damaged"):
        read_journal(path)


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        Journal(tmp_path / "absent" / "done.jsonl")
    with pytest.raises(InputError, match="cannot be read"):
        read_journal(tmp_path)
