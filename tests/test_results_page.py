"""docs/results.md's table of benchmarks is that of benchmarks/results.json, to the character."""

from __future__ import annotations

import json

from benchmarks.results import PAGE, RESULTS, record_of, table, with_table


def test_the_table_is_that_of_the_file() -> None:
    page = PAGE.read_text(encoding="utf-8")
    record = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else None
    assert with_table(page, record) == page


def test_lines_of_benchmarks_become_rows() -> None:
    line = {"name": "merge", "ratio": 4.15, "limit_fraction": None, "parts": {"rounds": 2}, "machine": {}}
    record = record_of([json.dumps(line), ""])
    assert set(record["machine"]) == {"processor", "cpus", "python"}
    assert table(record).splitlines()[-1] == "| `benchmarks/merge.py` | 4.15 | not measured | rounds 2 |"
    page = PAGE.read_text(encoding="utf-8")
    changed = with_table(page, record)
    assert changed != page
    assert with_table(changed, record) == changed
