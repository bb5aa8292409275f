"""What names a person in a report: taken out exactly where a study's header or table says it, else by rules.

Exact removal knows the name, the numbers, the date of birth and the physicians of the study at hand, in the ways that
people write them. A part of a name that is also a word of the set's reports (Small, White) is only removed beside
another part or a title. Rules know titles with names, roles, telephone numbers, numbers that are called MRN or
accession, dates and addresses on the net. What is removed becomes `___`, the mark that MIMIC-CXR uses. This makes a set
safer to handle; it proves nothing about what is left.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from functools import cache
from string import ascii_lowercase

REMOVED = "___"
_TITLE_WORDS = "dr prof professor doctor mr mrs ms miss md herr frau med phd do rn np jr sr ii iii dra mme mlle"
_TITLES = frozenset(_TITLE_WORDS.split())
NAME, ID, BIRTH_DATE, PHYSICIAN, DATE, PHONE, CONTACT = (
    "name", "number", "birth date", "physician", "date", "telephone number", "address on the net",
)  # fmt: skip
_FEWEST_DIGITS = 4  # of a number that has nothing but digits; fewer are measures and vertebrae


@dataclass(frozen=True)
class PrivateValue:
    """A value of a study's header or table that must not stand in its texts."""

    kind: str  # NAME, ID, BIRTH_DATE or PHYSICIAN
    value: str


def without_private(text: str, values: Iterable[PrivateValue], common: Set[str]) -> tuple[str, Counter[str]]:
    """(the text with `___` in place of what is private, how much was removed by kind).

    `common` are words, in lower case, that reports of the set use as words and that are no names by themselves.
    """
    removed: Counter[str] = Counter()

    def put(kind: str, pattern: re.Pattern[str], of: Callable[[re.Match[str]], str | None] | None = None) -> None:
        nonlocal text

        def instead(match: re.Match[str]) -> str:
            new = (match.groupdict().get("keep") or "") + REMOVED if of is None else of(match)
            if new is None:
                return match[0]
            removed[kind] += 1
            return new

        text = pattern.sub(instead, text)

    for value in sorted(set(values), key=lambda value: (-len(value.value), value.kind, value.value)):
        for pattern in _exact(value, common):
            put(value.kind, pattern)
    for kind, pattern in _RULES:
        put(kind, pattern)
    for pattern in _NAMES:
        put(NAME, pattern, lambda match: _without_name(match, common))
    return re.sub(rf"{REMOVED}(?:[\s,.]*{REMOVED})+", REMOVED, text), removed


def common_words(texts: Iterable[str]) -> frozenset[str]:
    """Words that stand in lower case in three texts or more."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(set(re.findall(r"\b[^\W\d_A-Z]{2,}\b", text)))
    return frozenset(word for word, count in counts.items() if count >= 3) | _WORDS


# --- what header and table say ---


def _exact(value: PrivateValue, common: Set[str]) -> list[re.Pattern[str]]:
    text = value.value.strip()
    if value.kind == BIRTH_DATE:
        return _dates(text)
    if value.kind == ID and any(letter.isdigit() for letter in text):
        return _number(text)
    parts = [part for part in re.split(r"[\W\d_]+", text) if len(part) > 1 and part.lower() not in _TITLES]
    if not parts:
        return []
    any_part = "|".join(map(_spelled, sorted(parts, key=len, reverse=True)))
    one = rf"(?:{any_part})"
    run = re.compile(rf"\b{one}(?:[\s,.^-]+(?:[A-Z]\b\.?[\s,]*)?{one})+\b", re.IGNORECASE)
    alone = [part for part in parts if part.lower() not in common]
    patterns = [run] if len(parts) > 1 else []
    patterns += [re.compile(rf"\b{_spelled(part)}\b", re.IGNORECASE) for part in alone if len(part) > 3]
    short = [re.escape(part) for part in alone if len(part) <= 3]
    cases = "|".join(spelling for part in short for spelling in dict.fromkeys((part.capitalize(), part.upper())))
    return patterns + ([re.compile(rf"\b(?:{cases})\b")] if cases else [])


# Headers often hold ASCII alone, reports the name as it is written, or the other way round.
_PAIRS = {"ae": "(?:ae|[äæ])", "oe": "(?:oe|[öøœ])", "ue": "(?:ue|ü)", "ss": "(?:ss|ß)"}
_UMLAUTS = {"ä": "ae", "æ": "ae", "ö": "oe", "ø": "oe", "œ": "oe", "ü": "ue", "ß": "ss"}
_NO_MARK = {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i"}  # letters that Unicode does not part into base and mark


def _spelled(part: str) -> str:
    """A pattern of a part of a name with and without accents, umlauts as one letter or two."""

    def letter(match: re.Match[str]) -> str:
        found = match[0]
        if found in _PAIRS:
            return _PAIRS[found]
        alike = _letters_alike().get(_base(found), "")
        one = f"[{alike}]" if alike else re.escape(found)
        return f"(?:{_UMLAUTS[found]}|{one})" if found in _UMLAUTS else one

    return re.sub("|".join((*_PAIRS, ".")), letter, unicodedata.normalize("NFC", part.lower()))


def _base(letter: str) -> str:
    return _NO_MARK.get(letter) or unicodedata.normalize("NFKD", letter)[0]


@cache
def _letters_alike() -> dict[str, str]:
    """Latin letter -> itself and the letters that are it with a mark."""
    marked = [chr(code) for code in range(0xC0, 0x250) if chr(code).islower()]
    return {plain: plain + "".join(each for each in marked if _base(each) == plain) for plain in ascii_lowercase}


def _number(text: str) -> list[re.Pattern[str]]:
    """A number whatever stands between its groups, with and without leading zeros."""
    groups = re.findall(r"[^\W\d_]+|\d+", text)
    letters = "".join(groups)
    if len(letters) < _FEWEST_DIGITS:
        return []
    zeros = ("0*" + group.lstrip("0") if group.isdigit() and group.strip("0") else group for group in groups)
    return [re.compile(r"(?<![\w.])" + r"[-\s_/.]?".join(zeros) + r"(?!\w)", re.IGNORECASE)]


_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


def _dates(text: str) -> list[re.Pattern[str]]:
    match = re.fullmatch(r"(\d{4})[-/.]?(\d{2})[-/.]?(\d{2})", text[:10]) or _other_way(text)
    if match is None:
        return []
    year, month, day = match if isinstance(match, tuple) else (int(match[1]), int(match[2]), int(match[3]))
    if not 1 <= month <= len(_MONTHS):
        return []
    name, years = _MONTHS[month - 1], rf"(?:{year}|{year % 100:02})"
    month_name, sep = rf"(?:{name}|{name[:3]}\.?)", r"[-/.\s]\s?"
    ways = [
        rf"{year}[-/.]?0?{month}[-/.]?0?{day}",
        rf"0?{month}{sep}0?{day}{sep}{years}",
        rf"0?{day}{sep}0?{month}{sep}{years}",
        rf"{month_name}\s+0?{day}(?:st|nd|rd|th)?,?\s+{years}",
        rf"0?{day}(?:st|nd|rd|th)?[-\s.]*{month_name}[-\s,]*{years}",
    ]
    return [re.compile(rf"(?<!\d)(?:{'|'.join(ways)})(?!\d)", re.IGNORECASE)]


def _other_way(text: str) -> tuple[int, int, int] | None:
    """Day, month and year as tables of other countries write them: 10.01.1950, or 01/10/1950 with the month first."""
    match = re.fullmatch(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})", text.strip())
    if match is None:
        return None
    one, other, year = int(match[1]), int(match[3]), int(match[4])
    return (year, one, other) if match[2] == "/" and one <= len(_MONTHS) else (year, other, one)


# --- rules ---

_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?|Januar|Februar|März|Mai|Juni|Juli|Oktober|Dezember)\b\.?"
)
_CAPITAL_MONTH = rf"(?:{_MONTH}|(?-i:JAN|FEB|MAR|APR|MAY|JUNE?|JULY?|AUG|SEPT?|OCT|NOV|DEC)[A-Z]*\b\.?)"
_TIME = r"(?:,?\s*(?:at|@|um)?\s*\d{1,2}(?::\d{2}){1,2}(?:\s*[ap]\.?m\.?)?|\s+at\s+\d{4}(?:\s*(?:hours|hrs|h))?\b)"
_AFTER_NUMBER = r"(?:\s*[:#=]?\s*(?:is\s+|no\.?\s*|number\s*|nr\.?\s*)?[:#=]?\s*)"
_RULES: tuple[tuple[str, re.Pattern[str]], ...] = (
    (CONTACT, re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w|\bhttps?://\S+|\bwww\.\S+")),
    (
        PHONE,
        re.compile(
            r"(?<![\w.])(?:\+\d{1,3}[\s.-]?)?(?:\(\d{2,5}\)\s?|\d{3}[\s.-])\d{3}[\s.-]\d{4}"
            r"(?:\s*(?:x|ext\.?)\s*\d{2,6})?(?!\d)"
            r"|(?<![\w.])\d{3}-\d{4}(?![\d-])"
            r"|\+\d{1,3}(?:[\s/.-]?\d{2,4}){2,5}(?!\d)"
            r"|(?P<keep>\b(?:pager|beeper|phone|tel(?:ephone|efon)?|fax|ext(?:ension)?|mobile|cell)\b[\s:.#]*"
            r"(?:(?:number|no)\b[\s:.#]*)?(?:is\s+|at\s+)?)[+(]?\d[\d\s()/.-]{2,18}\d",
            re.IGNORECASE,
        ),
    ),
    (ID, re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])")),
    (
        ID,
        re.compile(
            r"(?P<keep>\b(?:MRN|medical record|patient (?:id|identifier|number|no)|pat\.?[\s-]?(?:id|nr)"
            r"|accession|acc|encounter"
            r"|(?:case|exam|order|visit) (?:number|no)|SSN|insurance|fallnummer|patientennummer|NHC)\b\.?"
            + _AFTER_NUMBER
            + r")(?=[\w/-]*\d{2})[A-Z0-9][A-Z0-9/-]{2,}\b",
            re.IGNORECASE,
        ),
    ),
    (DATE, re.compile(rf"(?<![\w./-])\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}(?![\d/]){_TIME}?")),
    (
        DATE,
        re.compile(rf"(?<![\w./-])\d{{1,2}}([/.-])\d{{1,2}}\1(?:\d{{4}}|\d{{2}})(?![\d/]|\.\d){_TIME}?", re.I),
    ),
    (
        DATE,
        re.compile(
            rf"\b{_CAPITAL_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s+(?:19|20)\d{{2}})?(?!\d|\s*[cm]m){_TIME}?"
            rf"|(?<![\w.])\d{{1,2}}(?:st|nd|rd|th|\.)?(?:\s+of)?[\s-]+{_CAPITAL_MONTH}(?:[\s,-]+(?:19|20)?\d{{2}}(?!\d|\s*[cm]m))?{_TIME}?"
            rf"|\b{_CAPITAL_MONTH},?\s+(?:19|20)\d{{2}}\b"
        ),
    ),
    (DATE, re.compile(r"(?<=\bon )\d{1,2}/\d{1,2}(?![\d/])|(?<=\bdated )\d{1,2}/\d{1,2}(?![\d/])", re.IGNORECASE)),
    (DATE, re.compile(r"\bat\s+(?:[01]?\d|2[0-3]):[0-5]\d(?::\d{2})?(?:\s*[ap]\.?m\.?)?(?!\d)", re.IGNORECASE)),
)

_LETTERS = r"[A-ZÄÖÜÉÈÁÍÓÚÑ][\w'’-]*"
_WORD = rf"(?:[A-Z]\.|{_LETTERS})"
_RUN = rf"{_WORD}(?:[ \t]+(?:(?:van|von|de|der|den|la|di)[ \t]+)*{_WORD}){{0,3}}"
_NAMES = (
    re.compile(
        r"(?P<before>(?P<title>\b(?i:drs?|prof(?:essor)?|doctor|mr|mrs|ms|miss|herrn?|frau|dra|mme|mlle|nurse)\b\.?)"
        rf"[ \t]+(?:(?i:dr|med|prof)\b\.?[ \t]+)*)(?P<name>{_RUN})"
    ),
    re.compile(
        rf"(?P<name>{_RUN})(?P<after>,?[ \t]+(?:M\.?D\.?|D\.?O\.?|R\.?N\.?|Ph\.?D\.?|FRCR|MBBS|PA-C|NP|RT)(?![\w]))"
    ),
    re.compile(
        r"(?P<before>\b(?i:(?:signed|dictated|reported|read|interpreted|reviewed|approved|verified|transcribed|performed"
        r"|authenticated|ordered|requested|discussed|communicated|conveyed|relayed|telephoned|spoken)"
        r"(?:[ \t]+(?:\w+[ \t]+){0,6}?(?:by|with|to))?)[ \t]*:?[ \t]+)"
        rf"(?P<name>{_RUN})"
    ),
    re.compile(
        r"(?P<before>\b(?i:radiologist|physician|attending|resident|technologist|patient|patient name|name|clinician"
        r"|surgeon|consultant|arzt|befunder|radiologe|pat)\b[ \t]*:[ \t]*)"
        rf"(?P<name>{_RUN})"
    ),
)


def _without_name(match: re.Match[str], common: Set[str]) -> str | None:
    """The match without the words of its name that are no words of reports; None where none is left to remove."""
    groups = match.groupdict()
    before, after = groups.get("before") or "", groups.get("after") or ""
    words = re.findall(r"\S+|\s+", match["name"])

    def is_word(piece: str) -> bool:
        bare = re.sub(r"['’]s$", "", piece.strip(".,;:")).lower()
        return piece.isspace() or bare in common or bare == REMOVED

    if after:  # the name stands at the end of the run
        places = [place for place, piece in enumerate(words) if not piece.isspace() and is_word(piece)]
        start = max(places, default=-1) + 1
        kept, name = "".join(words[:start]), "".join(words[start:])
        return f"{kept}{' ' if kept.endswith(' ') else ''}{REMOVED}{after}".replace("  ", " ") if name.strip() else None
    first = 1 if groups.get("title") else 0  # behind a title stands a name, whatever it means
    ends = (place for place, piece in enumerate(words) if place >= first and not piece.isspace() and is_word(piece))
    end = next(ends, len(words))
    name, rest = "".join(words[:end]), "".join(words[end:])
    if not name.strip():
        return None
    end_mark = "." if name.rstrip().endswith(".") and len(name.strip()) > 2 and not rest else ""
    possessive = re.search(r"['’]s$", name.strip())
    space = " " if rest and not rest[0].isspace() else ""
    return f"{before}{REMOVED}{possessive[0] if possessive else ''}{end_mark}{space}{rest}"


_WORD_LIST = """the no there is are was were and or of in with without to from by for on at as this that these those
which has have had been be may not also only both left right upper lower middle chest heart lungs lung pleural findings
impression comparison indication technique history examination conclusion recommendation addendum report signed dictated
reviewed result results patient radiologist physician clinical finding ap pa lateral frontal view portable radiograph ct
mri xr dr mr normal clear stable unchanged interval new small large mild moderate severe white black brown long short
young old day may"""
_WORDS = frozenset(_WORD_LIST.split())
