"""The four F1 definitions on recorded annotations, and the way from texts to annotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrgen.core.errors import InputError
from cxrgen.metrics import measure
from cxrgen.metrics.clinical import radgraph

GOLDEN = Path(__file__).parents[2] / "golden" / "metrics"
RECORDED = json.loads((GOLDEN / "components.json").read_text(encoding="utf-8"))["radgraph"]
PAIRS = [(pair["hypothesis"]["entities"], pair["reference"]["entities"]) for pair in RECORDED["pairs"]]


def test_simple_partial_complete() -> None:
    for lower, key in ((False, "pypi_0.1.18"), (True, "repo_head_87f11a1_lowercases")):
        values = [radgraph.reward(said, wanted, lower) for said, wanted in PAIRS]
        np.testing.assert_allclose(values, RECORDED[f"simple_partial_complete_{key}"], atol=1e-12)


def test_case_matters_only_where_it_did() -> None:
    upper: Any = {"1": {"tokens": "EFFUSION", "label": "OBS", "relations": []}}
    lower: Any = {"1": {"tokens": "effusion", "label": "OBS", "relations": []}}
    assert radgraph.reward(upper, lower) == (0, 0, 0)
    assert radgraph.reward(upper, lower, lower=True) == (1, 1, 1)


def test_combined() -> None:
    values = [radgraph.combined(said, wanted) for said, wanted in PAIRS]
    np.testing.assert_allclose(values, RECORDED["cxr_report_metric_combined"], atol=1e-12)
    assert radgraph.combined({}, {}) == 0


def test_texts_to_scores(stand_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The stand-in's entities are words that modify their successor; blank and unreadable reports have none."""
    said = ["heart normal", "lungs clear", "", "unreadable film"]
    wanted = ["heart normal", "lungs opaque", "lungs clear", "lungs clear"]
    measured = measure("radgraph", said, wanted)
    values = measured.aggregate(measured.counts)
    np.testing.assert_allclose(values["radgraph_simple"], [1, 0.5, 0, 0])
    np.testing.assert_allclose(values["radgraph_complete"], [1, 0, 0, 0])
    assert measured.aggregate(measured.counts.sum(axis=0))["radgraph_simple"] == pytest.approx(1.5 / 4)
    combined = measure("radgraph_combined", said, wanted)
    np.testing.assert_allclose(combined.aggregate(combined.counts)["radgraph_combined"], [1, 0.25, 0, 0])
    shown = capsys.readouterr().err
    assert "radgraph-xl: 1 reports could not be annotated" in shown
    assert "film" not in shown


def test_each_text_is_annotated_once(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STAND_IN_LOG", str(tmp_path / "log"))
    measure("radgraph", ["heart normal", "lungs clear", "lungs clear"], ["lungs clear", "heart normal", "lungs clear"])
    assert (tmp_path / "log").read_text().split() == ["radgraph:loaded", "radgraph:2"]


def test_missing_model_is_named(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN_WEIGHTS", "none")
    with pytest.raises(InputError, match=r"radgraph-xl\.tar\.gz of StanfordAIMI/RRG_scorers.* --fetch radgraph-xl"):
        measure("radgraph", ["heart"], ["heart"])


def test_no_texts_need_no_model() -> None:
    for name, width in (("radgraph", 4), ("radgraph_combined", 2)):
        measured = measure(name, [], [])
        assert measured.counts.shape == (0, width)
        assert all(value == 1 for value in measured.aggregate(np.ones(width)).values())
