"""Sections: the official parser to the character, and what it loses found by the tolerant one."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrgen.core.errors import UsageError
from cxrgen.text.headers import official_name
from cxrgen.text.sections import OVERRIDDEN, conclusion, find_sections, split_sections, unix_newlines

GOLDEN = Path(__file__).parents[1] / "golden" / "sections"
CASES = json.loads((GOLDEN / "golden.json").read_text(encoding="utf-8"))["cases"]
FINAL = "                                 FINAL REPORT\n"
RULE = " " + "_" * 78 + "\n"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["key"])
def test_mimic_equals_the_official_parser(case: dict[str, Any]) -> None:
    wanted = case["parsed_universal_newlines"] or case["parsed"]
    found = find_sections(case["text"], "mimic")
    assert [section.text for section in found] == wanted["sections"]
    assert [section.name for section in found] == wanted["names"]
    assert [section.start for section in found] == wanted["start"]
    assert conclusion(case["text"], case["study"]) == case["conclusion"]
    if case["sectioned_row"] is None:
        assert case["study"].removeprefix("s") in OVERRIDDEN
    else:
        sections = split_sections(case["text"], "mimic")
        assert {name: sections.get(name) for name in case["sectioned_row"]} == case["sectioned_row"]


@pytest.mark.parametrize("row", json.loads((GOLDEN / "header_names.json").read_text()), ids=lambda row: row["header"])
def test_official_names(row: dict[str, str]) -> None:
    assert official_name(row["header"]) == row["name"]


def test_mimic_keeps_the_last_of_a_repeated_name() -> None:
    text = FINAL + " IMPRESSION:  Pneumonia.\n \n CONCLUSION:  No pneumonia.\n"
    assert split_sections(text, "mimic")["impression"] == "No pneumonia."


def test_mimic_swallows_a_header_on_the_very_next_line() -> None:
    assert split_sections(FINAL + " FINDINGS:\n IMPRESSION: Clear.\n", "mimic")["findings"] == "IMPRESSION: Clear."
    assert split_sections(FINAL + " FINDINGS: \n IMPRESSION: Clear.\n", "mimic")["impression"] == "Clear."


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_newlines_of_every_system(newline: str) -> None:
    text = (FINAL + " FINDINGS: Clear\n lungs.\n \n IMPRESSION: Normal.\n").replace("\n", newline)
    for style in ("mimic", "tolerant"):
        sections = split_sections(text, style)
        assert (sections["findings"], sections["impression"]) == ("Clear\n lungs.", "Normal.")


def test_overrides_only_with_an_id() -> None:
    text = FINAL + " FINDINGS:  Clear.\n \n RECOMMENDATIONS:  CT is advised.\n"
    assert conclusion(text) == "Clear."
    assert conclusion(text, "50913681") == "Clear."
    assert conclusion(text, "50913680") == conclusion(text, "s50913680") == "CT is advised."
    assert conclusion(FINAL + " FINDINGS:  Clear.\n", "s50913680") == "Clear."  # the official script stops here
    assert (
        conclusion("x" * 58 + " some text " + "x" * 400, "s50196495") == ("x" * 58 + " some text " + "x" * 400)[59:399]
    )
    assert conclusion(text, "s58235663") == ""
    assert len(OVERRIDDEN) == 54


def test_unknown_style() -> None:
    with pytest.raises(UsageError, match="tolerant, mimic"):
        split_sections("x", "strict")


BODY = {"findings": "The lungs are clear.", "impression": "Normal chest."}
PARAGRAPHS = "The heart is enlarged.\n \n There is no effusion."

TOLERANT = {
    "modern template": (
        FINAL + " EXAMINATION:  CHEST (PA AND LAT)\n \n INDICATION:  Cough.\n \n TECHNIQUE:  Two views.\n \n"
        " COMPARISON:  ___\n \n FINDINGS: \n \n The lungs are clear.\n \n IMPRESSION: \n \n Normal chest.\n",
        BODY | {"examination": "CHEST (PA AND LAT)", "indication": "Cough.", "technique": "Two views.",
                "comparison": "___"},
    ),
    "empty findings, impression on the next line": (
        FINAL + " FINDINGS:\n IMPRESSION: Normal chest.\n", {"impression": "Normal chest."}
    ),
    "findings, impression on the next lines": (
        FINAL + " FINDINGS:\n The lungs are clear.\n IMPRESSION:\n Normal chest.\n", BODY
    ),
    "column 0": ("FINDINGS: The lungs are clear.\nIMPRESSION: Normal chest.\n", BODY),
    "mixed case": ("Findings: The lungs are clear.\n\nImpression: Normal chest.\n", BODY),
    "lower case": ("findings: The lungs are clear.\nimpression: Normal chest.", BODY),
    "tab": ("\tFINDINGS:\tThe lungs are clear.\n\t\n\tIMPRESSION:\tNormal chest.\n", BODY),
    "no-break space": ("\xa0FINDINGS:\xa0The lungs are clear.\n\xa0\n\xa0IMPRESSION: Normal chest.", BODY),
    "deep indent": ("       FINDINGS: The lungs are clear.\n       IMPRESSION: Normal chest.\n", BODY),
    "digits": (
        FINAL + " CHEST, 2 VIEWS:  The lungs are clear.\n \n IMPRESSION 1:  Normal chest.\n", BODY
    ),
    "numbered headers": ("1. FINDINGS: The lungs are clear.\n2. IMPRESSION: Normal chest.\n", BODY),
    "period": (FINAL + " CHEST. TWO VIEWS:  The lungs are clear.\n \n IMPRESSION.:  Normal chest.\n", BODY),
    "underscore": (FINAL + " FINDINGS_:  The lungs are clear.\n \n _IMPRESSION:  Normal chest.\n", BODY),
    "ampersand": (FINAL + " CHEST, PA & LATERAL:  The lungs are clear.\n \n IMPRESSION:  Normal chest.\n", BODY),
    "apostrophe": (FINAL + " FINDINGS:  The lungs are clear.\n \n RADIOLOGIST'S IMPRESSION:  Normal chest.\n", BODY),
    "no blank after the colon": ("FINDINGS:The lungs are clear.\nIMPRESSION:Normal chest.", BODY),
    "colon at the end": (FINAL + " FINDINGS: The lungs are clear.\n IMPRESSION:", {"findings": "The lungs are clear."}),
    "header lines without colon": ("FINDINGS\nThe lungs are clear.\n\nIMPRESSION\nNormal chest.", BODY),
    "dashes": ("FINDINGS - The lungs are clear.\nIMPRESSION - Normal chest.", BODY),
    "marked bold": ("**Findings:** The lungs are clear.\n\n**Impression:** Normal chest.", BODY),
    "one line": ("Findings: The lungs are clear. Impression: Normal chest.", BODY),
    "one line of a flattened file": (
        "FINAL REPORT INDICATION: Cough TECHNIQUE: Two views FINDINGS: The lungs are clear. IMPRESSION: Normal chest.",
        BODY | {"indication": "Cough", "technique": "Two views"},
    ),
    "misspelled": ("FINDNIGS: The lungs are clear.\nIMPRESION: Normal chest.", BODY),
    "plural and other words": ("INDICATIONS: Cough.\nREPORT FINDINGS: The lungs are clear.\nOPINION: Normal chest.",
                               BODY | {"indication": "Cough."}),
    "title of a modality": ("XR CHEST 1V PORTABLE: The lungs are clear.\nIMPRESSION (FINAL): Normal chest.", BODY),
    "report": ("REPORT:\nThe lungs are clear.\n\nImpression and plan: Normal chest.", BODY),
    "technique, then the body": (
        "TECHNIQUE: Two views.\n\nThe lungs are clear.\n\nIMPRESSION: Normal chest.", BODY | {"technique": "Two views."}
    ),
    "title, then indication with the body": (
        FINAL + " CHEST, PA LATERAL:\n \n INDICATION:  Cough.\n \n The lungs are clear.\n"
        " \n IMPRESSION:  Normal chest.\n",
        BODY | {"indication": "Cough."},
    ),
    "title with a time": (
        FINAL + " CHEST, PORTABLE:  3:45 p.m.\n \n INDICATION:  Cough.\n \n The lungs are clear.\n",
        {"examination": "3:45 p.m.", "indication": "Cough.", "last_paragraph": "The lungs are clear."},
    ),
    "history, then paragraphs": (
        FINAL + f" HISTORY:  Fall.\n \n {PARAGRAPHS}\n", {"history": "Fall.", "last_paragraph": PARAGRAPHS}
    ),
    "paragraphs, then comparison": (
        FINAL + f" INDICATION:  Dyspnea.\n \n {PARAGRAPHS}\n \n COMPARISON:  ___.\n",
        {"indication": "Dyspnea.", "last_paragraph": PARAGRAPHS, "comparison": "___."},
    ),
    "blank lines of two spaces": (
        FINAL + " INDICATION: Cough.\n  \n The lungs are clear.\n  \n Normal chest.\n",
        {"indication": "Cough.", "last_paragraph": "The lungs are clear.\n  \n Normal chest."},
    ),
    "two impressions": (
        FINAL + " IMPRESSION:  Pneumonia.\n \n IMPRESSION:  No pneumonia.\n",
        {"earlier impression": "Pneumonia.", "impression": "No pneumonia."},
    ),
    "sub-labels": (
        FINAL + " FINDINGS:  Lines:\n LEFT PICC: tip in the SVC.\n LUNGS: Clear.\n LATERAL VIEW: No effusion.\n"
        " \n IMPRESSION:  Normal chest.\n",
        {
            "findings": "Lines:\n LEFT PICC: tip in the SVC.\n LUNGS: Clear.\n LATERAL VIEW: No effusion.",
            "impression": "Normal chest.",
        },
    ),
    "labels of organs without a header": (
        "TECHNIQUE: Two views.\nLUNGS: Clear.\nHEART: Normal.\nIMPRESSION: Normal chest.",
        {"technique": "Two views.", "findings": "LUNGS: Clear.\nHEART: Normal.", "impression": "Normal chest."},
    ),
    "addendum on top": (
        " ADDENDUM  The left lung has a nodule.\n" + RULE + FINAL
        + " FINDINGS:  The lungs are clear.\n \n IMPRESSION:  Normal chest.\n",
        BODY | {"addendum": "The left lung has a nodule."},
    ),
    "addendum on top without its word": (
        " The left lung has a nodule.\n" + RULE + FINAL
        + " FINDINGS:  The lungs are clear.\n \n IMPRESSION:  Normal chest.\n",
        BODY | {"addendum": "The left lung has a nodule."},
    ),
    "addendum at the end": (
        FINAL + " FINDINGS: The lungs are clear.\n IMPRESSION: Normal chest.\n ADDENDUM TO THE REPORT: A nodule.\n",
        BODY | {"addendum": "A nodule."},
    ),
    "wet read in line 1": (
        " WET READ: ___ 8:07 AM\n  No pneumothorax.\n" + RULE + FINAL
        + " FINDINGS:  The lungs are clear.\n \n IMPRESSION:  Normal chest.\n",
        BODY | {"wet read": "___ 8:07 AM\n  No pneumothorax."},
    ),
    "numbered impression": (
        FINAL + " FINDINGS: The lungs are clear.\n \n IMPRESSION: \n"
        " \n 1. No effusion.\n \n 2. Heart at 8:15 AM: large.\n",
        {"findings": "The lungs are clear.", "impression": "1. No effusion.\n \n 2. Heart at 8:15 AM: large."},
    ),
    "one paragraph, no header": (FINAL + " The lungs are clear.\n", {"last_paragraph": "The lungs are clear."}),
    "paragraphs, no header": (
        FINAL + f" AP chest read with the image of ___:\n \n {PARAGRAPHS}\n",
        {"preamble": "AP chest read with the image of ___:", "last_paragraph": PARAGRAPHS},
    ),
    "signature": (
        FINAL + " FINDINGS: The lungs are clear.\n IMPRESSION: Normal chest.\n" + RULE + " ___, MD\n",
        BODY | {"closing": "___, MD"},
    ),
    "sentences with a colon": (
        "FINDINGS: The lungs are clear.\nComparison is made to the image of: ___.\nIMPRESSION: Normal chest.\n",
        BODY | {"findings": "The lungs are clear.\nComparison is made to the image of: ___."},
    ),
    "nothing": (" \n\t\n", {}),
}  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), TOLERANT.values(), ids=TOLERANT.keys())
def test_tolerant(text: str, wanted: dict[str, str]) -> None:
    assert split_sections(text) == wanted


SLIPS = {"caps_sentence_with_colon", "chest_pain_quirk"}  # the official parser cuts findings short, or invents them
WHOLE = [
    case
    for case in CASES
    if case["key"] not in SLIPS and case["sectioned_row"] and case["sectioned_row"]["findings"]
    and case["sectioned_row"]["impression"]
]  # fmt: skip


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case["key"])
def test_tolerant_agrees_where_the_official_parser_finds_both(case: dict[str, Any]) -> None:
    sections = split_sections(case["text"])
    assert sections["findings"] == case["sectioned_row"]["findings"]
    assert sections["impression"] == case["sectioned_row"]["impression"]


PIECES = ["FINDINGS", "Impression", ":", ": ", "\n", "\n ", "\n \n", "\r\n", "\r", "a b.", "LEFT PICC", "_" * 9, "___",
          "CHEST", "8:07", "\t", "ADDENDUM", "WET READ", "FINAL REPORT", "COMPARISON", "LUNGS", "é"]  # fmt: skip
REPORTS = st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join))


@settings(max_examples=300, deadline=None)
@given(REPORTS, st.sampled_from(["mimic", "tolerant"]))
def test_any_text_is_split_into_pieces_of_itself(text: str, style: str) -> None:
    plain = unix_newlines(text)
    for name, section in split_sections(text, style).items():
        assert section == section.strip()
        assert name == name.strip().lower()
        parts = section.split("\n\n") if style == "tolerant" else [section]
        assert all(part.strip() in plain for part in parts)
    for each in find_sections(text, style):
        assert 0 <= each.start <= len(plain)
    assert conclusion(text) in plain


@settings(max_examples=300, deadline=None)
@given(REPORTS)
def test_tolerant_loses_no_word_but_headers(text: str) -> None:
    words = " ".join(split_sections(text).values()).split()
    for word in unix_newlines(text).split():
        if word.isalpha() and word.islower() and ":" not in word:
            assert any(word in each for each in words) or word in ("addendum", "findings", "impression", "comparison")


@pytest.mark.parametrize("text", [" " * 20_000, "A " * 20_000, "\n " * 20_000, " A" * 20_000 + ":", "A:\n" * 20_000])
def test_long_odd_texts_take_no_long_time(text: str) -> None:
    start = time.process_time()
    split_sections(text)
    split_sections(text, "mimic")
    assert time.process_time() - start < 5  # a pattern that backtracks takes hours, not a slow machine's seconds
