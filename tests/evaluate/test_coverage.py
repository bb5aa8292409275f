"""The two simulations behind what the docs say of intervals and tests, in their quick form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def _run(name: str, reports: Path) -> dict[str, Any]:
    words = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--quick", "--reports", str(reports)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    content: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return content


def test_every_default_score_has_its_row(tmp_path: Path) -> None:
    """Without the table of reports, on made-up sentences."""
    parts = _run("coverage", tmp_path / "none.csv")["parts"]
    assert set(parts) == {"20", "100"}
    for found in parts.values():
        assert {"bleu_4", "cider", "rule_f1_macro_14", "length_ratio", "difference of bleu_4"} <= set(found)
        for row in found.values():
            assert 0 <= row["none"] <= 1
            assert row["coverage"] is None or row["coverage"] + row["above"] + row["below"] == pytest.approx(1)
    assert parts["20"]["rouge_l"]["coverage"] >= 0.7


def test_both_corrections_are_compared_on_the_same_sets(tmp_path: Path) -> None:
    parts = _run("paired", tmp_path / "none.csv")["parts"]
    assert {"family error, 20 patients", "differences found, 20 patients", "false positives, 20 patients"} <= set(parts)
    found = parts["differences found, 20 patients"]
    assert found["one pair, largest statistic"] >= found["one pair, Holm"]
