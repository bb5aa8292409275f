from __future__ import annotations

import math

from cxrgen.metrics.lexical import text_stats as form


def whole(hypotheses: list[str], references: list[str]) -> dict[str, float]:
    measured = form.measure(hypotheses, references)
    return {name: float(value) for name, value in measured.aggregate(measured.counts.sum(axis=0)).items()}


def test_a_loop_is_repetition() -> None:
    assert whole(["the lungs are clear the lungs are clear"], ["Lungs clear."])["repetition"] == 2 / 6
    assert whole(["The lungs are clear."], ["x"])["repetition"] == 0
    assert whole(["Clear."], ["x"])["repetition"] == 0


def test_length_is_of_the_whole_set() -> None:
    got = form.measure(["a b c d", "a"], ["a b", "a b c"])
    assert got.target_one == {"length_ratio"}
    assert float(got.aggregate(got.counts.sum(axis=0))["length_ratio"]) == 1
    assert got.aggregate(got.counts)["length_ratio"].tolist() == [2, 1 / 3]


def test_empty_texts() -> None:
    assert whole([""], ["a b"]) == {"repetition": 0, "length_ratio": 0}
    assert math.isnan(whole(["a"], [""])["length_ratio"]) or math.isinf(whole(["a"], [""])["length_ratio"])
