"""Lists in one cell, as Python, JSON, numpy and pandas print them."""

from __future__ import annotations

import re
from typing import Any

from cxrgen.text.marks import without_excel_marks

_BRACKETS = re.compile(
    r"(?:array|Index|list|Series|tuple|set|frozenset)?\s*\(?\s*\[(.*)\]\s*(?:,[^()\[\]]*)?\)?", re.DOTALL
)
_QUOTED_GROUP = re.compile(r"[({](\s*['\"].*)[)}]", re.DOTALL)  # a tuple or a set
_ITEM = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^,'"\s][^,'"]*)""", re.DOTALL)
_SERIES = re.compile(r"(?:\d+[ \t]+[^\n]+\n)+(?:Name: [^\n]*, )?dtype: \w+")
_ESCAPED = re.compile(r"\\(['\"\\])")
_MISSING = frozenset({"nan", "none", "null", "<na>", "na"})


def several(value: Any) -> list[str]:
    """The names in one cell: a list, a list as it is printed, or names joined by `;`; a missing one is ""."""
    if value is None:
        return []
    if isinstance(value, (list, tuple)):
        return ["" if item is None else str(item).strip() for item in value]
    text = without_excel_marks(str(value)).strip()
    printed = _BRACKETS.fullmatch(text) or _QUOTED_GROUP.fullmatch(text)
    if printed:
        return _items(printed[1])
    if _SERIES.fullmatch(text):
        return [line.split(maxsplit=1)[1].strip() for line in text.splitlines()[:-1]]
    return [part.strip() for part in text.split(";") if part.strip()]


def _items(text: str) -> list[str]:
    """Quoted items wherever they stand; bare ones between commas, or between blanks where nothing else parts them."""
    bare_by_blanks = not any(mark in text for mark in ",'\"")
    items: list[str] = []
    for single, double, bare in _ITEM.findall(text):
        if bare:
            items += bare.split() if bare_by_blanks else [bare.strip()]
        else:
            items.append(_ESCAPED.sub(r"\1", single or double).strip())
    return ["" if item.lower() in _MISSING else item for item in items]
