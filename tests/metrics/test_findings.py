from __future__ import annotations

import numpy as np
import pytest

from cxrgen.errors import InputError
from cxrgen.metrics import findings
from cxrgen.phantom.findings import Findings, as_row, draw_findings
from cxrgen.phantom.wording import word_sections


def values(texts: list[str], truth: list[Findings]) -> dict[str, float]:
    measured = findings.measure(texts, texts, truth=[as_row(row) for row in truth])
    return {name: float(value) for name, value in measured.aggregate(measured.counts.sum(axis=0)).items()}


def test_true_reports_score_one() -> None:
    generator = np.random.default_rng(5)
    truth = [draw_findings(generator) for _ in range(60)]
    texts = [" ".join(word_sections(row, generator)) for row in truth]
    assert set(values(texts, truth).values()) == {1.0}


def test_hits_misses_and_false_alarms() -> None:
    truth = [Findings(cardiomegaly=True), Findings(cardiomegaly=True), Findings()]
    got = values(["Cardiomegaly.", "Clear.", "Cardiomegaly."], truth)
    assert got["finding_f1_cardiomegaly"] == got["finding_f1_macro"] == pytest.approx(0.5)
    assert np.isnan(got["finding_f1_opacity"])


def test_places_are_counted_where_the_finding_was_reported() -> None:
    truth = [
        Findings(effusion="left", effusion_size="small", opacity="right lower lobe"),
        Findings(effusion="left", effusion_size="small", opacity="lingula"),
        Findings(effusion="left", effusion_size="small", opacity="right upper lobe"),
    ]
    texts = [
        "Small left pleural effusion. Opacity in the right middle lobe.",
        "Small right pleural effusion. Opacity in the right middle lobe.",
        "Opacity in the right lower lobe.",
    ]
    got = values(texts, truth)
    assert got["finding_side_accuracy"] == pytest.approx(1 / 2)  # the third report has no effusion to place
    assert got["finding_lobe_accuracy"] == 0
    assert got["finding_depth_accuracy"] == pytest.approx(1 / 2)  # lower against middle wrong, lingula and middle right


def test_a_side_left_out_is_wrong() -> None:
    assert (
        values(["Pleural effusion."], [Findings(effusion="left", effusion_size="small")])["finding_side_accuracy"] == 0
    )


def test_leading_dimensions() -> None:
    rows = [as_row(Findings(cardiomegaly=True)), as_row(Findings())]
    measured = findings.measure(["Cardiomegaly.", "Cardiomegaly."], ["", ""], truth=rows)
    got = measured.aggregate(np.array([[1.0, 0.0], [1.0, 1.0]]) @ measured.counts)["finding_f1_cardiomegaly"]
    np.testing.assert_allclose(got, [1, 2 / 3])


@pytest.mark.parametrize(
    ("truth", "message"), [(None, "--truth"), ([], "one each"), ([{"effusion": "1"}], "cardiomegaly")]
)
def test_unusable_truth(truth: list[dict[str, str]] | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        findings.measure(["x"], ["x"], truth=truth)
