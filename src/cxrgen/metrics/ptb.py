"""Penn Treebank tokens as the COCO caption scorers use them, without Java.

The published BLEU and ROUGE-L figures of most captioning papers rest on one Java tokeniser: text is cut into Treebank
tokens, lower-cased, and bare punctuation is dropped. This module cuts the same way. It works like the original kind of
program, a lexer: at each position every rule is tried and the longest match wins, the earlier rule on a tie; a fast
lane takes the plain words that make up most of a report. What is not copied: a line break inside a report is always a
blank here, so a report can never be torn into two lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_DROPPED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])

# A dot belongs to these words. After the second group a sentence can end; a second dot is then written for its end.
_TITLES = """a adj adm adv assoc ave b c capt cf cie cmdr col comdr cpl d dept det dr drs e elec ens f ft g gen gov govs
 h hon i invt j jos k l lieut lt m maj messrs mfg mlle mme mr mrs ms msgr mt mtg n natl o p pfc ph pres prof
 profs pvt q r rep reps rev s sen sens sfc sgt spc st ste supt supts t u v vs w wm x y z"""
_ENDINGS = """al ala apr ariz assn aug bhd bldg blvd bros calif co colo conn corp cos ct dak dec esq est etc ext feb fla
 fri ga inc ind intl jan jr jul jun kan kans ky ltd mar md mich minn mo mon mont neb nev nov oct okla penn
 plc pte pty rd rt sep sept seq sq sr sys tel tenn thu thurs tue tues univ va vt wed wis wisc wyo"""
_CAPITAL_ENDINGS = "ark az del ill la mass miss ore pa tex wash"  # words of their own when in small letters
_BEFORE_NUMBERS = "art ca fig figs no nos op pp prop"
_SENTENCE_STARTS = """A About Additionally After An As At But Earlier He Her However If In It Last More Now
 Once One Other Our She
 Since So Some That The There These They This We Yet You"""


def _words(*lists: str) -> str:
    spelled = {form for words in lists for word in words.split() for form in (word, word.capitalize(), word.upper())}
    return "|".join(sorted(spelled, key=lambda word: (-len(word), word)))


_LETTER = r"[^\W\d_]"
_APOSTROPHE = r"['\u2019]"
_WORD = rf"{_LETTER}[^\W_]*(?:[.!?]{_LETTER}[^\W_]*)*"
_NUMBER = r"(?:\d*(?:[.,:]\d+)+|\d+)"
_AUXILIARY = rf"{_APOSTROPHE}(?:[sSdDmM]|ll|LL|re|RE|ve|VE)(?![A-Za-z])"
_CAPITALS = "|".join(form for word in _CAPITAL_ENDINGS.split() for form in (word.capitalize(), word.upper()))
_ENDING = rf"(?:{_words(_ENDINGS)}|{_CAPITALS}|Ph\.D)\."
_Render = Callable[[str], list[str]]


def _as_is(text: str) -> list[str]:
    return [text]


def _contracted(text: str) -> list[str]:
    """can-not, gon-na, lem-me, 't-is: one written word, two tokens."""
    cut = 2 if text[0] in "'\u2019" or text.lower() == "d'you" else len(text) - (3 if text.lower() == "cannot" else 2)
    return [text[:cut], text[cut:]]


def _always(replacement: str) -> _Render:
    return lambda text: [replacement]


def _with_full_stop(text: str) -> list[str]:
    return [text, "."]


def _bracketed(text: str) -> list[str]:
    for bracket, name in _BRACKETS.items():
        text = text.replace(bracket, name)
    return [text]


_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": "''", "&apos;": "'", "&nbsp;": "", "&mdash;": "--"}
_FRACTIONS = {"½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"}

# Tried at every position that the fast lane leaves; the longest match wins, then the earlier rule. A look-ahead that
# the original counts into the length of a match is given after it, so that it counts here too.
_RULES: tuple[tuple[re.Pattern[str], re.Pattern[str] | None, _Render], ...] = tuple(
    (re.compile(pattern), re.compile(ahead) if ahead else None, render)
    for pattern, ahead, render in (
        (r"(?i:cannot|gonna|gotta|lemme|gimme|wanna)(?![^\W_])", "", _contracted),
        (rf"(?i:{_APOSTROPHE}t(?:is|was))(?![^\W_])", "", _contracted),
        (r"</?[A-Za-z!][^\s<>]*(?:\s[^<>]*)?>", "", _as_is),
        (r"(?i:&(?:amp|lt|gt|quot|apos|nbsp|mdash);)", "", lambda text: [_ENTITIES[text.lower()]]),
        (r"(?:https?|ftp)://[^\s<>\"()]*[^\s<>\"().,;:!?']", "", _as_is),
        (
            r"(?:www\.)?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.(?:com|org|net|edu|gov|int|info)(?:/[^\s<>\"()]*)?",
            "",
            _as_is,
        ),
        (r"[A-Za-z0-9][\w.+-]*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*", "", _as_is),
        (r"[@#][A-Za-z]\w*", "", _as_is),
        (rf"{_ENDING}", r"\s(?:\s|[^\W\d_a-z]|<[A-Za-z/!])", _with_full_stop),
        (rf"{_ENDING}", "", _as_is),
        (rf"{_LETTER}(?:\.{_LETTER})*\.", rf"\s(?i:{'|'.join(_SENTENCE_STARTS.split())})(?=\s)", _with_full_stop),
        (rf"{_LETTER}(?:\.{_LETTER})*\.(?!{_LETTER}[^\W_])", "", _as_is),
        (rf"(?:{_words(_TITLES)})\.", "", _as_is),
        (rf"(?:{_words(_BEFORE_NUMBERS)})\.", r"\s?\d", _as_is),
        (rf"(?:{_WORD}|\d+|[A-Za-z0-9][A-Za-z0-9.,]*(?:-[A-Za-z0-9]+)+)\.", r"[,;:]", _as_is),
        (_WORD, _AUXILIARY, _as_is),
        (rf"{_LETTER}+(?=n{_APOSTROPHE}t(?![A-Za-z]))", rf"n{_APOSTROPHE}t", _as_is),
        (rf"(?i:n{_APOSTROPHE}t)(?![A-Za-z])", "", _as_is),
        (_AUXILIARY, "", _as_is),
        (rf"{_APOSTROPHE}(?:em|n{_APOSTROPHE}?|til|cause|\d0s|\d\d(?=\s))(?![A-Za-z])", "", _as_is),
        (rf"[lLdDjJyY]{_APOSTROPHE}|o{_APOSTROPHE}clock", "", _as_is),
        (rf"[dDoOlL]{_APOSTROPHE}[A-Za-z0-9]+", "", _as_is),
        (_WORD, "", _as_is),
        (r"\d{1,2}[-/]\d{1,2}[-/]\d{2,4}", "", _as_is),
        (rf"[-+]?{_NUMBER}", "", _as_is),
        (r"(?:\d{1,4}[- \u00a0])?\d{1,4}/\d{1,4}", "", lambda text: [text.replace(" ", "\u00a0")]),
        (r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}(?:/[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}){1,2}", "", _as_is),
        (r"[A-Z]+(?:[&+][A-Z]+)+", "", _as_is),
        (r"[A-Za-z0-9][A-Za-z0-9.,]*(?:-[A-Za-z0-9]+)+", "", _as_is),
        (r"\d+(?!(?:st|nd|rd|th))[A-Za-z]+\d*[A-Za-z0-9]*", "", _as_is),
        (r"\d*(?:st|nd|rd|th)", "", _as_is),
        (r"(?:[cCwW]/[oO]|[wWsSrR]/[pPoO])", "", _as_is),
        ("|".join(_FRACTIONS), "", lambda text: [_FRACTIONS[text]]),
        (r"[<>]?[:;=][-o*']?(?:[DPdpO](?![A-Za-z])|[()\\{@|\[\]])", "", _bracketed),
        (r"\.(?:\s?\.){2,}|\u2026", "", _always("...")),
        (r"-{3,4}|[\u2010-\u2015]", "", _always("--")),
        (r"-{5,}|--|[!?]+|_+|\*+|>>|<<", "", _as_is),
        (rf"{_APOSTROPHE}{_APOSTROPHE}|\u201d", "", _always("''")),
        (r"\"", r"[A-Za-z0-9$]", _always("``")),
        (r"\"", "", _always("''")),
        (r"``|\u201c", "", _always("``")),
        (_APOSTROPHE, r"[A-Za-z][^\s]", _always("`")),
        (r"\u2018", "", _always("`")),
        (_APOSTROPHE, "", _always("'")),
        (r"[()\[\]{}]", "", _bracketed),
        (r"£", "", _always("#")),
        (r"€", "", _always("$")),
        (r"¢", "", _always("cents")),
    )
)
_PLAIN = re.compile(r"[A-Za-z]+(?=[ ,]|$)| +|,(?!\d)|%")
_CONTRACTED = frozenset(("cannot", "gonna", "gotta", "lemme", "gimme", "wanna"))
_BLANKS = re.compile("[\\s\u200b\u200d\ufeff]+")


def tokens(text: str) -> list[str]:
    """The lower-case tokens of one text without bare punctuation, as pycocoevalcap's PTBTokenizer gives them."""
    line = _BLANKS.sub(" ", text).replace("\u00ad", "")
    found: list[str] = []
    position, end = 0, len(line)
    while position < end:
        plain = _PLAIN.match(line, position)
        if plain and plain[0].lower() not in _CONTRACTED:
            position = plain.end()
            if not plain[0].isspace():
                found.append(plain[0])
            continue
        best, length = 1, 0
        best_render: _Render = _as_is
        for pattern, ahead, render in _RULES:
            match = pattern.match(line, position)
            if match is None:
                continue
            reach = match.end()
            if ahead is not None:
                beyond = ahead.match(line, reach)
                if beyond is None:
                    continue
                reach = beyond.end()
            if reach - position > length:
                best, length, best_render = match.end() - position, reach - position, render
        found += best_render(line[position : position + best])
        position += best
    return [token for token in map(str.lower, found) if token and token not in _DROPPED]
