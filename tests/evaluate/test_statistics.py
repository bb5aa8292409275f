import numpy as np
import pytest

from cxrgen.evaluate import statistics
from cxrgen.evaluate.statistics import (
    bootstrap_weights,
    clusters,
    holm,
    interval,
    permutation_p,
    permuted_differences,
    resampled,
)
from cxrgen.metrics import MetricResult


def _mean(counts: np.ndarray) -> MetricResult:
    rows = np.column_stack([counts, np.ones(len(counts))])
    return MetricResult(rows, lambda sums: {"mean": sums[..., 0] / sums[..., 1]}, "mean")


def test_weights_draw_each_resample_as_many_patients_as_there_are() -> None:
    weights = bootstrap_weights(7, resamples=50, seed=3)
    assert weights.shape == (50, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert (weights == bootstrap_weights(7, resamples=50, seed=3)).all()
    assert (weights != bootstrap_weights(7, resamples=50, seed=4)).any()


def test_resampling_equals_scoring_the_drawn_studies_again() -> None:
    rng = np.random.default_rng(0)
    counts = rng.normal(size=12)
    subjects = [f"p{i % 5}" for i in range(12)]
    groups = clusters(subjects)
    weights = bootstrap_weights(groups.count, resamples=20, seed=1)
    fast = resampled(_mean(counts), groups, weights)["mean"]
    for row, value in zip(weights, fast):
        drawn = np.concatenate([np.repeat(counts[i], int(row[groups.index[i]])) for i in range(12)], axis=None)
        assert value == pytest.approx(drawn.mean())


def test_resamples_in_parts_are_the_same_and_draws_are_kept_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 patients must not need gigabytes: draws are two bytes each and become floats a part at a time."""
    groups = clusters([str(i) for i in range(30)])
    weights = bootstrap_weights(groups.count, resamples=25, seed=4)
    assert weights.itemsize == 2
    measured = _mean(np.random.default_rng(2).normal(size=30))
    whole = resampled(measured, groups, weights)["mean"]
    monkeypatch.setattr(statistics, "_WEIGHTS_AT_ONCE", 70)  # two resamples at a time, the last one alone
    np.testing.assert_allclose(resampled(measured, groups, weights)["mean"], whole, rtol=1e-12)


def test_interval_has_the_right_width_and_patients_widen_it() -> None:
    """For independent studies the interval of a mean is about 2 x 1.96 standard errors; copies within a patient add
    nothing, so 4 equal studies a patient must give the interval of the patients alone, not half of it."""
    values = np.random.default_rng(5).normal(size=400)
    alone = clusters([str(i) for i in range(400)])
    weights = bootstrap_weights(400, 2_000, seed=0)
    low, high = interval(resampled(_mean(values), alone, weights)["mean"]) or (0, 0)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.08)
    fourfold = clusters([str(i // 4) for i in range(1600)])
    again = interval(resampled(_mean(np.repeat(values, 4)), fourfold, weights)["mean"]) or (0, 0)
    assert fourfold.count == 400
    assert again == pytest.approx((low, high))


def test_patient_order_does_not_matter() -> None:
    counts = np.arange(6.0)
    subjects = ["b", "a", "c", "a", "b", "c"]
    weights = bootstrap_weights(3, 30, seed=2)
    forward = resampled(_mean(counts), clusters(subjects), weights)["mean"]
    backward = resampled(_mean(counts[::-1]), clusters(subjects[::-1]), weights)["mean"]
    assert forward == pytest.approx(backward)


def test_undefined_resamples_are_left_out() -> None:
    assert interval(np.array([np.nan, 1.0, 1.0])) == (1.0, 1.0)
    assert interval(np.array([np.nan])) is None


def test_permutation_agrees_with_all_swaps_counted_out() -> None:
    """Four patients have 16 swaps: 10,000 random ones must come near the exact share that is as far from zero."""
    first, second = np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.5, 3.0])
    groups = clusters(list("abcd"))
    step = second - first
    exact = [abs(np.where(bits, -step, step).mean()) for bits in np.ndindex(2, 2, 2, 2)]
    share = np.mean([value >= step.mean() - 1e-12 for value in exact])
    permuted = permuted_differences(_mean(first), _mean(second), groups, 10_000, seed=1)["mean"]
    assert permutation_p(step.mean(), permuted) == pytest.approx(share, abs=0.02)


def test_swaps_keep_a_patients_studies_together() -> None:
    """All studies are one patient's: the only arrangements are as observed and all swapped, so p is 1."""
    permuted = permuted_differences(_mean(np.zeros(5)), _mean(np.ones(5)), clusters(["p"] * 5), 200)["mean"]
    assert set(np.round(permuted, 9)) == {-1.0, 1.0}
    assert permutation_p(1.0, permuted) == 1.0


def test_p_is_never_zero_and_undefined_counts_as_far() -> None:
    assert permutation_p(5.0, np.zeros(99)) == 0.01
    assert permutation_p(5.0, np.array([np.nan, 0.0, 0.0])) == 0.5


def test_holm_by_hand() -> None:
    corrected = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert corrected == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
