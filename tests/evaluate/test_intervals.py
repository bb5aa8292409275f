import json
from pathlib import Path

import numpy as np
import pytest

from cxrgen.cli import main
from cxrgen.evaluate.intervals import (
    FEW_CASES,
    FEW_PATIENTS,
    NO_SPREAD,
    NO_VALUE,
    ends_text,
    f1_interval,
    gap_of_intervals,
    intervals,
    wilson,
)
from cxrgen.evaluate.scores import evaluate
from cxrgen.evaluate.statistics import clusters
from cxrgen.metrics import MetricResult, measure
from cxrgen.metrics.clinical.labels import f1_columns, f1_values
from cxrgen.phantom.findings import as_row
from cxrgen.phantom.parser import parse


def _alone(count: int) -> list[str]:
    return [f"{i:04}" for i in range(count)]


def _mean(values: np.ndarray, **more: frozenset[str]) -> MetricResult:
    counts = np.column_stack([values, np.ones(len(values))])
    return MetricResult(counts, lambda sums: {"mean": sums[..., 0] / sums[..., 1]}, "mean", **more)


def test_wilson_by_hand() -> None:
    assert wilson(1.0, 1) == pytest.approx((0.2065, 1.0), abs=1e-4)
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0.0, 100) == pytest.approx((0.0, 0.0370), abs=1e-4)
    for cases in range(1, 200):  # rounding must not leave the share outside
        assert wilson(1.0, cases)[1] == 1.0
        assert wilson(0.0, cases)[0] == 0.0


def test_f1_of_a_finding_is_wilsons_share_of_cases_turned_into_f1() -> None:
    """6 hits, 2 false alarms, 4 misses of as many patients: J 0.5 of 12 cases, 0.2538 to 0.7462."""
    rows = [(1, 0, 0)] * 6 + [(0, 1, 0)] * 2 + [(0, 0, 1)] * 4 + [(0, 0, 0)] * 30
    found = f1_interval(np.array(rows, dtype=float), (0, 1, 2))
    low, high = wilson(0.5, 12)
    assert found.ends == pytest.approx((2 * low / (1 + low), 2 * high / (1 + high)))


def test_patients_with_several_alike_cases_widen_the_interval_of_a_finding() -> None:
    rows = [(1, 0, 0)] * 12 + [(0, 0, 1)] * 12
    alone = f1_interval(np.array(rows, dtype=float), (0, 1, 2)).ends
    together = f1_interval(np.array(rows, dtype=float).reshape(6, 4, 3).sum(axis=1), (0, 1, 2)).ends
    assert alone is not None
    assert together is not None
    assert together[0] < alone[0] < alone[1] < together[1]


@pytest.mark.parametrize(("positive", "why"), [(4, FEW_CASES), (5, "")])
def test_below_five_positive_references_there_is_no_interval(positive: int, why: str) -> None:
    rows = [(1, 0, 0)] * positive + [(0, 1, 0)] * 40  # false alarms are no positive cases
    found = f1_interval(np.array(rows, dtype=float), (0, 1, 2))
    assert (found.ends is None, found.why) == (bool(why), why)


def _labels(hits: list[int], misses: list[int], studies: int) -> MetricResult:
    counts = np.zeros((studies, 42))
    for column, (hit, miss) in enumerate(zip(hits, misses)):
        counts[:hit, column] = 1
        counts[hit : hit + miss, 28 + column] = 1
    return MetricResult(counts, lambda sums: f1_values(sums, "x", "skip"), "labels", f1=f1_columns("x"))


def test_a_mean_of_f1_reaches_as_far_as_its_rare_findings_may() -> None:
    """One finding nobody hit in six cases may well be hit: the interval reaches farther up than down."""
    measured = _labels([40, 0], [10, 6], 60)
    groups = clusters(_alone(60))
    found = intervals(measured, groups)["x_macro_14"].ends
    assert found is not None
    value = float(measured.aggregate(measured.counts.sum(axis=0))["x_macro_14"])
    assert found[1] - value > 2 * (value - found[0])
    low, high = f1_interval(groups.sums(measured.counts), (1, 15, 29)).ends or (0, 0)
    assert found[1] - value == pytest.approx((high - low) / 2, rel=0.1)


def test_a_mean_that_counts_missing_findings_as_zero_may_be_far_higher() -> None:
    skip = _labels([40], [10], 60)
    zero = MetricResult(skip.counts, lambda sums: f1_values(sums, "x", "zero"), "labels", f1=f1_columns("x"))
    ends = [intervals(measured, clusters(_alone(60)))["x_macro_14"].ends or (0, 0) for measured in (skip, zero)]
    assert ends[0][1] - ends[0][0] < 0.3
    assert ends[1][1] == pytest.approx(np.sqrt(13) / 14 + 0.0635, abs=0.01)


@pytest.mark.parametrize("name", ["rule", "rule.uncertain-negative", "findings"])
def test_the_columns_behind_each_f1_are_those_that_make_it(name: str) -> None:
    texts = ["Small left effusion.", "The heart is enlarged. No effusion.", "Possible pneumothorax.", "Normal."]
    truth = [as_row(parse(text)) for text in texts[1:] + texts[:1]]
    extra = {"truth": truth} if name == "findings" else {}
    measured = measure(name, texts, texts[1:] + texts[:1], **extra)
    sums = measured.counts.sum(axis=0)
    values = measured.aggregate(sums)
    assert len(measured.f1) == 16
    for score, columns in measured.f1.items():
        counts = [sums[list(some)] for some in columns]
        each = [2 * hits / (2 * hits + alarms + misses) for hits, alarms, misses in counts if hits + alarms + misses]
        assert values[score] == pytest.approx(np.mean(each) if each else np.nan, nan_ok=True)


def test_a_share_of_patients_is_wilsons() -> None:
    measured = _mean(np.array([1.0] * 3 + [0.0] * 47))
    assert intervals(measured, clusters(_alone(50)))["mean"].ends == pytest.approx(wilson(0.06, 50))


def test_equal_values_within_limits_are_bounded_by_their_number_and_others_not_at_all() -> None:
    groups = clusters(_alone(40))
    assert intervals(_mean(np.zeros(40)), groups)["mean"].ends == wilson(0.0, 40)
    assert intervals(_mean(np.ones(40)), groups)["mean"].ends == wilson(1.0, 40)
    found = intervals(_mean(np.full(40, 7.5)), groups)["mean"]
    assert (found.ends, found.why) == (None, NO_SPREAD)


def test_positive_scores_are_symmetric_in_their_logarithm_and_others_as_they_are() -> None:
    values = np.random.default_rng(0).lognormal(1, 1, 60)
    groups = clusters(_alone(60))
    low, high = intervals(_mean(values), groups)["mean"].ends or (0, 0)
    assert values.mean() / low == pytest.approx(high / values.mean())
    low, high = intervals(_mean(values - 3), groups)["mean"].ends or (0, 0)
    assert (low + high) / 2 == pytest.approx(values.mean() - 3)


def test_a_ratio_that_is_best_at_one_may_be_above_one() -> None:
    short = np.random.default_rng(0).uniform(0.8, 1.0, 20)
    within, over = (
        intervals(_mean(short, target_one=frozenset(names)), clusters(_alone(20)))["mean"].ends or (0, 0)
        for names in ([], ["mean"])
    )
    assert within[1] < 1
    assert over[1] / short.mean() == pytest.approx(short.mean() / over[0])


def test_too_few_patients_and_nothing_to_measure_are_said_in_words() -> None:
    groups = clusters(_alone(4))
    assert intervals(_mean(np.arange(4.0)), groups)["mean"].why == FEW_PATIENTS
    empty = MetricResult(np.zeros((4, 2)), lambda sums: {"mean": sums[..., 0] / sums[..., 1]}, "mean")
    assert intervals(empty, groups)["mean"].why == NO_VALUE
    assert ends_text(None, FEW_PATIENTS) == "none: fewer than 5 patients"
    assert ends_text((0.25, 1.0)) == "0.250 to 1.000"


def test_a_difference_of_independent_shares_is_newcombes() -> None:
    """Newcombe 1998, method 10: 56 of 70 against 48 of 80 is 0.2 with 0.0524 to 0.3339."""
    moved = np.random.default_rng(0).normal(size=(2, 10_000))
    moved[1] -= moved[0] * (moved[0] @ moved[1]) / (moved[0] @ moved[0])
    moved -= moved.mean(axis=1, keepdims=True)
    found = gap_of_intervals((0.6, 0.8), (wilson(0.6, 80), wilson(0.8, 70)), (moved[0], moved[1]))
    assert found.ends == pytest.approx((0.0524, 0.3339), abs=2e-3)


def test_intervals_of_a_normal_mean_hold_it_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    groups = clusters(_alone(30))
    ends = [intervals(_mean(rng.normal(size=30)), groups)["mean"].ends or (1, -1) for _ in range(400)]
    assert 0.92 <= np.mean([low <= 0 <= high for low, high in ends]) <= 0.98


def test_one_pneumothorax_in_a_hundred_studies_has_no_interval(shared: Path, tmp_path: Path) -> None:
    folder = shared / "faults" / "metrics" / "zero_width_interval"
    if not folder.is_dir():
        pytest.skip("needs faults/metrics of the public data folder")
    words = ["evaluate", "--pred", folder / "pred.csv", "--gt", folder / "gt.csv", "--out", tmp_path / "out"]
    assert main([*map(str, words), "--metrics", "rule"]) == 0
    content = json.loads((tmp_path / "out" / "scores.json").read_text())["metrics"]
    assert content["rule_f1_pneumothorax"]["value"] == 1
    assert content["rule_f1_pneumothorax"]["ci95"] is None
    assert content["rule_f1_pneumothorax"]["no_interval"] == FEW_CASES
    assert f"none: {FEW_CASES}" in (tmp_path / "out" / "report.html").read_text()
    assert all(score["ci95"] is None or score["ci95"][0] < score["ci95"][1] for score in content.values())


def test_perfect_reports_have_no_interval_without_width() -> None:
    texts = [f"Small left effusion {word}." for word in "abcdefgh"]
    scores = evaluate(texts, texts, _alone(8)).metrics
    assert scores["bleu_1"].value == pytest.approx(1)
    for score in scores.values():
        assert score.interval is None or score.interval[1] - score.interval[0] > 0.1
        assert (score.interval is None) == bool(score.no_interval)
