from __future__ import annotations

import pytest

from cxrgen.text.misspellings import put_right


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("pnuemothorax", "pneumothorax"),
        ("effussion", "effusion"),
        ("efusions", "effusions"),
        ("atelectesis", "atelectasis"),
        ("effusionor pneumothorax", "effusion or pneumothorax"),
        ("noeffusion", "no effusion"),
        ("pulmonary edmea", "pulmonary edema"),
    ],
)
def test_names_one_letter_off(written: str, meant: str) -> None:
    assert put_right(written) == meant


@pytest.mark.parametrize(
    "words",
    [
        "perfusion infusion diffusion transfusion suffusion capacity",
        "effusions opacities fractured consolidating pneumonic infiltrated atelectatic infection injection",
        "pneumonectomy pneumomediastinum pneumoperitoneum module earth the no of",
    ],
)
def test_other_words_stay(words: str) -> None:
    assert put_right(words) == words
