import numpy as np
import pytest

from cxrgen.core.records import Study, View
from cxrgen.evaluate.page.strata import groups, values_by_group
from cxrgen.evaluate.scores import evaluate


def _study(name: str, views: tuple[str, ...], prior: str | None = None) -> Study:
    return Study(name, "p", views=tuple(View("x", view) for view in views), prior_study_id=prior)


def test_groups_come_in_pairs_and_empty_sides_are_left_out() -> None:
    ids = ["1", "2", "3"]
    studies = {
        "1": _study("1", ("frontal", "lateral")),
        "2": _study("2", ("frontal",), prior="1"),
        "3": _study("3", ("lateral",)),
    }
    masks = groups(ids, ["a", "a b", "a b c"], np.array([True, True, True]), studies)
    assert "normal" not in masks
    assert masks["with lateral image"].tolist() == [True, False, True]
    assert masks["follow-up"].tolist() == [False, True, False]
    assert masks["long reference"].tolist() == [False, False, True]
    assert set(groups(ids, ["a", "a", "a"], np.array([True, False, False]), {})) == {"normal", "abnormal"}


def test_a_groups_scores_are_those_of_its_studies_alone() -> None:
    hypotheses, references = [*"abcdef", "x"], ["a b", "b c", "c", "d e", "e", "f a b", "x"]
    ids = [*"1234567"]
    scores = evaluate(hypotheses, references, ids, metrics=["toy"])
    value, ends = values_by_group(scores.measured, ids, np.arange(7) < 6)["overlap"]
    assert value == pytest.approx(6 / 11)
    alone = evaluate(hypotheses[:6], references[:6], ids[:6], metrics=["toy"])
    assert ends is not None
    assert ends == alone.metrics["overlap"].interval
