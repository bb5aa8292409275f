"""In which orders the page shows the studies, and which reports do not lead as the best."""

from __future__ import annotations

import pytest

from cxrgen.evaluate import evaluate
from cxrgen.evaluate.page.orders import APART, BEST, FILE, WORST, flaw, orders

_LONG = (  # letters repeat in threes, words do not
    "The cardiomediastinal silhouette is within normal limits. There is a small pleural effusion on the left with "
    "adjacent atelectasis of the lung base. The right lung is clear, without consolidation or edema. No pneumothorax "
    "is identified. The osseous structures are intact, and a catheter terminates in the superior vena cava."
)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 40])
def test_every_study_is_in_every_order_once(count: int) -> None:
    """Study i shares i of its 40 words: the order is that of the numbers."""
    references = [" ".join(f"w{number}" for number in range(40))] * count
    hypotheses = [" ".join(f"w{number}" for number in range(i + 1)) for i in range(count)]
    scores = evaluate(hypotheses, references, [f"{i:02}" for i in range(count)], metrics=["rouge"])
    found, sorted_by = orders(scores, [""] * count)
    assert sorted_by == ["rouge_l"]
    assert found == {
        WORST: list(range(count)),
        BEST: list(range(count))[::-1],
        FILE: list(range(count)),
    }


def test_studies_alike_in_words_only() -> None:
    """Four reports turn the finding of their reference round and keep its words; the others do the opposite."""
    references = ["There is a small left pleural effusion today."] * 30
    hypotheses = ["Pleural fluid."] * 26 + ["There is no small left pleural effusion today."] * 4
    scores = evaluate(hypotheses, references, [f"{i:02}" for i in range(30)], metrics=["rouge", "rule"])
    found, _ = orders(scores, [""] * 30)
    assert found[WORST][:4] == [26, 27, 28, 29]
    assert found[APART][:4] == [26, 27, 28, 29]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("N/A", "names no finding"),
        ("Seen by the doctor.", "names no finding"),
        ("No effusion. No effusion. No effusion.", "repeats itself"),
        ("the left lung the left lung the left lung the left lung has an effusion", "repeats itself"),
        ("The heart is normal. Small left effusion. No pneumothorax.", ""),
        (_LONG, ""),
        ("Edema.", ""),
    ],
)
def test_flaws_of_form(text: str, what: str) -> None:
    assert flaw(text) == what


def test_a_report_that_says_nothing_is_never_the_best() -> None:
    """Both texts of study 1 name no finding, so their labels agree wholly; it comes last among the best."""
    references = ["Left effusion. Edema.", "Seen.", "Left effusion."]
    hypotheses = ["Left effusion.", "Seen.", "Right pneumothorax."]
    scores = evaluate(hypotheses, references, ["a", "b", "c"], metrics=["rouge", "rule"])
    assert scores.per_study["rule_similarity"][1] == 1
    found, _ = orders(scores, [flaw(text) for text in hypotheses])
    assert found[BEST] == [0, 2, 1]
