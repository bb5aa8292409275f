"""One study on the page: what is shown of it, as HTML and as data from which the page's script makes the same elements.

A page of 100,000 studies as elements is more than a browser holds, so it has the first ones as elements, for readers
without a script, and all of them as data, in which a sentence stands once however many studies have it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from typing import Any

from cxrgen.evaluate.page.aligned import CONTRADICTED, Row, aligned
from cxrgen.evaluate.page.images import Picture, images
from cxrgen.html import Html, data_uri, differing_pieces, differing_words, for_script, html, picture, tag

_MARKS = {"right": "✓", "missing": "−", "invented": "+", "contradicted": "≠", "not judged": "·"}
_KINDS = {kind: place for place, kind in enumerate(_MARKS)}
_MARK_CELLS = {kind: tag("td", tag("b", mark), " ", kind, class_="mark") for kind, mark in _MARKS.items()}
_Text = str | tuple[str, ...]  # pieces: see `differing_pieces`


@dataclass(frozen=True)
class Chip:
    """A remark on a study in a few words; `keys` are what a filter finds it by, the first is where it leads."""

    words: str
    look: str = ""  # classes of the style sheet
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Card:
    """What is shown of a study; `texts` are reference and report, None where they are left out."""

    study_id: str
    scores: str  # in words
    chips: Sequence[Chip]
    texts: tuple[str, str] | None
    further: Sequence[str] = ()  # references after the first
    pictures: Sequence[Picture] = ()


def as_html(card: Card) -> Html:
    """The card as an element."""
    head = tag("h3", tag("span", "Study ", card.study_id), tag("span", card.scores, class_="soft"))
    chips = tag("p", *map(_chip, card.chips or [_NO_CHIP]), class_="chips")
    texts = [_texts(*card.texts), *_further(card.further)] if card.texts else []
    shots = images(card.pictures, partial(_shot, card.study_id))
    return tag("article", head, chips, tag("div", *shots, *texts, class_="split"), class_="case")


_NO_CHIP = Chip("no error")


def _chip(chip: Chip) -> Html:
    look = f"chip {chip.look}".rstrip()
    if not chip.keys:
        return tag("span", chip.words, class_=look)
    return tag("a", chip.words, class_=look, href=f"#errors:{chip.keys[0]}")


def _shot(study_id: str, found: Picture, data: bytes) -> Html:
    """An image as a button that enlarges it."""
    inner = (picture(data, _alt(study_id, found)), tag("span", found.caption))
    return tag("button", *inner, type="button", class_="shot")


def _alt(study_id: str, found: Picture) -> str:
    return f"{found.caption} image, study {study_id}"


def _texts(reference: str, report: str) -> Html:
    rows = []
    for row in aligned(reference, report):
        left, right = differing_words(row.reference, row.report) if _differ(row) else (row.reference, row.report)
        cells = f"<td>{html(left)}</td>{_MARK_CELLS[row.kind]}<td>{html(right)}</td>"
        rows.append(Html(f'<tr class="{row.kind.replace(" ", "-")}">{cells}</tr>'))
    empty = [] if report.strip() else [tag("caption", "The report is empty.")]
    head = tag("thead", tag("tr", tag("th", "Reference"), tag("th", ""), tag("th", "Report")))
    return tag("table", *empty, head, tag("tbody", *rows), class_="aligned")


def _differ(row: Row) -> bool:
    """Whether the words that differ are marked."""
    return row.kind == CONTRADICTED and bool(row.reference and row.report)


def _further(references: Sequence[str]) -> list[Html]:
    """The references of a study after the first, folded."""
    words = f"{len(references)} further reference{'s' if len(references) > 1 else ''}"
    return [tag("details", tag("summary", words), *(tag("p", text) for text in references))] if references else []


def as_data(cards: Iterable[Card], orders: Mapping[str, Sequence[int]]) -> Html:
    """All cards for the page's script, with the orders in which it can show them.

    A study has numbers of chips and, for the rows of its texts, three lists of numbers: of their kinds, and of the
    sentences of either side. A sentence of which words are marked is a list of pieces, see `differing_pieces`.
    """
    texts: defaultdict[_Text, int] = defaultdict(count(1).__next__, {"": 0})
    chips: defaultdict[Chip, int] = defaultdict(count().__next__)
    studies = ",".join(_json(_study(card, texts, chips)) for card in cards)  # one by one: as objects they take GBs
    rest = {
        "texts": list(texts),
        "chips": [asdict(chip) for chip in chips],
        "kinds": list(_MARKS.items()),
        "orders": list(orders.values()),
    }
    return for_script("data", f'{{"studies":[{studies}],{_json(rest)[1:]}')


_json = json.JSONEncoder(separators=(",", ":")).encode


def _study(card: Card, texts: defaultdict[_Text, int], chips: defaultdict[Chip, int]) -> dict[str, Any]:
    found: dict[str, Any] = {"id": card.study_id, "scores": card.scores}
    found["chips"] = [chips[chip] for chip in card.chips or [_NO_CHIP]]
    if card.texts:
        rows = aligned(*card.texts)
        sides = [(texts[left], texts[right]) for left, right in map(_sides, rows)]
        found["rows"] = [_KINDS[row.kind] for row in rows], [of[0] for of in sides], [of[1] for of in sides]
        found["further"] = card.further
    if card.pictures:
        found["pictures"] = [
            (shot.caption, _alt(card.study_id, shot), data_uri(shot.data) if shot.data else "")
            for shot in card.pictures
        ]
    return found


def _sides(row: Row) -> tuple[_Text, _Text]:
    if not _differ(row):
        return row.reference, row.report
    left, right = differing_pieces(row.reference, row.report)
    return tuple(left), tuple(right)
