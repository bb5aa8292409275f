"""AUC and F1 of labels: against counting by hand, and how often the interval holds the true area."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from cxrgen.evaluate.label_scores import area_under_curve, label_scores


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(0)
    has, outputs = rng.random(80) < 0.3, rng.integers(0, 9, 80).astype(float)
    pairs = [(a > b) + 0.5 * (a == b) for a in outputs[has] for b in outputs[~has]]
    area, interval = area_under_curve(has, outputs, [str(n) for n in range(80)])
    assert area == pytest.approx(np.mean(pairs))
    assert interval.ends is not None
    assert interval.ends[0] < area < interval.ends[1]


def test_the_interval_holds_the_true_area_and_knows_patients() -> None:
    """Two images of each patient, nearly equal: as many patients count, not as many images."""
    true = NormalDist().cdf(1 / math.sqrt(2))
    held = {"patients": 0, "images": 0}
    for seed in range(300):
        rng = np.random.default_rng(seed)
        patient = np.repeat(np.arange(60), 2)
        has = patient % 3 == 0
        outputs = (rng.normal(size=60) + (np.arange(60) % 3 == 0))[patient] + 1e-6 * rng.normal(size=120)
        for name, subjects in (("patients", patient), ("images", np.arange(120))):
            ends = area_under_curve(has, outputs, [str(each) for each in subjects])[1].ends
            assert ends is not None
            held[name] += ends[0] <= true <= ends[1]
    assert 0.92 <= held["patients"] / 300 <= 0.985
    assert held["images"] / 300 < 0.9


def test_unknown_images_count_in_nothing_and_few_cases_give_no_interval() -> None:
    truth = np.array([[1, 1], [1, -1], [0, -1], [0, 0], [-1, 0], [0, 0]])
    outputs = np.array([[3.0, 1], [1, 9], [2, 9], [0, 0], [99, 0], [0.5, 2]])
    first, second = label_scores(["a", "b"], truth, outputs, [0.4, 0.25], list("123456"))
    assert (first.known, first.present, first.auc) == (5, 2, pytest.approx(5 / 6))
    assert first.f1 == pytest.approx(0.5)  # two of five are called, one of them rightly
    assert first.auc_interval.ends is None
    assert (second.known, second.present, second.auc) == (4, 1, pytest.approx(2 / 3))
    assert second.f1 == 0
    assert second.record()["auc_ci95"] is None


def test_a_label_that_all_images_have_has_no_area() -> None:
    (score,) = label_scores(["a"], np.ones((9, 1)), np.arange(9.0)[:, None], [0.5], list("123456789"))
    assert math.isnan(score.auc)
    assert score.record()["auc"] is None
    assert score.cells()[3] == "–"


def test_perfect_order_keeps_an_interval_below_one() -> None:
    has = np.array([True] * 6 + [False] * 6)
    area, interval = area_under_curve(has, np.where(has, 1.0, 0.0), [str(n) for n in range(12)])
    assert area == 1
    assert interval.ends is not None
    assert interval.ends[0] < 0.8
    assert interval.ends[1] == 1
