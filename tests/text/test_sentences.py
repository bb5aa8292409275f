"""Sentences end where sentences end: not in decimals, at numbers of a list, titles or abbreviations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrgen.text.sentences import cut_at_sentence, sentence_ends, sentences

SPLIT = {
    "The tip is 4.5 cm above the carina. No effusion.": ["The tip is 4.5 cm above the carina.", "No effusion."],
    "1. Large heart. 2. Effusion.": ["1. Large heart.", "2. Effusion."],
    "Dr. Synthetic was told at 5 p.m. by phone. Clear lungs.": [
        "Dr. Synthetic was told at 5 p.m. by phone.", "Clear lungs.",
    ],
    "Opacity, e.g. pneumonia vs. atelectasis. approx. 2 cm wide.": [
        "Opacity, e.g. pneumonia vs. atelectasis.", "approx. 2 cm wide.",
    ],
    "Seen by J. Doe. Clear": ["Seen by J. Doe.", "Clear"],
    "clear lungs. no effusion. line 3 cm. tip": ["clear lungs.", "no effusion.", "line 3 cm. tip"],
    "heart is normal . no effusion .": ["heart is normal .", "no effusion ."],
    "Compared to ___. ___ is new! Is it? Yes.": ["Compared to ___.", "___ is new!", "Is it?", "Yes."],
    "Findings:\n Clear.\n\n Normal.\n": ["Findings:\n Clear.", "Normal."],
    "no stop at all": ["no stop at all"],
    "The lungs are clear.No effusion": ["The lungs are clear.", "No effusion"],
    "Effusion: no. Edema: no. See No. 3 here": ["Effusion: no.", "Edema: no.", "See No. 3 here"],
    "OPACITY VS. SCAR, SEEN BY DR. DOE. CLEAR": ["OPACITY VS. SCAR, SEEN BY DR. DOE.", "CLEAR"],
    "tip in the svc. no effusion. line 3 cm. tip": ["tip in the svc.", "no effusion.", "line 3 cm. tip"],
    "- No effusion\n- Edema": ["- No effusion", "- Edema"],
    "- Seen on the left\n- Edema": ["- Seen on the left", "- Edema"],
    "No effusion\r\nMild edema\r\nLarge heart": ["No effusion", "Mild edema", "Large heart"],
    "1. Large heart 2. Effusion 4 or 5. ribs": ["1. Large heart", "2. Effusion 4 or 5. ribs"],
    "No effusion IMPRESSION: Normal": ["No effusion", "IMPRESSION: Normal"],
    "No effusion\n\nNormal": ["No effusion", "Normal"],
    "There is no\npleural effusion": ["There is no\npleural effusion"],
    "An endotracheal tube that was placed today ends\n5.5 cm above the carina. No\neffusion.": [
        "An endotracheal tube that was placed today ends\n5.5 cm above the carina.", "No\neffusion.",
    ],
    " \n": [],
}  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), SPLIT.items(), ids=range(len(SPLIT)))
def test_sentences(text: str, wanted: list[str]) -> None:
    assert sentences(text) == wanted


@given(
    st.text(alphabet="aB1. \n!_(c", max_size=60) | st.text(max_size=60) | st.text("- 12.)a:\r\nIMPRESION", max_size=60)
)
def test_nothing_is_lost_and_ends_are_in_order(text: str) -> None:
    ends = sentence_ends(text)
    assert ends == sorted(set(ends))
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


def test_a_text_is_cut_at_its_last_sentence_that_fits() -> None:
    text = "Tip 4.5 cm above the carina.\n 2. Seen by Dr. Doe. No effusion."
    longest = [cut_at_sentence(text, lambda part, most=most: len(part.split()) <= most) for most in (12, 11, 10, 6, 5)]
    assert longest == [text[: text.index(" No")], text[: text.index(" No")], text[:28], text[:28], None]
    assert cut_at_sentence(text, lambda part: True) == text
