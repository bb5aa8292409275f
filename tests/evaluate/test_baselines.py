from collections import Counter

from cxrgen.evaluate.baselines import best_baseline, shuffled
from cxrgen.evaluate.scores import Score


def test_shuffled_gives_everyone_another_patients_report_once() -> None:
    subjects = ["p1", "p2", "p1", "p3", "p3", "p3", "p4", "p5", "p6"]
    ids = [f"s{i}" for i in range(9)]
    references = [f"{subject} text {i}" for i, subject in enumerate(subjects)]
    result = shuffled(references, subjects, ids, seed=0)
    assert Counter(result) == Counter(references)
    assert all(not text.startswith(subject) for text, subject in zip(result, subjects))
    assert shuffled(references, subjects, ids, seed=1) != result


def test_shuffled_does_not_depend_on_row_order() -> None:
    subjects = [f"p{i // 2}" for i in range(10)]
    ids = [f"s{i}" for i in range(10)]
    references = [f"text {i}" for i in range(10)]
    forward = dict(zip(ids, shuffled(references, subjects, ids)))
    backward = dict(zip(ids[::-1], shuffled(references[::-1], subjects[::-1], ids[::-1])))
    assert forward == backward


def test_one_study_keeps_its_own_report() -> None:
    assert shuffled(["only"], ["p"], ["s"]) == ["only"]


def _score(value: float) -> Score:
    return Score(value, None, "higher", "")


def test_best_baseline_follows_the_direction() -> None:
    baselines = {"normal": {"x": _score(0.2)}, "shuffled": {"x": _score(0.4)}, "odd": {"x": _score(float("nan"))}}
    assert best_baseline("x", "higher", baselines) == ("shuffled", baselines["shuffled"]["x"])
    assert best_baseline("x", "lower", baselines) == ("normal", baselines["normal"]["x"])
    assert best_baseline("y", "higher", baselines) is None
