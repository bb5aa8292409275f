from __future__ import annotations

import random
from typing import Any

import pytest

from cxrgen.metrics.lexical import ptb
from cxrgen.metrics.lexical.ptb import tokens


@pytest.mark.parametrize("example", "ABCD")
def test_micro_examples(micro: dict[str, Any], example: str) -> None:
    assert [" ".join(tokens(text)) for text in micro["examples"][example]] == micro["results"][example]["coco ptb text"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("There's no effusion; the heart doesn't look big.", "there 's no effusion the heart does n't look big"),
        ("1. Well-expanded lungs (50%).", "1 well-expanded lungs -lrb- 50 % -rrb-"),
        ("At 4:30 p.m. Dr. X saw it on 12/31/2011.", "at 4:30 p.m. dr. x saw it on 12/31/2011"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_rules(text: str, expected: str) -> None:
    assert " ".join(tokens(text)) == expected


@pytest.mark.parametrize(
    "line_break", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
)
def test_every_line_break_is_a_blank(line_break: str) -> None:
    assert tokens(f"Heart normal.{line_break}Lungs clear") == ["heart", "normal", "lungs", "clear"]


def test_what_the_original_has_no_rule_for_vanishes() -> None:
    assert tokens("heart \U0001f600 \u2163 \x7f big") == ["heart", "big"]


def test_a_fraction_with_a_blank_is_one_token() -> None:
    assert tokens("about 1 1/2 cm") == ["about", "1\u00a01/2", "cm"]


def test_where_a_text_is_cut_changes_no_token() -> None:
    """A tag can hold blanks and stops; what stands outside tags is cut at sentences, which are remembered."""
    bits = ["<", ">", "<BR>", "<b c. d> ", "Clear. ", "type B. <", "(<1 cm). ", "> 3. ", ". . ", "No. ", "5 ", "lung "]
    draw = random.Random(0)
    for _ in range(1_000):
        text = "".join(draw.choices(bits, k=draw.randint(2, 9)))
        assert tokens(text) == list(ptb._lexed(text)), text
    assert len(ptb.pieces("Lungs are clear. <b c. d> is bold. No effusion.")) == 3
