from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrgen.metrics.lexical import rouge
from cxrgen.metrics.lexical.lcs import common_lengths
from cxrgen.metrics.lexical.token_table import Numbered


def test_every_golden_pair(hypotheses: list[str], references: list[str], per_pair: dict[str, Any]) -> None:
    measured = rouge.measure(hypotheses, references)
    values = measured.aggregate(measured.counts)["rouge_l"]
    np.testing.assert_allclose(values, per_pair["coco_rouge_l/ptb"]["per_pair"], atol=1e-6)
    assert measured.aggregate(measured.counts.sum(axis=0))["rouge_l"] == pytest.approx(np.mean(values))


@pytest.mark.parametrize("example", "ABCD")
def test_micro_examples(micro: dict[str, Any], example: str) -> None:
    reference, hypothesis = micro["examples"][example]
    measured = rouge.measure([hypothesis], [reference])
    golden = micro["results"][example]["rougeL coco/ptb"]
    assert measured.aggregate(measured.counts[0])["rouge_l"] == pytest.approx(golden, abs=5e-5)


def numbered(texts: list[str]) -> Numbered:
    flat = np.array([ord(letter) for text in texts for letter in text], dtype=np.int64)
    return Numbered(flat, np.array([len(text) for text in texts]))


@settings(deadline=None)
@given(st.lists(st.tuples(st.text("abc", max_size=12), st.text("abc", max_size=12)), max_size=4), st.integers(0, 40))
def test_common_lengths_are_the_table_s(pairs: list[tuple[str, str]], more: int) -> None:
    """Of several pairs together, some of them longer than a machine word."""
    pairs = [*pairs, ("ab" * more, "ba" * (more // 2) + "c" * 70), ("", "a")]
    found = common_lengths(*(numbered(list(side)) for side in zip(*pairs)))
    for (one, other), length in zip(pairs, found):
        table = np.zeros((len(one) + 1, len(other) + 1), dtype=int)
        for i, a in enumerate(one):
            for j, b in enumerate(other):
                table[i + 1, j + 1] = table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
        assert length == table[-1, -1]


def test_two_empty_texts_are_equal_and_one_is_not() -> None:
    measured = rouge.measure(["", "Clear."], ["", ""])
    assert measured.aggregate(measured.counts)["rouge_l"].tolist() == [1.0, 0.0]
