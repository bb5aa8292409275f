"""Two report texts side by side with the words that differ coloured.

Words are compared without regard to case and outer punctuation, because "Effusion." and "effusion" say the same; what
is shown is the text as written, line breaks included. Blanks never count as a difference.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from itertools import pairwise

from cxrgen.html.layout import Html, join, tag

_PIECES = re.compile(r"\S+")


def differing_words(reference: str, hypothesis: str) -> tuple[Html, Html]:
    """Both texts as HTML: words only in the reference in `<del>`, words only in the hypothesis in `<ins>`."""
    left, right = differing_pieces(reference, hypothesis)
    return _marked(left, "del"), _marked(right, "ins")


def differing_pieces(reference: str, hypothesis: str) -> tuple[list[str], list[str]]:
    """Both texts in pieces: what both have and what only this one has, in turn, beginning with what both have."""
    left, right = list(_PIECES.finditer(reference)), list(_PIECES.finditer(hypothesis))
    matcher = SequenceMatcher(
        None, [_compared(word) for word in left], [_compared(word) for word in right], autojunk=False
    )
    only_left: list[tuple[int, int]] = []
    only_right: list[tuple[int, int]] = []
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind != "equal":
            if b > a:
                only_left.append((left[a].start(), left[b - 1].end()))
            if d > c:
                only_right.append((right[c].start(), right[d - 1].end()))
    return _cut(reference, only_left), _cut(hypothesis, only_right)


def _compared(word: re.Match[str]) -> str:
    return word.group().strip(".,;:()[]\"'").lower() or word.group()


def _cut(text: str, spans: list[tuple[int, int]]) -> list[str]:
    """The text cut at the ends of spans."""
    places = [0, *(place for span in spans for place in span), len(text)]
    return [text[start:end] for start, end in pairwise(places)]


def _marked(pieces: list[str], name: str) -> Html:
    return join(tag(name, piece) if place % 2 else piece for place, piece in enumerate(pieces))
