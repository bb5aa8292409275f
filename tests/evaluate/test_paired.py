import numpy as np
import pytest

from cxrgen.evaluate import paired
from cxrgen.evaluate.intervals import FEW_CASES
from cxrgen.evaluate.paired import gaps, p_values, step_down
from cxrgen.evaluate.statistics import Clusters, clusters
from cxrgen.metrics import MetricResult
from cxrgen.metrics.clinical.labels import f1_columns, f1_values


def _mean(values: np.ndarray, **more: frozenset[str]) -> MetricResult:
    counts = np.column_stack([values, np.ones(len(values))])
    return MetricResult(counts, lambda sums: {"mean": sums[..., 0] / sums[..., 1]}, "mean", **more)


def _alone(count: int) -> Clusters:
    return clusters([f"{i:04}" for i in range(count)])


def _p(
    first: np.ndarray, second: np.ndarray, groups: Clusters, permutations: int = 2_000, **more: frozenset[str]
) -> float:
    gap = gaps(_mean(first, **more), _mean(second, **more), groups, ["mean"])["mean"]
    return float(p_values(gap.shares[:, None], [groups.count], [""], permutations).alone[0])


def test_shares_of_a_mean_are_the_patients_differences() -> None:
    first, second = np.array([0.0, 1.0, 2.0, 3.0, 5.0]), np.array([1.0, 3.0, 2.5, 3.0, 4.0])
    gap = gaps(_mean(first), _mean(second), _alone(5), ["mean"])["mean"]
    assert gap.difference == pytest.approx(0.5)
    np.testing.assert_allclose(gap.shares, (second - first) / 5)


def test_permutation_agrees_with_all_swaps_counted_out() -> None:
    """Six patients have 64 swaps: random ones must come near the exact share that is as far from no difference."""
    step = np.array([1.0, -2.0, 3.0, 4.0, 5.0, 6.5])
    signs = np.array(list(np.ndindex(*[2] * 6))) * 2 - 1
    sums = np.concatenate([signs @ step[:, None], signs @ step[:, None] ** 3], axis=1)
    bent = paired._t(sums, (step**2).sum(keepdims=True), np.array([6.0]))[:, 0]
    exact = np.mean(bent >= bent[-1] - 1e-9)
    assert _p(np.zeros(6), step, _alone(6), 20_000) == pytest.approx(exact, abs=0.01)


def test_swaps_keep_a_patients_studies_together() -> None:
    """All studies are one patient's: the only arrangements are as observed and all swapped, so p is 1."""
    assert _p(np.zeros(5), np.arange(1.0, 6.0), clusters(["p"] * 5)) == 1


def test_p_is_never_zero_and_equal_systems_have_one() -> None:
    values = np.random.default_rng(0).random(50)
    assert _p(values, values + 5, _alone(50), 99) == 0.01
    assert _p(values, values, _alone(50), 99) == 1
    assert gaps(_mean(values), _mean(values), _alone(50), ["mean"])["mean"].interval.ends == (0, 0)


def test_p_is_even_where_systems_are_alike_and_skewed() -> None:
    rng = np.random.default_rng(4)
    p = np.array([_p(*rng.lognormal(0, 1, (2, 20)), _alone(20), 200) for _ in range(300)])
    assert 0.02 <= (p < 0.05).mean() <= 0.08
    assert 0.42 <= (p < 0.5).mean() <= 0.58


def test_equal_means_of_unlike_skewness_are_seldom_called_different() -> None:
    """The unbent t calls about 11 % of these different."""
    rng = np.random.default_rng(0)
    draws = [(rng.lognormal(-0.5, 1, 20), rng.lognormal(-0.045, 0.3, 20)) for _ in range(400)]
    assert np.mean([_p(*both, _alone(20), 300) < 0.05 for both in draws]) <= 0.1


def test_distances_from_one_are_compared_where_one_is_best() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, (2, 200))
    noise -= noise.mean(axis=1, keepdims=True)
    one = frozenset({"mean"})
    first, second = 0.944 + noise[0], 1.058 + noise[1]
    gap = gaps(_mean(first, target_one=one), _mean(second, target_one=one), _alone(200), ["mean"])["mean"]
    assert gap.difference == pytest.approx(0.002)
    assert gap.interval.ends is not None
    assert gap.interval.ends[0] < 0 < gap.interval.ends[1]
    assert _p(first, second, _alone(200), target_one=one) > 0.5
    assert _p(first, second, _alone(200)) < 0.001
    assert _p(first, first + 0.05, _alone(200), target_one=one) < 0.001


def test_values_that_may_lie_on_either_side_of_one_are_seldom_called_different() -> None:
    """Both 0.05 from 1, with an error as large: taken as being on one side, a quarter would be called different."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        both = rng.normal(0, 0.2, 20)
        first, second = 0.95 + both + rng.normal(0, 0.1, 20), 1.05 + both + rng.normal(0, 0.1, 20)
        hits += _p(first, second, _alone(20), 300, target_one=frozenset({"mean"})) < 0.05
    assert hits / 200 <= 0.08


def test_step_down_by_hand() -> None:
    """Largest first: 3 is exceeded by the largest of all once, 2 by the larger of the others twice, 1 by its own."""
    permuted = np.array([[0.0, 4.0, 0.0], [0.0, 0.0, 2.5], [1.5, 0.0, 2.0], [0.5, 0.5, 0.5]])
    assert step_down(np.array([1.0, 3.0, 2.0]), permuted) == pytest.approx([3 / 5, 2 / 5, 3 / 5])


def test_scores_that_go_together_are_not_punished_for_their_number() -> None:
    share = np.random.default_rng(3).normal(0.35, 1, 60)
    alone = p_values(share[:, None], [60], [""], 5_000).alone[0]
    many = p_values(np.repeat(share[:, None], 20, axis=1), [60] * 20, [""] * 20, 5_000)
    assert many.within == pytest.approx([alone] * 20)
    assert alone * 20 > many.within[0] * 10
    apart = p_values(np.random.default_rng(1).normal(0, 1, (60, 20)), [60] * 20, [""] * 20, 2_000)
    assert (apart.within >= apart.alone).all()
    assert apart.within.min() > apart.alone.min()


def test_all_pairs_are_corrected_together_and_absent_patients_count_for_nothing() -> None:
    rng = np.random.default_rng(5)
    shares = rng.normal(0.3, 1, (50, 4))
    shares[30:, 2:] = 0
    test = p_values(shares, [50, 50, 30, 30], ["a", "a", "b", "b"], 3_000)
    assert (test.over_all >= test.within).all()
    assert (test.within >= test.alone).all()
    own = p_values(shares[:30, 2:], [30, 30], ["b", "b"], 3_000)
    assert test.alone[2:] == pytest.approx(own.alone, abs=0.03)


def test_the_seed_decides_and_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = np.random.default_rng(6).normal(0.2, 1, (40, 3))
    words = ([40] * 3, ["a"] * 3, 400)
    first = p_values(shares, *words, seed=1).alone
    assert (first == p_values(shares, *words, seed=1).alone).all()
    assert (first != p_values(shares, *words, seed=2).alone).any()
    monkeypatch.setattr(paired, "_SIGNS_AT_ONCE", 40 * 64)
    assert (first == p_values(shares, *words, seed=1).alone).all()


def test_a_rare_finding_has_a_p_and_no_interval() -> None:
    counts = np.zeros((2, 60, 42))
    counts[0, :3, 0], counts[1, :3, 28] = 1, 1
    one, two = (
        MetricResult(rows, lambda sums: f1_values(sums, "x", "skip"), "x", f1=f1_columns("x")) for rows in counts
    )
    gap = gaps(one, two, _alone(60), ["x_enlarged_cardiomediastinum"])["x_enlarged_cardiomediastinum"]
    assert gap.difference == -1
    assert (gap.interval.ends, gap.interval.why) == (None, FEW_CASES)
    assert p_values(gap.shares[:, None], [60], [""], 500).alone[0] > 0.05
