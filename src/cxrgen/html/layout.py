"""The layout of a page: escaping, sections, tables, images and the style sheet.

`Html` marks text that is already HTML. Functions here take `object`s and pass them through `html`, which escapes
everything that is not `Html`: forgetting to escape is impossible rather than forbidden.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

_VOID = frozenset({"img", "input"})  # elements that are not closed
_STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")


class Html(str):
    """Text that is HTML already and is inserted as it stands."""

    __slots__ = ()


@dataclass(frozen=True)
class Section:
    """One part of a page under its own heading; `intro` is a sentence or two for the reader."""

    title: str
    parts: Sequence[Html]
    intro: str = ""


def html(value: object) -> Html:
    """`value` as HTML: `Html` as it stands, anything else escaped."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def join(parts: Iterable[object], separator: str = "") -> Html:
    """Several values as one piece of HTML."""
    return Html(separator.join(html(part) for part in parts))


def tag(name: str, *children: object, **attributes: object) -> Html:
    """One element. Attribute names are written with `_` for `-` and a trailing `_` where Python keeps the word."""
    opened = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{opened}>" if name in _VOID else f"<{name}{opened}>{join(children)}</{name}>")


def number(value: float | None, digits: int = 3) -> str:
    """A number for people: fixed digits, a true minus sign, a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def paragraph(*content: object) -> Html:
    return tag("p", *content)


def note(*content: object) -> Html:
    """A remark that must not be missed, such as studies that were left out."""
    return tag("p", *content, class_="note")


def facts(values: Mapping[str, object]) -> Html:
    """Label and value pairs as a row of small cards."""
    cards = [tag("div", tag("dt", label), tag("dd", value)) for label, value in values.items()]
    return tag("dl", *cards, class_="facts")


def table(
    columns: Sequence[object], rows: Iterable[Sequence[object]], left: Sequence[int] = (0,), caption: str = ""
) -> Html:
    """A table that scrolls sideways on a narrow screen; columns with an index in `left` hold words, others numbers."""

    def cells(name: str, values: Sequence[object]) -> Html:
        return join(tag(name, value, class_="text" if i in left else None) for i, value in enumerate(values))

    head = tag("thead", tag("tr", cells("th", columns)))
    body = tag("tbody", *(tag("tr", cells("td", row)) for row in rows))
    title = [tag("caption", caption)] if caption else []
    return tag("div", tag("table", *title, head, body), class_="scroll")


def image(data: bytes, alt: str, caption: str = "") -> Html:
    """A JPEG or PNG inside the page, with its caption."""
    return tag("figure", picture(data, alt), *([tag("figcaption", caption)] if caption else []))


def picture(data: bytes, alt: str) -> Html:
    """A JPEG or PNG as an element of its own."""
    return tag("img", src=data_uri(data), alt=alt)


def data_uri(data: bytes) -> str:
    """A JPEG or PNG as the address of an image."""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def for_script(name: str, json_text: str) -> Html:
    """JSON for the page's script, in an element with the id `name` that is never shown."""
    return Html(f'<template id="{escape(name)}">{escape(json_text, quote=False)}</template>')


def side_by_side(*parts: object) -> Html:
    """Parts beside each other, below each other on a narrow screen."""
    return tag("div", *(tag("div", part) for part in parts), class_="beside")


def render(
    title: str,
    sections: Sequence[Section],
    head: object = "",
    *,
    top: Sequence[Html] = (),
    style: str = "",
    script: str = "",
) -> str:
    """The whole page as text, ready to be written to one file; `head` stands under the title in one line.

    `top` are parts above the first section, `style` is CSS besides that of all pages. A `script` is written into the
    page, and the page's content security policy lets exactly this text run, by its hash. The same input gives the same
    bytes: no date and no random identifier is added.
    """
    anchors = [_anchor(section.title, i) for i, section in enumerate(sections)]
    links = (tag("a", section.title, href=f"#{anchor}") for section, anchor in zip(sections, anchors))
    bodies = [
        tag(
            "section",
            tag("h2", section.title),
            *([tag("p", section.intro, class_="intro")] if section.intro else []),
            *section.parts,
            id=anchor,
        )
        for section, anchor in zip(sections, anchors)
    ]
    navigation = [tag("nav", join(links, " "))] if len(sections) > 1 else []
    header = tag("header", tag("h1", title), tag("p", head, class_="head"), *top, *navigation)
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
        policy += f"; script-src 'sha256-{digest}'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE}{style}</style>\n</head>\n<body>\n"
        + header
        + "\n<main>\n"
        + "\n".join(bodies)
        + "\n</main>\n"
        + (f"<script>{script}</script>\n" if script else "")
        + "</body>\n</html>\n"
    )


def _anchor(title: str, index: int) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return f"{words or 'section'}-{index + 1}"
