from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cxrgen.metrics.clinical import finding_f1 as metric
from cxrgen.phantom.findings import NAMES, Findings, as_row, draw_findings
from cxrgen.phantom.oracle import context_optimum, optimum
from cxrgen.phantom.patients import draw_timeline
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


def truth(count: int) -> dict[str, dict[str, str]]:
    """Rows of findings.csv by study, of patients with one to three studies."""
    found = {}
    for patient in range(count):
        earlier = ""
        for visit, scene in enumerate(draw_timeline(5, patient)):
            cause = ("pneumonia", "", "contusion")[patient % 3] if scene.findings.opacity else ""
            row = as_row(replace(scene.findings, opacity_cause=cause))
            found[f"{patient}.{visit}"] = {**row, "prior_study_id": earlier}
            earlier = f"{patient}.{visit}"
    return found


def test_each_part_of_the_context_is_worth_what_it_alone_tells() -> None:
    table = truth(3000)
    asked = [name for name in table if not name.startswith("1")]

    def best(views: str, *parts: str) -> dict[str, float]:
        return {name: value or 0.0 for name, value in context_optimum(table, asked, views, parts).items()}

    nothing, cause, change = best("both"), "finding_cause_accuracy", "finding_change_accuracy"
    assert nothing[cause] == pytest.approx(0.5, abs=0.03)  # pneumonia or contusion
    assert best("both", "indication")[cause] == 1
    assert best("both", "prior-report", "prior-images")[cause] == nothing[cause]
    assert nothing[change] < 0.7
    assert nothing[change] + 0.1 < best("both", "prior-report")[change] < 1
    assert best("both", "prior-images")[change] == 1
    assert best("both", "indication")[change] == nothing[change]
    assert best("both", "history", "technique", "comparison", "gap") == nothing
    assert best("frontal", "indication", "prior-images")["finding_depth_accuracy"] == pytest.approx(0.5, abs=0.03)
    others = {name for name in nothing if name not in (cause, change)}
    whole = optimum([table[name] for name in asked], list(table.values()))
    for views in ("frontal", "lateral", "both"):
        found = best(views, "indication", "prior-images")
        assert all(found[name] == (whole[views][name] or 0.0) for name in others)
