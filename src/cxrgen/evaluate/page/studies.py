"""All studies: images, both texts sentence by sentence, what is wrong in each; to filter, search and sort.

Every study is in the page as it is shown, so that nothing is built from text by a script; the script only hides, shows
and sorts. Without it the first studies of the first order are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrgen.core.records import Study
from cxrgen.evaluate.defaults import IMAGE_SIZE
from cxrgen.evaluate.page import judged
from cxrgen.evaluate.page.aligned import aligned
from cxrgen.evaluate.page.errors import KINDS, Errors, in_words
from cxrgen.evaluate.page.orders import flaw, orders
from cxrgen.evaluate.pairs import Pairs
from cxrgen.evaluate.scores import Scores
from cxrgen.evaluate.suites import headline
from cxrgen.html import Html, Section, differing_words, html, image, join, note, number, picture, tag
from cxrgen.html.thumbnails import thumbnail
from cxrgen.metrics.cards import plain_name

_FIRST = 12  # studies that are shown before one asks for more
_MARKS = {"right": "✓", "missing": "−", "invented": "+", "contradicted": "≠", "not judged": "·"}
_MARK_CELLS = {kind: tag("td", tag("b", mark), " ", kind, class_="mark") for kind, mark in _MARKS.items()}


@dataclass(frozen=True)
class Shown:
    """What the page holds of a study: the longest side of images in pixels, 0 for none; and whether the texts."""

    image_size: int = IMAGE_SIZE
    texts: bool = True


def studies_section(
    pairs: Pairs, scores: Scores, found: Errors, studies: Mapping[str, Study], prepared: Path | None, shown: Shown
) -> Section:
    """The panel of the page."""
    flaws = [flaw(text) for text in pairs.hypotheses]
    by_name, sorted_by = orders(scores, flaws)
    places = [[0] * len(by_name) for _ in range(scores.n)]
    for which, rows in enumerate(by_name.values()):
        for place, row in enumerate(rows):
            places[row][which] = place
    first = next(iter(by_name.values()))
    names = headline(scores.per_study)
    noted = judged.noted_by_study(scores)
    articles = []
    for place, row in enumerate(first):
        study = studies.get(pairs.study_ids[row])
        parts = [
            _head(row, pairs, scores, names),
            _chips(found.of_study[row], flaws[row], judged.chips(noted[row], shown.texts)),
        ]
        texts = [_texts(pairs.references[row], pairs.hypotheses[row])] if shown.texts else []
        texts += [_further(pairs.further[row])] if shown.texts and pairs.further else []
        parts.append(tag("div", *images_of(study, prepared, shown), *texts, class_="split"))
        listed = " ".join([*(f"{kind}:{finding}" for kind, finding in found.of_study[row]), *judged.keys(noted[row])])
        ranks = " ".join(map(str, places[row]))
        hidden = None if place < _FIRST else ""
        articles.append(tag("article", *parts, class_="case", data_e=listed, data_r=ranks, hidden=hidden))
    parts = [_controls(by_name, found, judged.options(noted)), tag("div", *articles, id="cases")]
    parts.append(tag("button", "Show more", type="button", id="more", class_="needs-script"))
    return Section("Studies", parts, _words(sorted_by, shown, scores.n))


def _words(sorted_by: Sequence[str], shown: Shown, count: int) -> str:
    words = [f"All {count:,} studies."]
    if sorted_by:
        names = " and then ".join(map(plain_name, sorted_by))
        words.append(
            f"Worst and best go by each study's own {names}; a report that names no finding, or repeats itself, comes "
            "last among the best."
        )
    if shown.texts:
        words.append("Sentences are matched by what they state: ✓ right, − missing, + invented, ≠ contradicted.")
    else:
        words.append("Texts were left out of this page.")
    return " ".join(words)


def _controls(by_name: Mapping[str, Sequence[int]], found: Errors, more: Mapping[str, str]) -> Html:
    findings = sorted({finding for errors in found.of_study for _, finding in errors if finding})
    kinds = [tag("option", f"{words} ({found.count(kind):,})", value=kind) for kind, words in KINDS.items()]
    kinds += [tag("option", words, value=kind) for kind, words in more.items()]
    return tag(
        "form",
        _choice("Error", "kind", [tag("option", "all studies", value=""), *kinds]),
        _choice(
            "Finding",
            "finding",
            [tag("option", "any", value=""), *(tag("option", in_words(name), value=name) for name in findings)],
        ),
        _choice("Order", "order", [tag("option", name, value=place) for place, name in enumerate(by_name)]),
        tag("label", "Search ", tag("input", type="search", id="search", placeholder="words or study id")),
        tag("output", "", id="count"),
        class_="controls needs-script",
    )


def _choice(label: str, name: str, options: Sequence[Html]) -> Html:
    return tag("label", f"{label} ", tag("select", *options, id=name))


def _head(row: int, pairs: Pairs, scores: Scores, names: Sequence[str]) -> Html:
    values = [
        f"{plain_name(name)} {number(float(scores.per_study[name][row]))}"
        for name in names
        if np.isfinite(scores.per_study[name][row])
    ]
    words = tag("span", " · ".join(values), class_="soft")
    return tag("h3", tag("span", "Study ", pairs.study_ids[row]), words)


def _chips(errors: Sequence[tuple[str, str]], wrong_form: str, more: Sequence[Html]) -> Html:
    chips = [
        tag("a", f"{KINDS[kind]}{': ' if finding else ''}{in_words(finding)}", class_=f"chip {kind}",
            href=f"#errors:{kind}:{finding}")
        for kind, finding in errors
    ] + list(more)  # fmt: skip
    if wrong_form:
        chips.append(tag("span", wrong_form, class_="chip form"))
    return tag("p", *(chips or [tag("span", "no error", class_="chip")]), class_="chips")


def _texts(reference: str, report: str) -> Html:
    rows = []
    for row in aligned(reference, report):
        left, right = (row.reference, row.report)
        shown: tuple[object, object] = (left, right)
        if row.kind == "contradicted" and left and right:
            shown = differing_words(left, right)
        cells = f"<td>{html(shown[0])}</td>{_MARK_CELLS[row.kind]}<td>{html(shown[1])}</td>"
        rows.append(Html(f'<tr class="{row.kind.replace(" ", "-")}">{cells}</tr>'))
    empty = "" if report.strip() else tag("caption", "The report is empty.")
    head = tag("thead", tag("tr", tag("th", "Reference"), tag("th", ""), tag("th", "Report")))
    return tag("table", empty, head, tag("tbody", *rows), class_="aligned")


def _further(references: Sequence[str]) -> Html:
    """The references of a study after the first, folded."""
    words = f"{len(references)} further reference{'s' if len(references) > 1 else ''}"
    return tag("details", tag("summary", words), *(tag("p", text) for text in references)) if references else Html("")


def images_of(study: Study | None, prepared: Path | None, shown: Shown, enlarge: bool = True) -> list[Html]:
    """A study's images, as buttons where they can be enlarged; nothing where there are none."""
    if study is None or prepared is None or not shown.image_size:
        return []
    folder = prepared if prepared.is_dir() else prepared.parent
    pictures = []
    for view in study.views:
        caption = f"{view.view} {view.raw_view}".strip()
        data = thumbnail(folder / view.path, shown.image_size)
        if data and not enlarge:
            pictures.append(image(data, f"{caption} image", caption))
        elif data:
            words = f"{caption} image, study {study.study_id}"
            inner = (picture(data, words), tag("span", caption))
            pictures.append(tag("button", *inner, type="button", class_="shot"))
        else:
            pictures.append(tag("p", f"{caption}: image not found"))
    return [tag("div", *pictures, class_="images")]


def viewer() -> Html:
    """The window in which an image is enlarged."""
    words = "← → other images · drag: window and level · double click: as it was · Esc: close"
    curve = join(tag(f"feFunc{channel}", type="linear", slope="1", intercept="0") for channel in "RGB")
    levels = tag("feComponentTransfer", curve)
    dark = tag("filter", levels, id="levels", color_interpolation_filters="sRGB")
    return tag(
        "dialog",
        tag("svg", dark, width="0", height="0", aria_hidden="true"),
        tag("img", id="large", alt=""),
        tag("p", tag("span", "", id="large-words"), " ", tag("span", words, class_="soft")),
        tag("button", "Close", type="button", id="close"),
        id="viewer",
        aria_label="enlarged image",
    )


def needs_script() -> Html:
    """A remark for readers whose browser runs no script."""
    return tag("noscript", note(f"Without a script only the first {_FIRST} studies are shown."))
