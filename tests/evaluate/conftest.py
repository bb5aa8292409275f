"""A toy metric whose values can be worked out by hand, and a folder with the two CSVs."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cxrgen import metrics
from cxrgen.core.files import write_csv
from cxrgen.metrics import Floats, Metric, MetricResult


def _words_in_common(hypotheses: Sequence[str], references: Sequence[str]) -> MetricResult:
    """`overlap`: distinct words shared / distinct words of the references; `extra`: hypothesis words not shared."""
    rows = []
    for hypothesis, reference in zip(hypotheses, references):
        hyp, ref = set(hypothesis.split()), set(reference.split())
        rows.append((len(hyp & ref), len(ref), len(hyp - ref), 1))

    def aggregate(sums: Floats) -> dict[str, Floats]:
        return {"overlap": sums[..., 0] / sums[..., 1], "extra": sums[..., 2] / sums[..., 3]}

    return MetricResult(np.array(rows, dtype=float).reshape(-1, 4), aggregate, "toy|words", frozenset({"extra"}))


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("toy_metric")
    module.METRIC = Metric(_words_in_common, "overlap", scores=("overlap", "extra"))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "toy_metric", module)
    monkeypatch.setitem(metrics.METRICS, "toy", "toy_metric")


@pytest.fixture
def csvs(tmp_path: Path) -> Path:
    """gt.csv and pred.csv of six studies of four patients; the prediction rows are in another order."""
    references = {
        "0001": ("p1", "Heart normal. Lungs clear."),
        "0002": ("p1", "Small left effusion."),
        "0003": ("p2", "Large right effusion.\nNo pneumothorax."),
        "0004": ("p3", 'Quote " and <script>alert(1)</script> & comma, here'),
        "0005": ("p4", "Heart normal. No effusion."),
        "0006": ("p4", "Lungs clear."),
    }
    predictions = {
        "0006": "Lungs clear.",
        "0003": "Large left effusion.",
        "0001": "Heart normal. Lungs clear.",
        "0002": "",
        "0004": "None",
        "0005": "<img src=x onerror=alert(2)>",
    }
    write_csv(tmp_path / "gt.csv", ("study_id", "subject_id", "report"), [(k, *v) for k, v in references.items()])
    write_csv(tmp_path / "pred.csv", ("study_id", "report"), list(predictions.items()))
    return tmp_path
