import math

import numpy as np
import pytest

from cxrgen.evaluate import statistics
from cxrgen.evaluate.statistics import clusters, influences, spread, t_quantile, total_of, values_of
from cxrgen.metrics import MetricResult


def _ratio(counts: np.ndarray) -> MetricResult:
    return MetricResult(counts, lambda sums: {"ratio": sums[..., 0] / sums[..., 1]}, "ratio")


def _mean(values: np.ndarray) -> MetricResult:
    return _ratio(np.column_stack([values, np.ones(len(values))]))


def test_influences_are_what_leaving_a_patient_out_changes() -> None:
    rng = np.random.default_rng(0)
    counts, subjects = rng.random((12, 2)), [f"p{i % 5}" for i in range(12)]
    groups = clusters(subjects)
    found = influences(_ratio(counts), groups.sums(counts))["ratio"]
    whole = counts[:, 0].sum() / counts[:, 1].sum()
    for place in range(5):
        kept = counts[groups.index != place]
        assert found[place] == pytest.approx(4 * (whole - kept[:, 0].sum() / kept[:, 1].sum()))


def test_a_patient_without_whom_nothing_is_defined_moves_nothing() -> None:
    counts = np.array([[1.0, 2.0], [0.0, 0.0], [0.0, 0.0]])
    assert influences(_ratio(counts), counts)["ratio"].tolist() == [0, 0, 0]
    assert math.isnan(total_of(_ratio(counts[1:]), counts[1:])["ratio"])


def test_rows_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = np.random.default_rng(2).random((30, 2))
    whole = values_of(_ratio(counts), counts)["ratio"]
    monkeypatch.setattr(statistics, "_ROWS_AT_ONCE", 7)
    np.testing.assert_array_equal(values_of(_ratio(counts), counts)["ratio"], whole)


def test_error_of_a_mean_is_the_textbooks_and_copies_within_a_patient_add_nothing() -> None:
    values = np.random.default_rng(5).normal(size=400)
    alone = spread(
        influences(_mean(values), clusters([str(i) for i in range(400)]).sums(_mean(values).counts))["ratio"]
    )
    assert alone.error == pytest.approx(values.std(ddof=1) / 20)
    fourfold = _mean(np.repeat(values, 4))
    groups = clusters([str(i // 4) for i in range(1600)])
    assert groups.count == 400
    again = spread(influences(fourfold, groups.sums(fourfold.counts))["ratio"])
    assert again.error == pytest.approx(alone.error)


def test_few_patients_that_carry_the_spread_make_the_quantile_larger() -> None:
    even, uneven = np.tile([-1.0, 1.0], 50), np.array([10.0, *np.zeros(99)])
    assert spread(even).quantile == pytest.approx(1.984, abs=0.002)
    assert spread(uneven).quantile == pytest.approx(2.502, abs=0.01)
    assert spread(np.ones(20)).error == 0


@pytest.mark.parametrize(("freedom", "value"), [(4, 2.776), (5, 2.571), (10, 2.228), (30, 2.042), (1000, 1.962)])
def test_quantiles_of_t(freedom: float, value: float) -> None:
    assert t_quantile(freedom) == pytest.approx(value, abs=0.01)


def test_patient_order_does_not_matter() -> None:
    counts, subjects = np.arange(12.0).reshape(6, 2), ["b", "a", "c", "a", "b", "c"]
    forward = clusters(subjects).sums(counts)
    assert (forward == clusters(subjects[::-1]).sums(counts[::-1])).all()
