"""Cleaning recipes: equal to the recorded outputs of the published code, and `plain` true to the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrgen.core.errors import UsageError
from cxrgen.text.cleaning import RECIPES, clean, mgca_sentences

GOLDEN = Path(__file__).parents[1] / "golden" / "cleaning" / "golden.json"
CASES = json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"]
COMPLETE = [case for case in CASES if case["findings"] is not None]


@pytest.mark.parametrize("case", COMPLETE, ids=lambda case: case["key"])
def test_recipes_equal_the_published_code(case: dict[str, Any]) -> None:
    findings, impression = case["findings"], case["impression"]
    sentences = case["mgca_sentences"]
    assert clean(findings, impression, "mgca") == (None if sentences is None else " ".join(sentences))
    assert mgca_sentences(f"{impression} {findings}") == sentences
    assert clean(findings, impression, "original") == case["llava_med_report_text"]
    assert clean(findings, impression, "r2gen-mimic") == case["r2gen_mimic"]
    assert clean(findings, impression, "r2gen-iu") == case["r2gen_iu"]


def test_a_missing_section_is_an_empty_one() -> None:
    text = "The lungs are clear today."
    for missing in (None, "", " ", "\n"):
        assert clean(missing, text, "original") == text
        assert clean(text, missing, "original") == text
        assert clean(missing, text, "mgca") == "the lungs are clear today"
        assert clean(missing, text, "plain") == text
        assert clean(text, missing, "r2gen-mimic") == "the lungs are clear today ."
        assert clean(missing, text, "r2gen-iu") == " ."
        for recipe in ("plain", "original", "mgca"):
            assert clean(missing, missing, recipe) is None


# By the rules of the published code, worked out by hand.
@pytest.mark.parametrize(
    ("recipe", "findings", "wanted"),
    [
        ("mgca", "Patient's naïve 5µm line ends at T11. Dr. No saw it.", "patient s nave 5m line ends at t no saw it"),
        ("mgca", "One \ufffd two. Left\ufffd\ufffd\ufffdbase clear.", "one two left base clear"),
        ("original", "ET tube and PICC in SVC. 12. Clear lungs.", "Et tube and picc in svc. Clear lungs."),
        ("original", "No change here", "No change here."),
        ("r2gen-mimic", "A is 1.5 cm. 2. B is > 3 mm; C-shaped.", "a is 15 cm . b is  3 mm c-shaped ."),
        ("r2gen-mimic", "Tube at ______ level.", "tube at  level ."),
        ("r2gen-iu", "Two  blanks.\nAnd a newline. XXXX.", "two  blanks\nand a newline . xxxx ."),
    ],
)  # fmt: skip
def test_recipes_by_rule(recipe: str, findings: str, wanted: str) -> None:
    assert clean(findings, None, recipe) == wanted


def test_plain_keeps_numbers_lists_case_and_punctuation() -> None:
    findings = (
        " The ET tube ends 4.5 cm above the carina;\n the PICC (left) in the SVC.\n \n 1. Nodule, 3.2 x 1.1 mm?\n"
    )
    impression = "1) No change since ___.\r\n2) CT is advised: today!"
    assert clean(findings, impression, "plain") == (
        "The ET tube ends 4.5 cm above the carina; the PICC (left) in the SVC. 1. Nodule, 3.2 x 1.1 mm? "
        "1) No change since ___. 2) CT is advised: today!"
    )


@given(st.text(), st.text())
def test_plain_keeps_every_word(findings: str, impression: str) -> None:
    assert (clean(findings, impression, "plain") or "").split() == findings.split() + impression.split()


@given(st.text(), st.text(), st.sampled_from(list(RECIPES)))
def test_no_text_stops_a_recipe(findings: str, impression: str, recipe: str) -> None:
    text = clean(findings, impression, recipe)
    assert text is None or text.strip()


def test_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="plain, original, mgca, r2gen-mimic, r2gen-iu"):
        clean("x", "y", "csv2json")


def test_recipes_have_versions() -> None:
    assert set(RECIPES.values()) == {1}
