"""What other programs leave in texts: HTML, RTF, HL7, spreadsheets', markdown's and invisible marks; made plain text.

Reports come from systems that show them in a browser, send them as HL7 or store them as RTF. Headers are not found in
such texts, and a model would learn to write the marks. Only what is certain is taken out: a known tag, not "<5 mm>".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape

from cxrgen.text.rtf import rtf_text
from cxrgen.text.special_tokens import without_separators, without_special_tokens

_ROUNDS = 3  # marks within marks: `&lt;b&gt;` is <b>, which is nothing


def without_marks(text: str) -> tuple[str, tuple[str, ...]]:
    """(plain text, names of the kinds of marks that were in it); a text without marks comes back as it is."""
    kinds: list[str] = []
    for _ in range(_ROUNDS):
        before = text
        for kind, clean in _STEPS.items():
            cleaned = clean(text)
            if cleaned != text:
                kinds.append(kind)
                text = cleaned
        if text == before:
            break
    return text, tuple(dict.fromkeys(kinds))


def without_excel_marks(cell: str) -> str:
    """The cell without what forces it to be text (`'0001`, `="0001"`) and without escaped control characters."""
    forced = _FORMULA.fullmatch(cell.strip())
    if forced:
        cell = forced[1].replace('""', '"')
    elif cell.startswith("'") and not _QUOTED.search(cell, 1):
        cell = cell[1:]
    return _excel(cell)


_FORMULA = re.compile(r'="(.*)"', re.DOTALL)
_QUOTED = re.compile(r"'(?![A-Za-z])")  # a closing quote; the one in "patient's" is none
_CARRIAGE_RETURN = re.compile(r"_x000[dD]_(?:\r?\n)?")
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


def _excel(text: str) -> str:
    """_x000D_ and its like are characters that a workbook's XML cannot hold."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), _CARRIAGE_RETURN.sub("\n", text))


_BLOCKS = "br|p|div|tr|table|tbody|thead|ul|ol|li|dl|dt|dd|h[1-6]|hr|pre|blockquote|section|article|body|html|center"
_INLINE = "b|u|i|em|strong|span|font|sup|sub|small|big|a|td|th|tt|code|o:p|meta|link|title|form|input|img|label|wbr"
_HIDDEN = (  # opening and closing of what a browser does not show
    *(
        (re.compile(rf"<{tag}\b[^<>]*>", re.I), re.compile(rf"</{tag}\s*>", re.I))
        for tag in ("style", "script", "head")
    ),
    (re.compile("<!--"), re.compile("-->")),
)
_DECLARATION = re.compile(r"<!DOCTYPE[^<>]*>|<\?xml[^<>]*\?>|<!\[CDATA\[|\]\]>", re.I)
_BLOCK = re.compile(rf"</?(?:{_BLOCKS})(?:\s[^<>]*)?/?>", re.I)
_CELL = re.compile(r"</?(?:td|th)(?:\s[^<>]*)?>", re.I)
_TAG = re.compile(rf"</?(?:{_INLINE})(?:\s[^<>]*)?/?>", re.I)
_ENTITY = re.compile(r"&(?:[A-Za-z][A-Za-z0-9]{1,7}|#\d{1,7}|#[xX][0-9A-Fa-f]{1,6});")


def _html(text: str) -> str:
    if "<" in text:
        for opening, closing in _HIDDEN:
            text = _without(text, opening, closing)
        text = _TAG.sub("", _CELL.sub(" ", _BLOCK.sub("\n", _DECLARATION.sub("", text))))
    return _ENTITY.sub(lambda match: unescape(match[0]).replace("\xa0", " "), text)


def _without(text: str, opening: re.Pattern[str], closing: re.Pattern[str]) -> str:
    """The text without what stands between two marks, in one pass."""
    parts = []
    position = 0
    while (start := opening.search(text, position)) and (end := closing.search(text, start.end())):
        parts.append(text[position : start.start()])
        position = end.end()
    return "".join([*parts, text[position:]])


_HL7 = re.compile(
    r"\\(\.(?:br|sp|ce|fi|nf|sk|in|ti)\s*[+-]?\d*|[HNFSTREP]|X(?:[0-9A-Fa-f]{2})+|[CM][0-9A-Fa-f]{4,6}|Z\w+)\\"
)
_HL7_LETTERS = {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\", "P": "#"}


def _hl7(text: str) -> str:
    return _HL7.sub(_hl7_text, text) if "\\" in text else text


def _hl7_text(match: re.Match[str]) -> str:
    escape = match[1]
    if escape.startswith((".br", ".sp", ".ce", ".fi", ".nf")):
        return "\n"
    if escape.startswith("X"):
        return bytes.fromhex(escape[1:]).decode("cp1252", "replace").replace("\r\n", "\n").replace("\r", "\n")
    return _HL7_LETTERS.get(escape, " " if escape.startswith(".") else "")


_WRITTEN_BREAK = re.compile(r"\\+r\\+n|\\+n|\\+r")
_DRIVE = re.compile(r"(?<![A-Za-z])[A-Za-z]:\\")


def _written_breaks(text: str) -> str:
    r"""Line feeds that stand as the two characters \n; one backslash in a text that has true lines is left alone."""
    breaks = len(_WRITTEN_BREAK.findall(text)) if "\\" in text else 0
    if not breaks or breaks <= text.count("\n") or _DRIVE.search(text):
        return text
    return re.sub(r"\\+t", " ", _WRITTEN_BREAK.sub("\n", text))


_OTHER_BREAKS = re.compile("[\v\f\x1c\x1d\x1e\x85\u2028\u2029]")
_HEADING = re.compile(r"^[ \t]*#{2,6}[ \t]+(?=\S)", re.M)  # a single # is a fracture in many a report
_BOLD = re.compile(r"\*\*(?=\S)([^*\n]{1,80}?)(?<=\S)\*\*")


def _markdown(text: str) -> str:
    return without_separators(_BOLD.sub(r"\1", _HEADING.sub("", text)))


_INVISIBLE = re.compile("\x1b\\[[0-9;]*[A-Za-z]|[\x00-\x08\x0e-\x1b\x1f\x7f\u00ad\u200b\u200e\u200f\u2060\ufeff]")
_BYTES = re.compile(r"""\s*b(['"])(.*)\1\s*""", re.DOTALL)  # as Python shows bytes
_CONTINUES = "[\x80-\xbf\u0152-\u0192\u02c6-\u2122]"  # a byte of UTF-8 after the first, read as Western European
_TWICE_ENCODED = re.compile(f"[\u00c2\u00c3]{_CONTINUES}|\u00e2{_CONTINUES}{{2}}")
_MESSAGE = re.compile(r"^(?:MSH|PID|OBR|OBX)\|", re.M)


def _bytes(text: str) -> str:
    match = _BYTES.fullmatch(text)
    return match[2] if match else text


def _once_encoded(text: str) -> str:
    """UTF-8 that some program has read as Western European: two or three letters where one is meant."""

    def letter(match: re.Match[str]) -> str:
        try:
            data = b"".join(each.encode("latin-1" if ord(each) < 256 else "cp1252") for each in match[0])
            return data.decode("utf-8")
        except UnicodeError:
            return match[0]

    return _TWICE_ENCODED.sub(letter, text)


def _of_message(text: str) -> str:
    """The observations of an HL7 message; its other lines name the patient."""
    if not _MESSAGE.match(text.lstrip()):
        return text
    lines = [line.split("|") for line in re.split(r"[\r\n]+", text)]
    values = [fields[5].replace("~", "\n") for fields in lines if fields[0].strip() == "OBX" and len(fields) > 5]
    return "\n".join(values)


_STEPS: dict[str, Callable[[str], str]] = {
    "invisible": lambda text: _INVISIBLE.sub("", text),
    "bytes": _bytes,
    "hl7-message": _of_message,
    "twice-encoded": _once_encoded,
    "rtf": rtf_text,
    "excel": _excel,
    "html": _html,
    "hl7": _hl7,
    "written-line-breaks": _written_breaks,
    "other-line-breaks": lambda text: _OTHER_BREAKS.sub("\n", text),
    "markdown": _markdown,
    "special-tokens": without_special_tokens,
}
