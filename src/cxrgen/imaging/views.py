"""What an image shows, from what its source calls it, and which frontal of a study is taken first.

Sources write PA, AP, LL, LATERAL, "Left lateral", "P->A" and more; the table below knows them in any case and spacing.
A word it does not know is `unknown`, is counted and shown, and never guessed at. Images are ordered once, when a study
is prepared: frontals by rank, larger images first, then by name; so "the first frontal" means the same everywhere.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from cxrgen.core.records import FRONTAL, LATERAL, OTHER, UNKNOWN, Study, View

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

    def key(view: View) -> tuple[int, int, int, str]:
        return _ORDER.index(view.view), _rank(view.raw_view), -view.width * view.height, view.path

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
