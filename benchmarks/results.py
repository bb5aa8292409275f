"""Lines of the benchmarks to benchmarks/results.json, with machine and date, and from there to the table of docs.

`make bench` calls it. The table in docs/results.md stands between two marks and is written from the file alone, so that
it can never hold a number that no run has printed; a test compares the two.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results.json", ROOT / "docs" / "results.md"
BEGIN, END = "<!-- from benchmarks/results.json, by make bench -->", "<!-- end of benchmarks/results.json -->"
_NONE = "`make bench` has not been run for this table yet."


def processor() -> str:
    """The processor's name as the system has it."""
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def record_of(lines: Sequence[str]) -> dict[str, Any]:
    """What results.json holds, from the last line of each benchmark."""
    machine = {"processor": processor(), "cpus": os.cpu_count(), "python": platform.python_version()}
    benchmarks = [json.loads(line) for line in lines if line.strip()]
    return {"schema": 1, "date": time.strftime("%Y-%m-%d"), "machine": machine, "benchmarks": benchmarks}


def table(record: Mapping[str, Any] | None) -> str:
    """The text between the marks."""
    if record is None:
        return _NONE
    machine = record["machine"]
    lines = [f"{record['date']}, {machine['cpus']} cores of {machine['processor']}, Python {machine['python']}."]
    lines += ["", "| benchmark | ratio | share of the limit | parts |", "|---|---|---|---|"]
    for each in record["benchmarks"]:
        parts = ", ".join(f"{name} {_shown(value)}" for name, value in each["parts"].items())
        row = (f"`benchmarks/{each['name']}.py`", _shown(each["ratio"]), _shown(each["limit_fraction"]), parts)
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def _shown(value: object) -> str:
    return "not measured" if value is None else str(value)


def with_table(page: str, record: Mapping[str, Any] | None) -> str:
    """The page with the table of a record between its marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{table(record)}\n{END}{rest.split(END)[1]}"


def main() -> None:
    record = record_of(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines())
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), record), encoding="utf-8")


if __name__ == "__main__":
    main()
