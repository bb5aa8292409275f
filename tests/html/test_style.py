"""Words can be read: contrast of every colour that text has, in the light and in the dark (WCAG AA, 4.5 to 1)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import cxrgen.html

CSS = (Path(cxrgen.html.__file__).parent / "style.css").read_text(encoding="utf-8")
ON_PAPER = ("ink", "soft", "main", "second", "third", "fourth", "fifth", "sixth", "good", "bad")
PAIRS = [
    *((words, paper) for words in ON_PAPER for paper in ("paper", "wash")),
    ("ink", "remark"),
    ("cut-ink", "cut"),
    ("added-ink", "added"),
]


def colours(dark: bool) -> dict[str, str]:
    light, _, rest = CSS.partition("@media screen and (prefers-color-scheme: dark)")
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    return {**found, **dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", rest))} if dark else found


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, two: str) -> float:
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_words_stand_out(dark: bool) -> None:
    of = colours(dark)
    low = {pair: contrast(of[pair[0]], of[pair[1]]) for pair in PAIRS}
    assert {pair: round(value, 2) for pair, value in low.items() if value < 4.5} == {}
    assert contrast("#777777", "#ffffff") < 4.5
