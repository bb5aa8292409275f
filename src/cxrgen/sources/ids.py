"""Identifiers as people's tools leave them, and the few stated rules by which two spellings mean the same study.

An id is text: leading zeros live. Only what a spreadsheet or pandas does to a whole number is undone (`50414267.0`); a
number in scientific notation has lost its digits, so the file is refused. Two tables are joined by equal ids, else
without the letter MIMIC puts in front (`s50414267`), else padded with zeros to one width; never by resemblance.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable

from cxrgen.core.errors import InputError
from cxrgen.text.marks import without_excel_marks

_FLOAT = re.compile(r"(\d+)\.0+")
_SCIENTIFIC = re.compile(r"\d(?:[.,]\d+)?[eE]\+\d+")
_PREFIXED = re.compile(r"[sSpP](\d+)")


def clean_id(value: object, row_ref: str) -> str:
    """`value` as an id without outer blanks and without a whole number's ".0"; "" stays "".

    Raises InputError (id-damaged) for scientific notation: which study it was can no longer be known.
    """
    text = unicodedata.normalize("NFC", "" if value is None else without_excel_marks(str(value))).strip()
    text = text.encode("utf-8", "replace").decode()  # names on disk may hold what is no text
    if _SCIENTIFIC.fullmatch(text):
        raise InputError(
            f"{row_ref}: id-damaged: an id in scientific notation, as spreadsheets write long numbers; "
            "export the file again with ids as text"
        )
    whole = _FLOAT.fullmatch(text)
    return whole[1] if whole else text


def match_ids(asked: Iterable[str], names: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Which of `names` each asked id means, and remarks on the rule that was needed; ids without a match are absent."""
    asked = list(dict.fromkeys(asked))
    names = set(names)
    exact = {name: name for name in asked if name in names}
    if exact or not asked or not names:
        return exact, []
    bare = {_bare(name): name for name in names}
    matched = {name: bare[_bare(name)] for name in asked if _bare(name) in bare}
    if matched:
        return matched, ["ids were joined without their leading letter (s50414267 is 50414267)"]
    width = max((len(name) for name in (*asked, *names) if name.isdigit()), default=0)
    padded = {name.zfill(width): name for name in names if name.isdigit()}
    matched = {name: padded[name.zfill(width)] for name in asked if name.isdigit() and name.zfill(width) in padded}
    return matched, [f"ids had lost their leading zeros; they were padded to {width} digits"] if matched else []


def _bare(name: str) -> str:
    prefixed = _PREFIXED.fullmatch(name)
    return prefixed[1] if prefixed else name
