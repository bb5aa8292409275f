from __future__ import annotations

import numpy as np
import pytest

from cxrgen.core.errors import InputError
from cxrgen.metrics.clinical import finding_f1 as findings
from cxrgen.phantom import STYLES
from cxrgen.phantom.findings import NAMES, NINE, Findings, as_row, draw_findings
from cxrgen.phantom.rng import make_rng
from cxrgen.phantom.wording import draw_style, word_report


def values(texts: list[str], truth: list[Findings]) -> dict[str, float]:
    measured = findings.measure(texts, texts, truth=[as_row(row) for row in truth])
    return {name: float(value) for name, value in measured.aggregate(measured.counts.sum(axis=0)).items()}


@pytest.mark.parametrize("style", STYLES)
def test_true_reports_score_one(style: str) -> None:
    generator = make_rng(5)
    truth = [draw_findings(generator) for _ in range(60)]
    reports = [word_report(row, draw_style(generator, style)) for row in truth]
    got = values([f"{report.findings} {report.impression}" for report in reports], truth)
    assert got.pop("finding_distance_error_cm") == 0
    assert {name for name, value in got.items() if np.isnan(value)} == {
        "finding_change_accuracy",  # none of these has an earlier study or a cause
        "finding_cause_accuracy",
    }
    assert {value for value in got.values() if not np.isnan(value)} == {1.0}


def test_macro_is_over_all_findings_and_over_nine() -> None:
    everything = dict.fromkeys(NAMES, "left") | {"cardiomegaly": True, "effusion_size": "small", "et_tube": "3.0"}
    truth = [Findings(**everything)]  # type: ignore[arg-type]
    got = values(["Left pleural effusion. Left rib fracture."], truth)
    assert got["finding_f1_macro"] == pytest.approx(2 / 14)
    assert got["finding_f1_macro_9"] == pytest.approx(1 / len(NINE))


def test_details_are_right_or_wrong_where_the_table_has_them() -> None:
    truth = [
        Findings(effusion="left", effusion_size="small", effusion_change="new", opacity="lingula"),
        Findings(opacity="lingula", opacity_change="unchanged", opacity_cause="pneumonia"),
    ]
    texts = ["Small left effusion. Lingula opacity.", "New lingula opacity, likely pneumonia."]
    got = values(texts, truth)
    assert got["finding_size_accuracy"] == 1
    assert got["finding_change_accuracy"] == 0
    assert got["finding_cause_accuracy"] == 1


def test_the_tube_is_measured_where_a_distance_is_given() -> None:
    truth = [Findings(et_tube="4.5"), Findings(et_tube="2.0"), Findings(et_tube="7.0"), Findings()]
    tube = "Endotracheal tube"
    texts = [f"{tube} 3 cm above the carina.", f"{tube} 2.5 cm above the carina.", f"{tube}.", f"{tube} at 9 cm."]
    measured = findings.measure(texts, texts, truth=[as_row(row) for row in truth])
    got = measured.aggregate(measured.counts.sum(axis=0))
    assert got["finding_distance_error_cm"] == pytest.approx((1.5 + 0.5) / 2)
    assert "finding_distance_error_cm" in measured.lower_is_better


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
