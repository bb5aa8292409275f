"""Where the sentences of a report end.

Reports are full of stops that end nothing: decimals, numbers of a list, titles, abbreviations. An end that is missed
leaves two sentences together, an end that is none tears one apart, which costs more; so the rule is careful. A stop
ends a sentence where a blank and a capital, digit, bracket or blank of de-identification follow; before a small letter
only after a whole word of four letters or more, or where the stop stands alone, as cleaned texts have it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_STOP = re.compile(
    r"""[.!?](?=\s+[A-Z0-9(_])
    | (?<=\s)[.!?](?=\s)
    | (?<=[a-z]{4})[.!?](?=\s+[a-z])
    """,
    re.VERBOSE,
)
_NO_END = re.compile(
    r"""(?:^|[\s(])(?:\d{1,2}[.)]|[A-Z]\.
    | (?:Drs?|Mrs?|Ms|Prof|St|Nos?|Figs?|[ap]\.m|[Ee]\.g|[Ii]\.e|[Cc]f|[Vv]s|[Mm]ax|[Mm]in|[Aa]pprox|[Ii]ncl|[Rr]esp
       |[Bb]ilat|[Pp]oss|[Pp]rob|[Pp]ost|[Aa]nt)\.
    )$""",
    re.VERBOSE,
)
_LONGEST_NO_END = 12  # characters, with what stands before it


def sentence_ends(text: str) -> list[int]:
    """Places right behind the stop of each sentence, in order; the last is the end of the text without outer blanks.

    What stands before the first place, and between two of them, is a sentence. Empty for a blank text.
    """
    length = len(text.rstrip())
    ends = [
        match.end()
        for match in _STOP.finditer(text, 0, length)
        if not _NO_END.search(text[max(0, match.end() - _LONGEST_NO_END) : match.end()])
    ]
    return [*ends, length] if length else []


def sentences(text: str) -> list[str]:
    """The text's sentences without outer blanks."""
    ends = sentence_ends(text)
    return [text[start:end].strip() for start, end in zip([0, *ends], ends)]


def cut_at_sentence(text: str, fits: Callable[[str], bool]) -> str | None:
    """The text without as many of its last sentences as it takes until it `fits`; None when not even one sentence does.

    What is left is the text's own beginning, blanks and newlines included.
    """
    return next((text[:end] for end in reversed(sentence_ends(text)) if fits(text[:end])), None)
