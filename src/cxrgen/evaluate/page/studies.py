"""All studies: images, both texts sentence by sentence, what is wrong in each; to filter, search and sort.

The page's script makes the elements of the studies that a reader asks for, from data in the page, as text and never as
HTML. Without it the first studies of the first order are there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrgen.core.records import Study
from cxrgen.evaluate.defaults import IMAGE_SIZE
from cxrgen.evaluate.page import judged
from cxrgen.evaluate.page.errors import KINDS, Errors, in_words
from cxrgen.evaluate.page.images import pictures_of
from cxrgen.evaluate.page.orders import flaw, orders
from cxrgen.evaluate.page.study_cards import Card, Chip, as_data, as_html
from cxrgen.evaluate.pairs import Pairs
from cxrgen.evaluate.scores import Scores
from cxrgen.evaluate.suites import headline
from cxrgen.html import Html, Section, join, note, number, tag
from cxrgen.metrics import Noted
from cxrgen.metrics.cards import plain_name

_FIRST = 12  # studies that are shown without a script


@dataclass(frozen=True)
class Shown:
    """What the page holds of a study: the longest side of images in pixels, 0 for none; and whether the texts."""

    image_size: int = IMAGE_SIZE
    texts: bool = True


@dataclass(frozen=True)
class _Known:
    """All that is known of N studies, from which their cards are made."""

    pairs: Pairs
    scores: Sequence[tuple[str, Sequence[float]]]  # plain name of a score, and each study's value
    found: Errors
    flaws: Sequence[str]
    noted: Sequence[Sequence[Noted]]
    studies: Mapping[str, Study]
    prepared: Path | None
    shown: Shown


def studies_section(
    pairs: Pairs, scores: Scores, found: Errors, studies: Mapping[str, Study], prepared: Path | None, shown: Shown
) -> Section:
    """The panel of the page."""
    flaws = [flaw(text) for text in pairs.hypotheses]
    by_name, sorted_by = orders(scores, flaws)
    noted = judged.noted_by_study(scores)
    values = [(plain_name(name), scores.per_study[name].tolist()) for name in headline(scores.per_study)]
    known = _Known(pairs, values, found, flaws, noted, studies, prepared, shown)
    first = next(iter(by_name.values()))[:_FIRST]
    parts = [
        _controls(by_name, found, judged.options(noted)),
        tag("div", *map(as_html, _cards(first, known)), id="cases"),
        tag("button", "Show more", type="button", id="more", class_="needs-script"),
        as_data(_cards(range(scores.n), known), by_name),
    ]
    return Section("Studies", parts, _words(sorted_by, shown, scores.n))


def _cards(rows: Iterable[int], known: _Known) -> Iterator[Card]:
    for row in rows:
        study_id, texts = known.pairs.study_ids[row], (known.pairs.references[row], known.pairs.hypotheses[row])
        yield Card(
            study_id,
            _scores(row, known.scores),
            _chips(known.found.of_study[row], known.flaws[row], judged.chips(known.noted[row], known.shown.texts)),
            texts if known.shown.texts else None,
            known.pairs.further[row] if known.pairs.further else (),
            pictures_of(known.studies.get(study_id), known.prepared, known.shown.image_size),
        )


def _scores(row: int, scores: Sequence[tuple[str, Sequence[float]]]) -> str:
    values = ((name, of[row]) for name, of in scores)
    return " · ".join(f"{name} {number(value)}" for name, value in values if math.isfinite(value))


def _chips(errors: Sequence[tuple[str, str]], wrong_form: str, more: Sequence[Chip]) -> list[Chip]:
    chips = [
        Chip(f"{KINDS[kind]}{': ' if finding else ''}{in_words(finding)}", kind, (f"{kind}:{finding}",))
        for kind, finding in errors
    ]
    return [*chips, *more, *([Chip(wrong_form, "form")] if wrong_form else [])]


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
