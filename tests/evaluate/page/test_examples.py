"""Which studies the page shows."""

from __future__ import annotations

import numpy as np
import pytest

from cxrgen.evaluate import evaluate
from cxrgen.evaluate.page.examples import examples


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 7, 9, 10, 40])
def test_no_study_is_shown_as_two_kinds(count: int) -> None:
    """Study i shares i of its 40 words: the order is that of the numbers."""
    references = [" ".join(f"w{number}" for number in range(40))] * count
    hypotheses = [" ".join(f"w{number}" for number in range(i + 1)) for i in range(count)]
    scores = evaluate(hypotheses, references, [f"{i:02}" for i in range(count)], metrics=["rouge"])
    kinds, sentence = examples(scores)
    shown = [row for rows in kinds.values() for row in rows]
    assert len(set(shown)) == len(shown)
    assert "rouge_l" in sentence
    assert kinds["Worst"][0] == 0
    if count >= 9:
        assert kinds["Worst"] == [0, 1, 2]
        assert kinds["Best"] == [count - 1, count - 2, count - 3]
        assert abs(float(np.mean(kinds["Middle"])) - (count - 1) / 2) <= 1


def test_studies_alike_in_words_only_come_first() -> None:
    """Four reports turn the finding of their reference round and keep its words; the others do the opposite."""
    references = ["There is a small left pleural effusion today."] * 30
    hypotheses = ["Pleural fluid."] * 26 + ["There is no small left pleural effusion today."] * 4
    scores = evaluate(hypotheses, references, [f"{i:02}" for i in range(30)], metrics=["rouge", "rule"])
    kinds, _ = examples(scores)
    assert kinds["Worst"] == [26, 27, 28]
    assert next(iter(kinds)) == "Alike in words, unlike in findings"
    assert kinds["Alike in words, unlike in findings"][0] == 29
