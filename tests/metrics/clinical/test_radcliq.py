from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrgen.metrics import MetricResult
from cxrgen.metrics.clinical import radcliq as composite

GOLDEN = Path(__file__).parents[2] / "golden" / "metrics"
# Means that the ReXrank board printed for MIMIC-CXR's test set: RadGraph, BERTScore, SembScore, BLEU; then v0 and v1.
REXRANK = {
    "MedVersa": (0.273, 0.430, 0.315, 0.193, 3.337, 1.088),
    "CheXagent": (0.146, 0.304, 0.331, 0.094, 3.816, 1.437),
    "GPT-4V": (0.085, 0.204, 0.190, 0.065, 4.457, 1.819),
}


def test_constants_and_values_of_the_original_s_models() -> None:
    golden = json.loads((GOLDEN / "components.json").read_text(encoding="utf-8"))["radcliq"]
    components = np.array(golden["x"])
    np.testing.assert_allclose(composite.V0.predict(components), golden["v0"], atol=1e-9)
    np.testing.assert_allclose(composite.V1.predict(components), golden["v1"], atol=1e-9)


def test_perfect_and_worst_pairs() -> None:
    assert composite.V0.predict(np.ones(4)) == pytest.approx(-0.2421, abs=5e-5)
    assert composite.V1.predict(np.ones(4)) == pytest.approx(-1.4407, abs=5e-5)
    assert composite.V0.predict(np.zeros(4)) == pytest.approx(5.5162, abs=5e-5)
    assert composite.V1.predict(np.zeros(4)) == pytest.approx(2.4501, abs=5e-5)


@pytest.mark.parametrize("model", REXRANK)
def test_a_public_board_s_means_give_its_radcliq(model: str) -> None:
    """Both mixes are linear, so the board's printed means check constants and order of inputs independently."""
    *components, v0, v1 = REXRANK[model]
    got = composite.radcliq(np.array([*components, 1.0]))
    assert float(got["radcliq_v0"]) == pytest.approx(v0, abs=3e-3)  # the printed means are rounded to 5e-4 each
    assert float(got["radcliq_v1"]) == pytest.approx(v1, abs=3e-3)


@pytest.fixture
def components(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """Component scores without weights: what each component metric answers for two studies."""
    answers = [[0.2, 0.4], [0.3, 0.5], [0.1, 0.6], [0.05, 0.25]]

    def one(metric: str, hypotheses: Sequence[str], references: Sequence[str], **settings: Any) -> MetricResult:
        assert settings == ({"checkpoint": "file"} if metric == "chexbert" else {})
        place = list(composite.COMPONENTS.values()).index(metric)
        name = list(composite.COMPONENTS)[place]
        counts = np.array(answers[place])[:, None]
        return MetricResult(counts, lambda sums: {name: sums[..., 0]}, "")

    monkeypatch.setattr(composite, "measure_other", one)
    return answers


def test_the_set_s_value_is_the_mean_and_its_inverse(components: list[list[float]]) -> None:
    measured = composite.measure(["a", "b"], ["a", "b"], settings={"chexbert": {"checkpoint": "file"}})
    each, whole = measured.aggregate(measured.counts), measured.aggregate(measured.counts.sum(axis=0))
    np.testing.assert_allclose(each["radcliq_v1"], composite.V1.predict(np.array(components).T))
    assert float(whole["radcliq_v1"]) == pytest.approx(each["radcliq_v1"].mean())
    assert float(whole["radcliq_v1_inverse"]) == pytest.approx(1 / each["radcliq_v1"].mean())
    assert measured.lower_is_better == {"radcliq_v0", "radcliq_v1"}


def test_an_inverse_near_zero_is_warned_of(components: list[list[float]], capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"chexbert": {"checkpoint": "file"}}
    composite.measure(["a", "b"], ["a", "b"], settings=settings)
    assert "inverse" not in capsys.readouterr().err
    for column in components:
        column[:] = [0.95, 1.0]
    composite.measure(["a", "b"], ["a", "b"], settings=settings)
    assert "radcliq_v1_inverse has no meaning" in capsys.readouterr().err
