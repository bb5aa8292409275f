"""The bad inputs of `cxrgen phantom --broken`, each prepared: what broken.csv expects is what happens."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrgen.core.records import read_studies
from cxrgen.phantom.bad_inputs.cases import write_broken

GOOD = 8  # studies of each folder


@pytest.mark.slow
def test_every_reaction_is_the_expected_one(tmp_path: Path, prepare: Callable[..., tuple[int, str]]) -> None:
    write_broken(tmp_path / "broken")
    with open(tmp_path / "broken" / "broken.csv", encoding="utf-8", newline="") as file:
        cases = list(csv.DictReader(file))
    wrong = []
    for case in cases:
        out = tmp_path / "out" / case["case"]
        code, said = prepare(tmp_path / "broken" / case["case"], "--out", out, "--max-rejects", "100%")
        codes = set()
        if (out / "rejects.csv").is_file():
            with open(out / "rejects.csv", encoding="utf-8", newline="") as file:
                codes = {row["code"] for row in csv.DictReader(file)}
        as_expected = {
            "stop": code == 1 and not (out / "studies.parquet").exists(),
            "reject": code == 0 and case["code"] in codes,
            "note": code == 0 and not codes and case["code"] in said,
            "keep": code == 0 and not codes and len(read_studies(out)) == GOOD,
        }[case["reaction"]]
        if not as_expected:
            wrong.append((case["case"], case["reaction"], case["code"], code, sorted(codes), said.splitlines()[-1:]))
    assert len(cases) > 60
    assert wrong == []
