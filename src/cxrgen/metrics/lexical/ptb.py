"""Penn Treebank tokens as the COCO caption scorers use them, without Java.

The published BLEU and ROUGE-L figures of most captioning papers rest on one Java tokeniser: text is cut into Treebank
tokens, lower-cased, and bare punctuation is dropped. This module cuts the same way. It works like the original kind of
program, a lexer: at each position every rule is tried and the longest match wins, the earlier rule on a tie. Few rules
can look beyond a blank, so pieces between blanks are cut once and remembered. The rules are in `ptb_rules`. What is not
copied: a line break inside a report is always a blank here, so a report can never be torn into two lines.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

from cxrgen.metrics.lexical.ptb_rules import BEFORE_NUMBERS, DOTTED, SPLIT_WORDS, STARTS, Rule, rules

_DROPPED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
_OTHER_BLANK = re.compile(r"[^\S ]")
_LINE_BREAKS = re.compile("[\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")
# A blank at which a text can be cut in pieces: not before a blank of another kind, not in "1 1/2" or a telephone
# number, not in "No. 5", "type A. The" or spaced dots, where rules look beyond it.
_NUMBER_WORD = "|".join(rf"(?<={word}\. )" for word in BEFORE_NUMBERS.split("|"))
_LONE_LETTER = r"(?:(?<=[A-Za-z]\. )(?<![A-Za-z]{2}\. )|(?<=[A-Za-z]\.  )(?<![A-Za-z]{2}\.  ))"
_NO_CUT = (
    rf"[\t\u00a0\u2000-\u200a\u3000]|(?<=\. )\.|(?<=[\d)] )\d|(?i:{_NUMBER_WORD})\d|{_LONE_LETTER} *(?:{STARTS}|<)"
)
_CUT = re.compile(f" (?!{_NO_CUT})")
_CUT_BEHIND_STOP = re.compile(rf"\. (?!{_NO_CUT})")
_PLAIN = re.compile(r"([A-Za-z]+)([,.]?)")  # no rule but the one for words can match these


def tokens(text: str) -> list[str]:
    """The lower-case tokens of one text without bare punctuation, as pycocoevalcap's PTBTokenizer gives them.

    A token can hold a no-break space ("1 1/2"), at which scorers that split on white space cut it again.
    """
    return [token for piece in pieces(text) for token in piece_tokens(piece)]


def pieces(text: str) -> list[str]:
    """A text cut where no rule can look beyond: its tokens are those of its pieces, one piece after the other."""
    line, whole = text, False
    if not text.isprintable() and _OTHER_BLANK.search(text):  # a printable text has no other blank
        line = _LINE_BREAKS.sub(" ", text)
        whole = _OTHER_BLANK.search(line) is not None  # the original strips its whole line, no-break spaces too
    if "   " in line:
        line = re.sub(" {3,}", "  ", line)
    return [line] if whole else _behind_stops(line)


def piece_tokens(piece: str) -> list[str]:
    """The tokens of a piece of a text."""
    joined = joined_tokens(piece)
    if joined and joined[-1].isspace():
        before, line_break, last = joined.rpartition("\n")
        joined = before + line_break + last.rstrip()
    return joined.split("\n") if joined else []


def _behind_stops(line: str) -> list[str]:
    """The line cut at those blanks behind a stop at which it can be: mostly its sentences, which repeat."""
    first, last = line.find("<"), line.rfind(">")
    if not 0 <= first < last:
        parts = _CUT_BEHIND_STOP.split(line)
        return [*(f"{part}." for part in parts[:-1]), parts[-1]]
    ends = [stop.end() for stop in _CUT_BEHIND_STOP.finditer(line) if not first < stop.start() < last]  # a tag is whole
    return [line[start : end - 1] for start, end in pairwise([0, *ends, len(line) + 1])]


@lru_cache(1 << 16)
def joined_tokens(piece: str) -> str:
    """The tokens of a piece with line breaks between them, which no token holds."""
    parts = [piece] if "<" in piece and ">" in piece else _CUT.split(piece)
    return "\n".join([token for part in parts if part for token in _lexed(part)])


@lru_cache(1 << 16)  # a report's words have all been seen before
def _lexed(piece: str) -> tuple[str, ...]:
    """The tokens of a text, or of a piece between blanks that no rule can look out of."""
    plain = _PLAIN.fullmatch(piece)
    if plain and not (plain[2] == "." and (len(plain[1]) == 1 or plain[1].lower() in DOTTED)):
        word = plain[1].lower()
        if word not in SPLIT_WORDS:
            return (word,)
    line = piece + "\n"  # some rules look at the end
    found: list[str] = []
    position = 0
    while position < len(piece):
        position = _one_token(line, position, found)
    return tuple(found)


def _one_token(line: str, position: int, found: list[str]) -> int:
    """Append what the best rule at `position` gives, if anything, and return where it ends."""
    best: re.Match[str] | None = None
    best_rule: Rule | None = None
    reach = position
    for rule in rules(line.isascii()):
        match = rule.pattern.match(line, position)
        if match and match.end(match.lastindex or 0) > reach:
            best, best_rule, reach = match, rule, match.end(match.lastindex or 0)
    if best is None or best_rule is None:
        return position + 1  # the original deletes what it has no rule for
    token, length = best_rule.render(best["token"])
    token = token.lower()
    if token and token not in _DROPPED:
        found.append(token)
    return position + length
