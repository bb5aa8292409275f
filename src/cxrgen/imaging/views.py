"""What an image shows, from its DICOM tags or from what its source calls it, and the order of a study's images.

Sources write PA, AP, LL, LATERAL, "Left lateral", "P->A" and more; the table below knows them in any case and spacing.
A word it does not know is `unknown`, is counted and shown, and never guessed at. A study's images are ordered by what
they show, by rank, by size and then by content, never by name or by the order in which they were given; so "the first
frontal" is the same image in a prepared set and in a single study. Rules that change get another `VIEW_RULES`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from cxrgen.core.records import FRONTAL, LATERAL, OTHER, UNKNOWN, Study, View

VIEW_RULES = "1"  # recorded in a set's recipe.json and a checkpoint's cxrgen.json
VIEW_TAGS = ("ViewPosition", "ViewCodeSequence", "SeriesDescription", "ProtocolName")  # DICOM, most trusted first

_WORDS = {
    FRONTAL: (
        "pa", "ap", "p a", "a p", "posteroanterior", "postero anterior", "posterior anterior", "anteroposterior",
        "antero posterior", "anterior posterior", "frontal", "front", "pa erect", "ap erect", "ap supine",
        "ap portable", "ap horizontal", "portable ap", "portable", "pa view", "ap view", "chest pa", "chest ap",
        "erect ap", "supine ap",
    ),
    LATERAL: (
        "lateral", "lat", "ll", "rl", "l", "left lateral", "right lateral", "lateral left", "lateral right", "l lat",
        "r lat", "lateral view", "chest lateral", "chest lat",
    ),
    OTHER: (
        "lao", "rao", "lpo", "rpo", "ap axial", "ap lld", "ap rld", "pa lld", "pa rld", "xtable lateral", "swimmers",
        "costal", "exclude", "oblique", "lordotic", "decubitus", "apical", "ribs",
    ),
}  # fmt: skip
CLASSES = {word: view for view, words in _WORDS.items() for word in words}
# The order in which frontals of one study are preferred: upright before supine, then by how often a view is chosen.
_RANK = ("pa", "ap", "frontal", "")
_ORDER = (FRONTAL, UNKNOWN, LATERAL, OTHER)


def view_class(raw_view: str) -> str:
    """frontal, lateral, other or unknown, by the table of synonyms."""
    return CLASSES.get(_folded(raw_view), UNKNOWN)


def view_of_tags(tags: Mapping[str, str]) -> str:
    """The view as the first of position, code, series and protocol gives it; never the whole text of a tag.

    `tags` holds texts by keyword, as `read_tags` gives them.
    """
    position = tags.get("ViewPosition", "")
    if view_class(position) != UNKNOWN:
        return position
    meaning = tags.get("ViewCodeSequence", "")
    if view_class(meaning) != UNKNOWN:
        return meaning
    for keyword in ("SeriesDescription", "ProtocolName"):
        text = tags.get(keyword, "").upper().replace("P.A", "PA").replace("A.P", "AP")
        words: set[str] = {word for word in re.findall("[A-Z]+", text) if len(word) > 1}
        views = sorted(word for word in words if view_class(word) != UNKNOWN)
        if len({view_class(word) for word in views}) == 1:  # "CHEST PA AND LATERAL" is the examination, not this image
            return views[0]
    return position if re.fullmatch("[A-Z]{1,12}", position) else ""


def view_from_procedure(procedure: str) -> str:
    """The view of an image whose source names none, from the name of an examination that has a single view; else "".

    "CHEST (PORTABLE AP)" is AP, "CHEST (SINGLE VIEW)" a frontal; "CHEST (PA AND LAT)" has two views and says nothing.
    """
    words = set(_folded(procedure).split())
    if words & {"lat", "lateral", "decub", "decubitus", "oblique", "views"}:
        return ""
    if words & {"portable", "port", "ap"} and "pa" not in words:
        return "AP"
    return "FRONTAL" if {"single", "view"} <= words else ""


def class_views(study: Study) -> Study:
    """The study with every image classed; a class that the source itself gave stays."""
    return replace(
        study,
        views=tuple(
            replace(view, view=view_class(view.raw_view)) if view.view == UNKNOWN else view for view in study.views
        ),
    )


def order_views(views: Iterable[View]) -> tuple[View, ...]:
    """The images of a study in the fixed order: frontals, unknown ones, laterals, others."""

    def key(view: View) -> tuple[int, int, int, str, str]:
        return _ORDER.index(view.view), _rank(view.raw_view), -view.width * view.height, view.sha256, view.path

    return tuple(sorted(views, key=key))


def unknown_views(studies: Iterable[Study]) -> Counter[str]:
    """How often each word was not understood; "" counts images without any."""
    return Counter(view.raw_view for study in studies for view in study.views if view.view == UNKNOWN)


def _rank(raw_view: str) -> int:
    folded = _folded(raw_view)
    exact = "pa" if CLASSES.get(folded) == FRONTAL and folded[:1] == "p" and "ortable" not in folded else folded
    return _RANK.index(exact) if exact in _RANK else len(_RANK)


def _folded(raw_view: str) -> str:
    """Lower case, with everything that is no letter or digit as one space."""
    return re.sub(r"[^a-z0-9]+", " ", raw_view.lower()).strip()
