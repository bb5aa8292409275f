"""Where the sentences of a report end.

Reports are full of stops that end nothing: decimals, numbers of a list, titles, abbreviations. An end that is missed
leaves two sentences together, an end that is none tears one apart, which costs more; so the rule is careful. A stop
ends a sentence where a blank and a capital, digit, bracket or blank of de-identification follow; before a small letter
only after a whole word of four letters or more, or where the stop stands alone, as cleaned texts have it. A text
without capitals says nothing by a small letter, so any stop but an abbreviation's ends a sentence there.

Sentences also end without a stop: before a bullet, before the next number of a list, at a blank line, and at a line
break of a list that has one finding a line. A line that was only wrapped goes on: it ends with a word that needs
another ("no", "left"), or the next begins with a small letter, or the next word had no room on it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise

_STOP = re.compile(
    r"""[.!?](?:
      (?=\s+[A-Z0-9(_*\[-])
    | (?<=\s[.!])(?=\s)
    | (?<=[a-z]{4}[.!?])(?=\s+[a-z])
    | (?<=[A-Za-z][A-Za-z0-9)][.!?])(?=[A-Za-z]{2})
    )""",
    re.VERBOSE,
)
_STOP_WITHOUT_CAPITALS = re.compile(
    r"(?<![cm]m)[.!](?=\s+\S)|\?(?=\s+\S)(?<!\s\?)|(?<=[a-z][a-z0-9)])[.!?](?=[a-z]{2})"
)
_NO_END = re.compile(
    r"""(?:^|[\s(])(?:\d{1,2}[.)]|(?-i:[A-Z])\.
    | (?:Drs?|Mrs?|Ms|Prof|St|Figs?|[ap]\.m|e\.g|i\.e|cf|vs|max|min|approx|incl|resp|bilat|poss|prob|post|ant|rt|lt)\.
    )$""",
    re.VERBOSE | re.IGNORECASE,
)
_NUMBER_SIGN = re.compile(r"\bNos?\.$", re.IGNORECASE)  # "No. 3", but not "Effusion: no."
_LONGEST_ABBREVIATION = 8  # characters, with a stop and one more
_LONGEST_NO_END = 12  # characters, with what stands before it

_LIST_MARK = re.compile(r"[-–—*+>]{1,2}(?=\s|[A-Z])|[•·‣▪◦●○■□]|\(?(?:\d{1,2}|[A-Za-z])[.)]\s")
_LIST_NUMBER = re.compile(r"(?<!\S)\(?(\d{1,2})[.)]\s+(?=\S)")
_SECTIONS = ("findings", "impression", "conclusion", "indication", "history", "technique", "comparison", "examination")
_SECTION = re.compile(rf"(?<=\s)(?:{'|'.join((*map(str.upper, _SECTIONS), *map(str.capitalize, _SECTIONS)))})(?=\s?:)")
_HEADER = re.compile(r"[A-Za-z][\w/&()-]*(?: [\w/&()-]+){0,5} ?:(?=\s|$)")
_BREAK = re.compile(r"[\r\n]\s*")
_NEWLINE = re.compile(r"\r\n?|\n")
_NARROW = 40  # characters; texts are not wrapped to lines as short as this
_NARROW_FIRST = 25  # of a first line, whose header may be gone
_NEEDS_MORE = re.compile(  # the last word of a line that cannot be the last of a sentence
    r"""an?|the|this|that|these|those|its|of|to|in|on|at|by|for|from|with|without|over|under|above|below|into|within
    | through|along|between|near|since|than|as|and|or|nor|but|versus|vs|is|are|was|were|be|been|has|have|had|may|might
    | could|can|should|would|no|not|any|which|who|there|if|when|very|more|most|some|another|other|left|right|small
    | large|mild|moderate|severe|tiny|trace|both|new|acute|definite|evident|significant
    | (?!normal|abnormal|interval|clear|unclear|negative|positive|scar|lateral)[a-z]+(?:al|ar|ary|ous|ive|ic)""",
    re.VERBOSE | re.IGNORECASE,
)
_GOES_ON = re.compile(
    r"(?:of|or|and|nor|in|on|at|with|is|are|was|were|which|that|than|as|to)\b|\(|\d+(?:\.\d+)? ?[cm]m\b", re.IGNORECASE
)


def sentence_ends(text: str) -> list[int]:
    """Places right behind each sentence, in order; the last is the end of the text without outer blanks.

    What stands before the first place, and between two of them, is a sentence. Empty for a blank text.
    """
    length = len(text.rstrip())
    ends = {*_stops(text, length), *_list_ends(text), *_section_ends(text)}
    if "\n" in text or "\r" in text:
        ends.update(_line_ends(text, length))
    return sorted({*ends, length}) if length else []


def sentences(text: str) -> list[str]:
    """The text's sentences without outer blanks."""
    return list(_kept_sentences(text))


@lru_cache(1 << 18)  # several readers ask for the same text, and references are read again with every baseline
def _kept_sentences(text: str) -> tuple[str, ...]:
    """The sentences; equal ones of several texts are one string in memory."""
    ends = sentence_ends(text)
    return tuple(sys.intern(text[start:end].strip()) for start, end in zip([0, *ends], ends))


def cut_at_sentence(text: str, fits: Callable[[str], bool]) -> str | None:
    """The text without as many of its last sentences as it takes until it `fits`; None when not even one sentence does.

    What is left is the text's own beginning, blanks and newlines included.
    """
    return next((text[:end] for end in reversed(sentence_ends(text)) if fits(text[:end])), None)


def _stops(text: str, length: int) -> Iterator[int]:
    pattern = _STOP_WITHOUT_CAPITALS if text.islower() else _STOP
    for match in pattern.finditer(text, 0, length):
        end = match.end()
        if text[end - _LONGEST_ABBREVIATION : end - 1].isalpha():
            yield end  # behind a long word
            continue
        before = text[max(0, end - _LONGEST_NO_END) : end]
        if not _NO_END.search(before) and not (_NUMBER_SIGN.search(before) and text[end:].lstrip()[:1].isdigit()):
            yield end


def _list_ends(text: str) -> Iterator[int]:
    """Before the numbers of a list in running text, which count up from 1."""
    wanted = 0
    for match in _LIST_NUMBER.finditer(text) if "1." in text or "1)" in text else ():
        before = text[: match.start()].rstrip()
        if int(match[1]) == 1 and (not before or before[-1] in ".:;!?"):
            wanted = 2
        elif wanted and int(match[1]) == wanted:
            wanted += 1
            yield len(before)


def _section_ends(text: str) -> Iterator[int]:
    """Before the header of a section in running text."""
    for match in _SECTION.finditer(text) if ":" in text else ():
        before = text[: match.start()].rstrip()
        if before:
            yield len(before)


def _line_ends(text: str, length: int) -> Iterator[int]:
    """The ends of lines that were not only wrapped."""
    breaks = list(_BREAK.finditer(text, len(text) - len(text.lstrip()), length))
    if not breaks:
        return
    places = [0, *(place for each in breaks for place in each.span()), length]
    lines = [text[start:end].strip() for start, end in zip(places[::2], places[1::2])]
    cased = not text.isupper() and not text.islower()
    width = max(map(len, lines))
    kinds: list[bool | None] = []
    for number, (found, (line, following)) in enumerate(zip(breaks, pairwise(lines))):
        full = width > _NARROW and _is_full(line, following, width)
        short = not full and len(line) < (_NARROW if number else _NARROW_FIRST)
        kinds.append(_kind(line, following, len(_NEWLINE.findall(found[0])) > 1, short, cased))
    wrapped = None in kinds and _is_wrapped(lines, kinds, width)
    for found, ends in zip(breaks, kinds):
        if ends or (ends is None and not wrapped):
            yield len(text[: found.start()].rstrip())


def _is_full(line: str, following: str, width: int) -> bool:
    """Whether the next word has no room on the line."""
    return len(line) + 1 + len(following.split(None, 1)[0]) > width


def _kind(line: str, following: str, blank: bool, short: bool, cased: bool) -> bool | None:
    """Whether a sentence ends between two lines; None where only the lengths of the lines can tell."""
    if _LIST_MARK.match(following):
        return True
    if line[-1] in ",:(/&-" or _NEEDS_MORE.fullmatch(line.rsplit(None, 1)[-1]):
        return False
    if blank or _HEADER.match(following):
        return True
    if line[-1] in ".!?" or _GOES_ON.match(following):
        return False  # whether a stop is one is judged elsewhere
    if short:
        return True
    if cased and following[0].islower():
        return False
    return True if cased and (following[1:2].islower() or following.startswith("A ")) else None


def _is_wrapped(lines: list[str], kinds: list[bool | None], width: int) -> bool:
    """Whether the lines are prose, and each unsure break stands behind a full line.

    The first line may have lost a header, so its length says nothing.
    """
    for ends, (line, following) in list(zip(kinds, pairwise(lines)))[1:]:
        if ends is None and not _is_full(line, following, width):
            return False
    goes_on = any(ends is False and line[-1] not in ".!?:" for ends, line in zip(kinds, lines))
    return goes_on or any(end < len(line) for line in lines for end in _stops(line, len(line)))
