"""Two report texts side by side with the words that differ coloured.

Words are compared without regard to case and outer punctuation, because "Effusion." and "effusion" say the same; what
is shown is the text as written, line breaks included. Blanks never count as a difference.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from cxrgen.html.layout import Html, html, join, tag

_PIECES = re.compile(r"\S+")


def differing_words(reference: str, hypothesis: str) -> tuple[Html, Html]:
    """Both texts as HTML: words only in the reference in `<del>`, words only in the hypothesis in `<ins>`."""
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
    return _marked(reference, only_left, "del"), _marked(hypothesis, only_right, "ins")


def _compared(word: re.Match[str]) -> str:
    return word.group().strip(".,;:()[]\"'").lower() or word.group()


def _marked(text: str, spans: list[tuple[int, int]], name: str) -> Html:
    pieces: list[Html] = []
    done = 0
    for start, end in spans:
        pieces += [html(text[done:start]), tag(name, text[start:end])]
        done = end
    return join([*pieces, html(text[done:])])
