"""A report's text to its sections.

Two styles. `mimic` is MIMIC-CXR's official parser, reproduced to the character: the files that the field trains and
scores on were made with it. It finds upper-case headers after exactly one space and loses what other hospitals write.
`tolerant`, the default, finds headers of a known vocabulary at any indent and in any case, in one line too; keeps
sub-labels inside findings; takes addendum and wet read apart; and gives paragraphs without a header a section. Its
price is judgement: `mimic` never guesses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise

from cxrgen.core.errors import unknown
from cxrgen.text.attestation import attestations
from cxrgen.text.headers import OWN_WORDS, is_anatomy, official_name, wider_name

STYLES = ("tolerant", "mimic")


@dataclass(frozen=True)
class Section:
    """A named stretch of a report. `start` is the place of its text in the text with Unix newlines."""

    name: str
    text: str
    start: int


def split_sections(text: str, style: str = "tolerant") -> dict[str, str]:
    """Section name -> stripped text; of a repeated name the last.

    `tolerant` drops blank sections and gives what a repeated name would lose the key "earlier NAME".
    Raises UsageError for an unknown style.
    """
    sections: dict[str, str] = {}
    for section in find_sections(text, style):
        if style == "tolerant" and section.name in sections:
            earlier = f"earlier {section.name}"
            before = sections.pop(section.name)
            sections[earlier] = f"{sections[earlier]}\n\n{before}" if earlier in sections else before
        sections[section.name] = section.text.strip()
    return sections


def find_sections(text: str, style: str = "tolerant") -> list[Section]:
    """The sections in the order of the text, unstripped. Raises UsageError for an unknown style."""
    if style not in STYLES:
        raise unknown("section style", style, STYLES)
    text = unix_newlines(text)
    return _official(text) if style == "mimic" else _tolerant(text)


def unix_newlines(text: str) -> str:
    """CRLF and lone CR become LF."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


# --- the official parser (MIT-LCP, mimic-cxr, txt/section_parser.py and create_section_files.py) ---

_HEADER = re.compile(r"\n ([A-Z ()/,-]+):\s")
_BREAK = "\n \n"
_CONCLUSIONS = ("impression", "findings", "last_paragraph", "comparison")


def _official(text: str) -> list[Section]:
    header = _HEADER.search(text)
    if header is None:
        return _with_last_paragraph([Section("full report", text, 0)])
    sections = [Section("preamble", text[: header.start(1)], 0)]
    while header is not None:
        start = header.end()
        # The search goes on at the next newline, so a header on the very next line is swallowed.
        following = _HEADER.search(text, max(start, text.find("\n", start)))
        end = len(text) if following is None else following.start()
        sections.append(Section(official_name(header.group(1)), text[start:end], start))
        header = following
    return _with_last_paragraph(
        [section for section in sections if section.name not in ("impression", "findings") or section.text.strip()]
    )


def official_misreads(text: str) -> bool:
    """Whether the official parser takes a header for findings or impression that is known to be another section's.

    Its table holds slips: "NDICATION" is its impression.
    """
    for match in _HEADER.finditer(unix_newlines(text)):
        official, (wider, _) = official_name(match[1]), wider_name(match[1])
        if official in ("findings", "impression") and wider not in ("", "findings", "impression"):
            return True
    return False


def _with_last_paragraph(sections: list[Section]) -> list[Section]:
    last = sections[-1]
    if any(section.name in ("impression", "findings") for section in sections) or _BREAK not in last.text:
        return sections
    first, rest = last.text.split(_BREAK, 1)
    body = Section("last_paragraph", rest, last.start + len(first))  # the official offset: that of the break
    return [*sections[:-1], replace(last, text=first), body]


def conclusion(text: str, study_id: str | None = None) -> str:
    """The text MIMIC's labelers were run on: impression, else findings, last paragraph or comparison, else "".

    With a MIMIC study id (a leading "s" allowed) the official exceptions hold: 23 studies take another section, 31 a
    range of characters, which is not stripped. Without an id they do not: another hospital's ids may collide.
    """
    text = unix_newlines(text)
    study = (study_id or "").strip().lower().removeprefix("s")
    if study in _RANGES:
        start, end = _RANGES[study]
        return text[start:end]
    sections = split_sections(text, "mimic")
    for name in ((_BY_NAME[study],) if study in _BY_NAME else ()) + _CONCLUSIONS:
        if name in sections:
            return sections[name]
    return ""


_BY_NAME = {
    study: name
    for name, studies in {
        "recommendations": "50913680 59768032 59067458 59087630 58157373 56482935 58375018",
        "examination": "59363654 53356173 50743547 59215320 55157853",
        "technique": "59279892 53202765 50808053",
        "indication": "57936451 50058765 51966317 55124749 54365831 54654948",
        "note": "56451190",
        "history": "51491012",
    }.items()
    for study in studies.split()
}
_RANGE_LIST = (
    "50525523:201-349 57564132:233-554 59982525:313-717 53488209:149-475 54875119:234-988 50196495:59-399 "
    "56579911:59-218 52648681:292-631 59889364:172-453 53514462:73-377 59505494:59-450 53182247:59-412 "
    "51410602:47-320 56412866:522-822 54986978:59-306 59003148:262-505 57150433:61-394 56760320:219-457 "
    "59562049:158-348 52674888:145-296 55258338:192-568 59330497:140-655 52119491:179-454 58235663:0-0 "
    "50798377:0-0 54168089:0-0 53071062:0-0 56724958:0-0 54231141:0-0 53607029:0-0 52035334:0-0"
)
_RANGES = {entry[:8]: (int(entry[9:].split("-")[0]), int(entry.split("-")[1])) for entry in _RANGE_LIST.split()}
OVERRIDDEN = frozenset(_BY_NAME) | frozenset(_RANGES)  # 54 studies that the official sectioned table leaves out


# --- the tolerant parser ---

_LABEL = re.compile(
    r"^[ \t\xa0>*#•]*(?:\d{1,2}[.)][ \t]*)?([A-Za-z0-9_][\w .&'’()/,#-]{0,69}?)[ \t*]*:(?!(?<=\d:)\d)\**", re.M
)
_BARE = re.compile(r"^[ \t\xa0*#]*([A-Z][A-Za-z ]{2,29}?)[ \t*]*$", re.M)
_DASH = re.compile(r"^[ \t\xa0]*([A-Z][A-Z ]{2,29}?)[ \t]+[-–—][ \t]+", re.M)
_ADDENDUM = re.compile(r"^[ \t\xa0]*ADDENDUM\b[ \t#.\d-]*(?![^\n]{0,40}:)", re.M)
_BOUNDARY = re.compile(r"^[ \t\xa0]*(?:(_{8,}|={8,}|-{8,})|FINAL REPORT|PRELIMINARY REPORT)[ \t\xa0]*$", re.M | re.I)
_IN_LINE_WORDS = "|".join(re.escape(words).replace(r"\ ", "[ ]+") for words in OWN_WORDS if len(words) > 6)
_IN_LINE = re.compile(
    rf"(?<=\s)({_IN_LINE_WORDS.upper()})[ ]*:|(?<=[.!?;)\]_])[ \t]+((?:{_IN_LINE_WORDS.title()}))[ ]*:"
)
_BARE_WORDS = frozenset(
    {"findings", "impression", "conclusion", "indication", "history", "clinical history", "technique", "comparison"}
    | {"examination", "addendum"}
)
_POINTER = re.compile(  # a text that only points at another one never replaces it
    r"\W*(?:please )?(?:see|as|refer to|as stated|as described|as noted|same as)\W+(?:the )?"
    r"(?:above|below|findings?|impression|body|report|summary)(?: (?:above|below|section|of the report))*\W*",
    re.I,
)
_PARAGRAPHS = re.compile(r"\n[ \t\xa0]*\n\s*")
_HOLDS_NO_BODY = frozenset({"findings", "impression", "addendum", "wet read", "recommendations", "notification",
                            "comment", "signature", "closing", "date"})  # fmt: skip


@dataclass(frozen=True)
class _Mark:
    """Where a section begins: its header from `start`, its text from `end`."""

    start: int
    end: int
    name: str  # "" = a boundary without a name
    own_word: bool = True
    is_rule: bool = False  # a full line of underscores


def _tolerant(text: str) -> list[Section]:
    marks = _marks(text)
    sections = []
    rules = {mark.start for mark in marks if mark.is_rule}
    named_yet = False
    for number, mark in enumerate([_Mark(0, 0, ""), *marks]):
        end = marks[number].start if number < len(marks) else len(text)
        content = text[mark.end : end]
        if not content.strip() and mark.name != "addendum":
            continue
        name = mark.name
        if name == "findings" and not mark.own_word and _is_time_or_place(content):
            name = "examination"  # "CHEST, PORTABLE: 3:45 p.m."
        if not name:
            names_follow = any(mark.name for mark in marks[number:])
            name = "preamble"
            if end in rules and not named_yet and number < len(marks):
                name = "addendum"
            elif named_yet and mark.is_rule and not names_follow:
                name = "closing"
        named_yet = named_yet or bool(mark.name)
        sections.append(Section(name, content, mark.end))
    return _with_body(_one_impression(sections))


def _one_impression(sections: list[Section]) -> list[Section]:
    """A summary is the impression where there is no other; what an addendum says never replaces what it adds to."""
    written = {section.name for section in sections if section.text.strip()}
    summary = "summary" if "impression" in written else "impression"
    named: list[Section] = []
    said: set[str] = set()
    in_addendum = False
    for section in sections:
        name = summary if section.name == "summary" else section.name
        if name == "addendum":
            in_addendum = bool(said)
        elif name in ("preamble", "closing"):  # a boundary: another report begins
            in_addendum = False
        elif in_addendum and name in said:
            name = "addendum"
        said |= {name} & {"findings", "impression"}
        named.append(replace(section, name=name))
    written = {section.name for section in named if section.text.strip() and not _POINTER.fullmatch(section.text)}
    return [
        section
        for section in named
        if section.text.strip() and not (section.name in written and _POINTER.fullmatch(section.text))
    ]


def _marks(text: str) -> list[_Mark]:
    found = [_Mark(m.start(), m.end(), "", is_rule=m.group(1) is not None) for m in _BOUNDARY.finditer(text)]
    for match in _LABEL.finditer(text):
        name, own_word = wider_name(match.group(1))
        if name:
            found.append(_Mark(match.start(), match.end(), name, own_word))
        elif is_anatomy(match.group(1)):
            found.append(_Mark(match.start(), match.start(), "findings", own_word=False))
    for pattern in (_BARE, _DASH):
        for match in pattern.finditer(text):
            if match.group(1).lower() in _BARE_WORDS:
                found.append(_Mark(match.start(), match.end(), wider_name(match.group(1))[0]))
    found += [_Mark(match.start(), match.end(), "addendum") for match in _ADDENDUM.finditer(text)]
    found += [_Mark(start, start, "signature") for start in attestations(text)]
    found += [
        _Mark(match.start(), match.end(), wider_name(match.group(1) or match.group(2))[0])
        for match in _IN_LINE.finditer(text)
    ]
    marks: list[_Mark] = []
    current = ""
    for mark in sorted(found, key=lambda mark: (mark.start, -mark.end)):
        overlaps = marks and mark.start < marks[-1].end
        # A title or label ("LATERAL VIEW:", "LUNGS:") within findings or impression is part of their text.
        inside = not mark.own_word and (mark.name == current or (mark.name, current) == ("findings", "impression"))
        if not overlaps and not inside:
            marks.append(mark)
            current = mark.name
    return marks


def _with_body(sections: list[Section]) -> list[Section]:
    """Give paragraphs that stand under the wrong header, or under none, a section of their own.

    They are the findings where an impression follows them; in a report without either they are its `last_paragraph`.
    """
    names = [section.name for section in sections]
    if "findings" in names:
        return sections
    last = names.index("impression") if "impression" in names else len(names)
    kept, body = [], []
    for number, section in enumerate(sections):
        if number < last and section.name not in _HOLDS_NO_BODY:
            head, rest = _head_and_body(section)
            kept += [head] if head.text.strip() else []
            body += [rest] if rest.text.strip() else []
        else:
            kept.append(section)
    if not body:
        return sections
    name = "findings" if last < len(names) else "last_paragraph"
    return [*kept, Section(name, "\n\n".join(part.text.strip() for part in body), body[0].start)]


def _head_and_body(section: Section) -> tuple[Section, Section]:
    """A section's own first paragraph and what follows; of a text without header all that reads like sentences."""
    text = section.text
    offset = len(text) - len(text.lstrip())
    ends = [offset, *(match.end() for match in _PARAGRAPHS.finditer(text, offset)), len(text)]
    cut = ends[1]
    if section.name == "preamble":
        starts = [start for start, end in pairwise(ends) if _reads_like_sentences(text[start:end])]
        cut = starts[0] if starts else len(text)
    return replace(section, text=text[:cut]), Section("body", text[cut:], section.start + cut)


def _reads_like_sentences(paragraph: str) -> bool:
    paragraph = paragraph.strip()
    labelled = any(_LABEL.match(line) for line in paragraph.splitlines())
    return paragraph.endswith((".", "!", "?", "_")) and len(paragraph.split()) > 2 and not labelled


def _is_time_or_place(text: str) -> bool:
    few = len(text.split()) <= 4
    return few and (any(map(str.isdigit, text)) or not text.strip().endswith((".", "!", "?", "_")))
