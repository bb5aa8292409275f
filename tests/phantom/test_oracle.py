from __future__ import annotations

import json
from pathlib import Path

import pytest

from cxrgen.metrics.clinical import finding_f1 as metric
from cxrgen.phantom.findings import NAMES, Findings, as_row, draw_findings
from cxrgen.phantom.oracle import optimum
from cxrgen.phantom.rng import make_rng
from cxrgen.phantom.write import write_phantoms


def rows(count: int) -> list[dict[str, str]]:
    generator = make_rng(21)
    return [as_row(draw_findings(generator)) for _ in range(count)]


def test_what_each_set_of_images_is_worth() -> None:
    table = rows(6000)
    best = optimum(table[:400], table)
    assert set(best["both"].values()) == {1.0, None}
    assert best["frontal"]["finding_f1_macro"] == 1
    assert best["frontal"]["finding_side_accuracy"] == 1
    assert best["frontal"]["finding_depth_accuracy"] == pytest.approx(0.5, abs=0.02)
    assert best["frontal"]["finding_lobe_accuracy"] == pytest.approx(1 / 3 + 0.5 * 2 / 3, abs=0.04)
    assert best["lateral"]["finding_side_accuracy"] == pytest.approx(0.5, abs=0.02)
    assert best["lateral"]["finding_lobe_accuracy"] == pytest.approx(0.5, abs=0.02)
    assert best["lateral"]["finding_depth_accuracy"] == 1
    unseen = best["lateral"]["finding_f1_fracture"]
    assert unseen == pytest.approx(2 * 0.3 / 1.3, abs=0.04)
    assert best["lateral"]["finding_f1_macro"] == pytest.approx((len(NAMES) - 1 + (unseen or 0)) / len(NAMES))
    assert best["lateral"]["finding_f1_macro_9"] == 1


def test_cause_and_change_need_more_than_images() -> None:
    table = [
        as_row(Findings(opacity="lingula", opacity_cause=cause, opacity_change="new"))
        for cause in ("pneumonia", "pneumonia", "contusion")
    ]
    best = optimum(table, table)["both"]
    assert best["finding_cause_accuracy"] == pytest.approx(2 / 3)
    assert best["finding_cause_accuracy + indication"] == 1
    assert best["finding_change_accuracy"] == 1  # in this table everything is new


def test_names_are_those_of_the_metric() -> None:
    table = rows(50)
    measured = metric.measure([""] * 50, [""] * 50, truth=table)
    known = set(measured.aggregate(measured.counts.sum(axis=0))) - {"finding_distance_error_cm"}
    assert {name for name in optimum(table, table)["both"] if " + " not in name} == known


def test_the_generator_writes_it(tmp_path: Path) -> None:
    write_phantoms(tmp_path, 30, 20, seed=2, size=32, workers=1)
    written = json.loads((tmp_path / "optimum.json").read_text())
    assert written["split"] == "test"
    assert written["studies"] == 20
    assert written["optimum"]["frontal"]["finding_f1_macro"] == 1
