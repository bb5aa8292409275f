"""Penn Treebank tokens as the COCO caption scorers use them, without Java.

The published BLEU and ROUGE-L figures of most captioning papers rest on one Java tokeniser: text is cut into Treebank
tokens, lower-cased, and bare punctuation is dropped. This module cuts the same way. It works like the original kind of
program, a lexer: at each position every rule is tried and the longest match wins, the earlier rule on a tie; a fast
lane takes the plain words that make up most of a report. The rules are in `ptb_rules`. What is not copied: a line break
inside a report is always a blank here, so a report can never be torn into two lines.
"""

from __future__ import annotations

import re
from functools import lru_cache

from cxrgen.metrics.ptb_rules import DOTTED, RULES, SPLIT_WORDS, Rule

_DROPPED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
_LINE_BREAKS = re.compile("[\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")
# Plain words, numbers and the marks that follow them, where no rule but the obvious one can match.
_PLAIN = re.compile(r"([A-Za-z]+)(?:,? (?=[A-Za-z])|(\.)(?: (?=[A-Za-z])|\n)|\n)")


def tokens(text: str) -> list[str]:
    """The lower-case tokens of one text without bare punctuation, as pycocoevalcap's PTBTokenizer gives them.

    A token can hold a no-break space ("1 1/2"), at which scorers that split on white space cut it again.
    """
    return list(_tokens(text))


@lru_cache(1 << 15)  # references come again with every floor, and several metrics ask for the same text
def _tokens(text: str) -> tuple[str, ...]:
    line = _LINE_BREAKS.sub(" ", text) + "\n"  # some rules look at the end of the text
    found: list[str] = []
    position, end = 0, len(line) - 1
    while position < end:
        plain = _PLAIN.match(line, position)
        if plain:
            word = plain[1].lower()
            if word not in SPLIT_WORDS and not (plain[2] and (word in DOTTED or len(word) == 1)):
                found.append(word)
                position = plain.end()
                continue
        position = _one_token(line, position, found)
    if found and found[-1][-1].isspace():  # the original strips its whole line, no-break spaces too
        found[-1] = found[-1].rstrip()
    return tuple(found)


def _one_token(line: str, position: int, found: list[str]) -> int:
    """Append what the best rule at `position` gives, if anything, and return where it ends."""
    best: re.Match[str] | None = None
    best_rule: Rule | None = None
    reach = position
    for rule in RULES:
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
