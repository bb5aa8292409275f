"""The rules of the Treebank lexer: what a token is, in the order in which ties are decided.

They describe the behaviour of the tokeniser that pycocoevalcap carries (Stanford CoreNLP 3.4.1, options -preserveLines
and -lowerCase), so that published figures can be met. Many are older than medicine's needs: smileys, state names,
"Jeopardy!". They are kept because a report is free text and a missing rule would change a figure; each was checked
against the original on made-up strings. Most words need no rule, so the rules are compiled when the first one does.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

Render = Callable[[str], tuple[str, int]]  # the matched text to the token and how much of the text it uses up


@dataclass(frozen=True)
class Rule:
    """`pattern` has the group `token`; a last group inside a look-ahead counts into the length of the match."""

    pattern: re.Pattern[str]
    render: Render


def _ranges(numbers: Iterable[int]) -> str:
    """Code points as the inside of a character class."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return "".join(f"{re.escape(chr(low))}-{re.escape(chr(high))}" for low, high in spans)


def _class(spans: str) -> str:
    """ "0300-036f 0375" as the inside of a character class."""
    ends = [span.partition("-") for span in spans.split()]
    return "".join(f"\\u{low}-\\u{high or low}" for low, _, high in ends)


def _either(*words: str) -> str:
    return "|".join(words).replace(" ", "|")


# Inside a character class; `rules` puts the code points in their places.
_LETTERS, _UPPER, _DIGITS = "<letters>", "<upper>", "<digits>"
# Signs that belong to a word, and signs that are tokens of their own; all others are deleted.
_MARKS = _class(
    "00ad 0237-024f 02c2-02c5 02d2-02df 02e5-036f 0375 0378-037d 0384-0385 03cf 03f6 03fc-03ff 0483-0487 04cf 04f6-04ff"
    " 0510-0525 055a-055f 0591-05bd 05bf 05c1-05c2 05c4-05c5 05c7 0615-061a 063b-063f 064b-065e 0670 06d6-06ef"
    " 06fa-06ff 070f 0711 0730-074f 0750-077f 07a6-07b1 07ca-07f5 07fa 0900-0903 093c 093e-094e 0951-0955 0962-0963"
    " 0981-0983 09bc-09c4 09c7-09c8 09cb-09cd 09d7 09e2-09e3 0a01-0a03 0a3c 0a3e-0a4f 0a81-0a83 0abc-0acf 0b82"
    " 0bbe-0bc2 0bc6-0bc8 0bca-0bcd 0c01-0c03 0c3e-0c56 0d3e-0d44 0d46-0d48 0e31 0e34-0e3a 0e47-0e4e 0eb1 0eb4-0ebc"
    " 0ec8-0ecd"
)
_SIGNS = _class(
    "00a6-00a9 00ac 00ae-00b4 00b6-00b9 00d7 00f7 0387 05be 05c0 05c3 05c6 05f3-05f4 0600-0603 0606-060a 060c 0614"
    " 061b 061e 066a 066d 0703-070d 07f6-07f8 0964-0965 0e4f 1fbd 2016-2017 2020-2023 2030-2038 203b 203e-2042 2044"
    " 2070 2074-207f 2080-208e 2100-214f 2155-215e 2190-2bff 3012 30fb ff01-ff0f ff1a-ff20 ff3b-ff40 ff5b-ff65"
)
_L = f"(?:[{_LETTERS}{_MARKS}]|&[aeiouAEIOU](?i:acute|grave|uml);)"
_D = f"[{_DIGITS}]"
_A = f"[{_LETTERS}{_DIGITS}]"
_SPACE = "[ \\t\u00a0\u2000-\u200a\u3000]"
_GAP = "[ \\t\u00a0\u2000-\u200a\u3000\n]"  # a blank or the end of the text
_APOSTROPHE = "(?:['\u0092\u2019]|&apos;)"
_TICK = "(?:['`\u0091\u0092\u2018\u2019\u201b]|&apos;)"
_WORD = f"{_L}(?:{_L}|{_D})*(?:[.!?]{_L}(?:{_L}|{_D})*)*"
_NUMBER = f"(?:{_D}*(?:[.:,\u00ad\u066b\u066c]{_D}+)+|{_D}+)"
_AUXILIARY = f"{_APOSTROPHE}(?i:[msd]|re|ve|ll)"
_ACRONYM = r"[A-Za-z](?:\.[A-Za-z])*"
_HYPHENED = r"[A-Za-z0-9][A-Za-z0-9.,\u00ad]*(?:-(?:[A-Za-z](?:\.[A-Za-z])+\.|[A-Za-z0-9\u00ad]+))+"
_THING = f"(?:[dDoOlL]{_TICK}{_A})?{_A}+(?:[-_\u058a\u2010\u2011](?:[dDoOlL]{_TICK}[{_LETTERS}])?{_A}+)*"
_ATTRIBUTE = r"[A-Za-z][A-Za-z0-9_:.-]*(?: *= *(?:'[^'\r\n]*'|\"[^\"\r\n]*\"))?"
_TAG = rf"<(?:[!?][A-Za-z-][^>\r\n]*|[A-Za-z][A-Za-z0-9_:.-]*(?: +{_ATTRIBUTE})* */?|/[A-Za-z][A-Za-z0-9_:.-]*) *>"
_INSIDE = "[,;:\u3001]"  # punctuation within a sentence
_NOT_URL = r" \t\n\f\r\"<>|"
_EXTENSIONS = _either(
    "bat bmp c class cgi cpp dll doc docx exe gif gz h htm html jar java jpeg jpg mov mp3 pdf php pl png ppt ps py sql",
    "tar txt wav x xml zip",
)

# A dot belongs to these words. After the first group a sentence can end, and then there is a second dot to read.
_ENDINGS = _either(
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thurs fri ala ariz calif colo conn ct dak",
    "fla ga ind kan kans ky md mich minn mo mont neb nev okla penn tenn va vt wis wisc wyo inc co cos corp",
    "ltd plc bancorp dept bhd assn univ intl sys jr sr bros blvd rd rt esq tel est ext sq ft bldg etc al seq",
)
_CAPITAL_ENDINGS = _either("az ark del ill la mass miss ore pa tex wash")  # words of their own when in small letters
_TITLES = _either(
    "mr mrs ms dr drs prof profs sen sens rep reps atty attys lt col gen messrs gov govs adm rev maj sgt cpl pvt capt",
    "st ste ave pres lieut hon brig cmdr comdr pfc spc supt supts det mme mlle invt elec adj adv assoc ens",
    "insp msgr mt natl sfc asst vs alex wm jos cie cf treas ph",
)
BEFORE_NUMBERS = _either("no nos prop art ca fig figs pp op")
_SENTENCE_STARTS = _either(
    "A About According Additionally After An As At But Earlier He Her Here However If In It Last Many More Now Once",
    "One Other Our She Since So Some Such That The Their Then There These They This We What When While Yet You",
)
STARTS = "|".join(f"{word[0]}(?i:{word[1:]})" for word in _SENTENCE_STARTS.split("|")) + r"|M(?i:r|s)\."
_CAPITALS = "|".join(f"{word[0].upper()}(?i:{word[1:]})" for word in _CAPITAL_ENDINGS.split("|"))
_ENDING = rf"(?:(?i:{_ENDINGS}|(?:ed|ph)\.d)|{_CAPITALS}|[Pp]t[ey])"

SPLIT_WORDS = frozenset(("cannot", "gonna", "gotta", "lemme", "gimme", "wanna"))
DOTTED = frozenset("|".join((_ENDINGS, _CAPITAL_ENDINGS, _TITLES, BEFORE_NUMBERS, "pte|pty|mfg|mtg")).split("|"))


def _as_is(text: str) -> tuple[str, int]:
    return text.replace("\u00ad", ""), len(text)  # soft hyphens only say where a word may be broken


def _verbatim(text: str) -> tuple[str, int]:
    return text, len(text)


def _joined(text: str) -> tuple[str, int]:
    """One token even where it holds blanks: they become no-break spaces."""
    return _bracketed(re.sub(_SPACE, "\u00a0", text))


_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_QUOTES = {"\u201c": "``", "\u201d": "''", "\u2018": "`", "\u2019": "'", "\u201b": "`", "\u0091": "`", "\u0092": "'"}
_QUOTES |= {"\u0093": "``", "\u0094": "''", "\u00ab": "``", "\u00bb": "''", "\u2039": "`", "\u203a": "'", "&apos;": "'"}
_MONEY = {"\u00a2": "cents", "\u00a3": "#", "\u0080": "$", "\u00a4": "$", "\u20a0": "$", "\u20ac": "$"}
_FRACTIONS = {"\u00bc": "1/4", "\u00bd": "1/2", "\u00be": "3/4", "\u2153": "1/3", "\u2154": "2/3"}


def _replaced(table: dict[str, str]) -> Render:
    def render(text: str) -> tuple[str, int]:
        token = text
        for old, new in table.items():
            token = token.replace(old, new)
        return token, len(text)

    return render


def _bracketed(text: str) -> tuple[str, int]:
    """Round brackets by name, also inside a token such as a telephone number."""
    return text.replace("(", "-lrb-").replace(")", "-rrb-"), len(text)


def _always(token: str) -> Render:
    return lambda text: (token, len(text))


def _without_last(count: int) -> Render:
    """The last characters are read again: the dot after "etc." at a sentence's end, the "not" of "cannot"."""
    return lambda text: (text[:-count], len(text) - count)


def _dot_read_again(text: str) -> tuple[str, int]:
    return text, len(text) - 1


def _rules() -> Iterable[tuple[str, str, Render]]:
    """(token, what must follow and counts into the length, render), earlier ones first on a tie."""
    yield r"(?i:cannot)", "", _without_last(3)
    yield r"(?i:gonna|gotta|lemme|gimme|wanna)", "", _without_last(2)
    yield r"(?i:'t(?:is|was))", "", lambda text: (text[:2], 2)
    yield _TAG, "", _joined
    yield "&(?i:md|mdash|ndash);|[\u0096\u0097\u2013\u2014\u2015]", "", _always("--")
    yield "&(?i:amp);", "", _always("&")
    yield r"&(?i:HT|TL|UR|LR|QC|QL|QR|odq|cdq|#[0-9]+);", "", _as_is
    yield _WORD, _AUXILIARY, _as_is
    yield r"[A-Za-z\u00ad]*[A-MO-Za-mo-z\u00ad]", f"(?i:n{_TICK}t)", _as_is
    yield _WORD, "", _as_is
    yield rf"(?i:{_special_words()})|[A-HJ-XZn]{_TICK}[{_LETTERS}]{{2,}}", "", _as_is
    yield rf"[{_LETTERS}]+[aeiouyAEIOUY]{_TICK}[aeiouA-Z][{_LETTERS}]*", "", _as_is
    yield rf"(?i:y{_APOSTROPHE})", rf"[{_LETTERS}]", _as_is
    yield rf"(?i:https?)://[^{_NOT_URL}(){{}}]+[^{_NOT_URL}.!?(){{}},-]", "", _verbatim
    path = rf"(?:/[^{_NOT_URL}()]+[^{_NOT_URL}.!?(){{}},-])?"
    yield rf"(?i:www)\.(?:[^{_NOT_URL}.!?(){{}},]+\.)+[a-zA-Z]{{2,4}}{path}", "", _verbatim
    yield rf"(?:[^{_NOT_URL}`'.!?(){{}},-_$]+\.)+(?i:com|net|org|edu){path}", "", _verbatim
    host = rf"[^{_NOT_URL}(){{}}.\u00a0]+"
    yield rf"(?:<|&lt;)?[a-zA-Z0-9][^{_NOT_URL}(){{}}\u00a0]*@(?:{host}\.)*{host}(?:>|&gt;)?", "", _verbatim
    yield rf"@[a-zA-Z_][a-zA-Z_0-9]*|#{_L}+", "", _verbatim
    yield _AUXILIARY, "[^A-Za-z]", _replaced(_QUOTES)
    yield f"(?i:n{_TICK}t)", "", _replaced(_QUOTES)
    yield rf"{_D}{{1,2}}[-/]{_D}{{1,2}}[-/]{_D}{{2,4}}", "", _as_is
    yield rf"[-+]?{_NUMBER}", "", _as_is
    yield "[\u207a\u207b\u208a\u208b]?(?:[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+|[\u2080-\u2089]+)", "", _as_is
    yield rf"(?:{_D}{{1,4}}[- \u00a0])?{_D}{{1,4}}(?:\\?/|\u2044){_D}{{1,4}}", "", _joined
    yield "[\u00bc-\u00be\u2153-\u215e]", "", _replaced(_FRACTIONS)
    yield r"-(?i:RRB|LRB|RCB|LCB|RSB|LSB)-|(?i:C\.D\.s|pro-|anti-|S(?:&|&amp;)P-500|S(?:&|&amp;)Ls)", "", _as_is
    yield rf"(?i:Cap{_APOSTROPHE}n|c{_APOSTROPHE}est)|[CcFf]#|[Cc]\+\+", "", _as_is
    yield rf"{_APOSTROPHE}[0-9][0-9]", _GAP, _as_is
    yield r"(?i:E|Yahoo|Jeopardy)!", "", _as_is
    yield r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}(?:\\?/[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}){1,2}", "", _as_is
    yield r"[A-Z]*\$|#", "", _as_is
    yield "[\u00a2-\u00a5\u0080\u20a0\u20ac\u060b\u0e3f\u20a4\uffe0\uffe1\uffe5\uffe6]", "", _replaced(_MONEY)
    yield from _abbreviations()
    yield rf"{_WORD}\.", _INSIDE, _as_is
    phone = r"(?:\([0-9]{2,3}\)[ \u00a0]?|(?:\+\+?)?(?:[0-9]{2,4}[- \u00a0])?[0-9]{2,4}[- \u00a0])[0-9]{3,4}[- \u00a0]?"
    yield rf"{phone}[0-9]{{3,5}}|(?:(?:\+\+?)?[0-9]{{2,4}}\.)?[0-9]{{2,4}}\.[0-9]{{3,4}}\.[0-9]{{3,5}}", "", _joined
    yield r"\"|&(?i:quot);", "[A-Za-z0-9$]", _always("``")
    yield r"\"|&(?i:quot);", "", _always("''")
    yield r"&(?i:lt);", "", _always("<")
    yield r"&(?i:gt);", "", _always(">")
    yield from _signs()


def _special_words() -> str:
    words = "c'mon dunkin' somethin' ol' o'clock cont'd\\. nor'easter e'er ne'er ma'am s'mores ev'ry li'l nat'l"
    words += " o'o d'you shi'ite b'gosh 'n'? [ldj]' 'em '[2-9]0s 'till? 'cause"
    return "|".join(words.split()).replace("'", _APOSTROPHE)


def _abbreviations() -> Iterable[tuple[str, str, Render]]:
    yield rf"{_ENDING}\.", rf"{_GAP}(?:{_GAP}|[{_UPPER}]|{_TAG})", _dot_read_again
    yield rf"{_ENDING}\.", "(?s:..)", _as_is
    yield rf"{_ENDING}\.", "", _dot_read_again
    yield r"[A-Za-z]\.", rf"{_GAP}+(?:{STARTS}|{_TAG}){_GAP}", _without_last(1)
    yield rf"(?:(?i:{_TITLES})|[Mm][ft]g|{_ACRONYM})\.", "", _as_is
    yield r"(?i:(?:Canada|Sino|Korean|EU|Japan|non)-U\.S|U\.S\.-(?:U\.K|U\.S\.S\.R))\.", "", _as_is
    yield rf"(?i:{BEFORE_NUMBERS})\.", rf"{_GAP}?{_D}", _as_is
    yield rf"(?:{_L}|{_D})+(?:\.(?:{_L}|{_D})+)*\.(?i:{_EXTENSIONS})", rf"(?:{_GAP}|[.?!,])", _verbatim


def _signs() -> Iterable[tuple[str, str, Render]]:
    yield r"[<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]]", "[^A-Za-z0-9]", _bracketed
    yield r"[-\^x=~<>']_[-\^x=~<>']|\([-\^x=~<>'][_.]?[-\^x=~<>']\)|\([\^x=~<>']-[\^x=~<>'`]\)", "", _bracketed
    yield r"[()\[\]{}]", "", _replaced(_BRACKETS)
    yield r"-{3,4}", "", _always("--")
    yield r"-+", "", _as_is
    yield r"\.{3,5}|(?:\.[ \u00a0]){2,4}\.|\u2026", "", _always("...")
    yield r"@+|#+|_+|\*+|(?:\\\*){1,3}|[?!]+", "", _as_is
    yield "[.\u00a1\u00bf\u037e\u0589\u061f\u06d4\u0700-\u0702\u07fa\u3002]|[,;:\u3001]|=|/", "", _as_is
    yield rf"{_HYPHENED}\.", _INSIDE, _as_is
    yield _HYPHENED, "", _as_is
    yield rf"{_THING}\.", _INSIDE, _as_is
    yield _THING, "", _as_is
    yield r"[A-Z]+(?:(?:[+&]|&amp;)[A-Z]+)+\.", _INSIDE, _replaced({"&amp;": "&"})
    yield r"[A-Z]+(?:(?:[+&]|&amp;)[A-Z]+)+", "", _replaced({"&amp;": "&"})
    yield "'", r"[A-Za-z][^ \t\n\r\u00a0]", _always("`")
    yield _AUXILIARY, "", _replaced(_QUOTES)
    quotes = "[`\u2018-\u201f\u0091-\u0094\u2039\u203a\u00ab\u00bb]{1,2}"
    yield f"''|{quotes}|{_APOSTROPHE}", "", _replaced(_QUOTES)
    yield "<<|>>|<|>", "", _as_is
    yield rf"[+%&~^|\\{_SIGNS}]", "", _as_is
    yield rf"{_SPACE}+|[\u200b\u200e\u200f\ufeff]|&(?i:nbsp);", "", _always("")


_CHARACTERS = min(0x10000, sys.maxunicode)  # whose classes are known to the rules


@lru_cache(maxsize=2)
def rules(ascii_only: bool = False) -> tuple[Rule, ...]:
    """All rules, earlier ones first on a tie.

    Those for lines of ASCII characters alone match the same in these and are made in a fraction of the time: the
    classes of all letters are hundreds of ranges in every rule.
    """
    kinds = {number: unicodedata.category(chr(number)) for number in range(0x80 if ascii_only else _CHARACTERS)}
    spans = {
        _LETTERS: _ranges(number for number, kind in kinds.items() if kind[0] == "L"),
        _UPPER: _ranges(number for number, kind in kinds.items() if kind == "Lu"),
        _DIGITS: _ranges(number for number, kind in kinds.items() if kind == "Nd"),
    }
    found = []
    for token, ahead, render in _rules():
        pattern = f"(?P<token>{token})" + (f"(?=({ahead}))" if ahead else "")
        for name, span in spans.items():
            pattern = pattern.replace(name, span)
        found.append(Rule(re.compile(pattern), render))
    return tuple(found)
