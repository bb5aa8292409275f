"""The tables of benchmarks/context.py, from score folders as `cxrgen ablate` leaves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.context import ARMS, CHANGE, PRIOR, arm_name, arm_tables

from cxrgen.core.files import write_json


def write_arms(folder: Path, shift: float) -> Path:
    """Change accuracy is high where the earlier study is shown; the cause falls without the indication."""
    differences: dict[str, list[dict[str, Any]]] = {}
    for views, parts in ARMS:
        arm, knows, cause = folder / arm_name(views, parts), bool(PRIOR & set(parts)), "indication" in parts
        metrics = {
            CHANGE: {"value": 0.8 + shift if knows else 0.1, "ci95": [0.7, 0.9] if knows else [0.0, 0.2]},
            "prior_rate": {"value": 0.6 if knows else 0.01, "ci95": [0.5, 0.7]},
            "finding_cause_accuracy": {"value": 0.9 if cause else 0.5, "ci95": None},
        }
        arm.mkdir(parents=True)
        write_json(arm / "scores.json", {"metrics": metrics})
        write_json(arm / "limits.json", {"optimum": {CHANGE: 1.0}})
        row = {"name": "finding_cause_accuracy", "ci95": [-0.1, 0.1] if cause else [-0.5, -0.3]}
        differences[arm.name] = [row]
    write_json(folder / "compare.json", {"differences": differences})
    return folder


def test_tables_of_two_seeds(tmp_path: Path) -> None:
    lines = arm_tables({seed: write_arms(tmp_path / str(seed), seed / 100) for seed in (1, 2)}).splitlines()
    full = "all.indication+prior-report+prior-images"
    assert f"| {full} | 0.810 (0.700 to 0.900) | 0.820 (0.700 to 0.900) | 1.000 |" in lines
    assert "| all.none | 0.010 (0.500 to 0.700) | 0.010 (0.500 to 0.700) |" in lines
    assert "| all.prior-report | 0.500 (2) | none | none | none | none | none |" in lines
    assert f"| {full} | 0.900 | none | none | none | none | none |" in lines
    assert json.dumps(lines).count("all.indication |") == 3  # once in each table
