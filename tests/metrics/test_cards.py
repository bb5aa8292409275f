"""Every score that a registered metric gives has a card in docs, with all that a card must say."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from cxrgen.metrics import METRICS, measure

DOCS = Path(__file__).parents[2] / "docs"
CARDS = [
    *re.split(r"^### ", (DOCS / "metrics.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:],
    *re.split(r"^## ", (DOCS / "metrics-with-weights.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:],
]


def names(card: str) -> list[str]:
    """Patterns of the score names in a card: `a_{b,c}` is two, `a_{finding}` has any finding, `a_1` to `a_4` four."""
    found = re.findall(r"`([\w{},]+)`", card)
    found += [f"{stem}{n}" for stem, n in re.findall(r"`(\w+_)1` to `\w+_(4)`", card) for n in range(1, int(n) + 1)]
    patterns = []
    for name in found:
        parts = [part.split(",") for part in re.split(r"[{}]", name)]
        choices = [[r"\w+"] if number % 2 and len(part) == 1 else part for number, part in enumerate(parts)]
        patterns += ["".join(chosen) for chosen in itertools.product(*choices)]
    return patterns


@pytest.mark.parametrize("metric", METRICS)
def test_every_score_has_a_card(metric: str) -> None:
    measured = measure(metric, [], [], **({"truth": []} if metric == "findings" else {}))
    scores = measured.aggregate(np.ones(measured.counts.shape[1]))
    assert scores
    for score in scores:
        cards = [card for card in CARDS if any(re.fullmatch(pattern, score) for pattern in names(card))]
        whole = [
            card
            for card in cards
            if re.search(r"[↑↓]|→1|(?:Higher|Lower) is better", card)
            and re.search(r"Traps?\b", card)
            and "Why your number differs" in card
        ]
        assert whole, f"{score}: {len(cards)} cards name it; one must tell its direction, its traps, why numbers differ"


def test_a_score_without_a_card_would_be_seen() -> None:
    assert not any(re.fullmatch(pattern, "bleu_5") for card in CARDS for pattern in names(card))
