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

from cxrgen.core.records import FRONTAL, LATERAL, OTHER, UNKNOWN, Study, View

VIEW_RULES = "2"  # recorded in a set's recipe.json and a checkpoint's cxrgen.json; 2: words by their parts, more tags
VIEW_TAGS = (
    "ViewPosition", "ViewCodeSequence", "AcquisitionDeviceProcessingDescription", "PatientOrientation",
    "SeriesDescription", "ProtocolName",
)  # fmt: skip

_WORDS = {
    FRONTAL: (
        "pa", "ap", "p a", "a p", "posteroanterior", "postero anterior", "posterior anterior", "anteroposterior",
        "antero posterior", "anterior posterior", "frontal", "front", "pa erect", "ap erect", "ap supine",
        "ap portable", "ap horizontal", "portable ap", "portable", "pa view", "ap view", "chest pa", "chest ap",
        "erect ap", "supine ap", "r 10206", "r 10214", "399348003", "272479007",
    ),
    LATERAL: (
        "lateral", "lat", "ll", "rl", "l", "left lateral", "right lateral", "lateral left", "lateral right", "l lat",
        "r lat", "lateral view", "chest lateral", "chest lat", "r 10232", "r 10236", "399067008", "399173006",
        "399198007",
    ),
    OTHER: (
        "lao", "rao", "lpo", "rpo", "ap axial", "ap lld", "ap rld", "pa lld", "pa rld", "xtable lateral", "swimmers",
        "costal", "exclude", "oblique", "lordotic", "decubitus", "apical", "ribs",
    ),
}  # fmt: skip
CLASSES = {word: view for view, words in _WORDS.items() for word in words}
# The parts of longer words, such as "Chest PA upright": what shows the view, and what says nothing about it.
_PARTS = {
    FRONTAL: {"pa", "ap", "frontal", "front"},
    LATERAL: {
        "lateral", "lat", "ll", "rl", "laterale", "seitlich", "seitl", "profil", "profile",
    },
    OTHER: {
        "lao", "rao", "lpo", "rpo", "axial", "lld", "rld", "xtable", "crosstable", "swimmers", "costal",
        "oblique", "obliques", "lordotic", "decubitus", "decub", "apical", "apices", "ribs",
    },
}  # fmt: skip
_NEUTRAL = {
    "chest", "thorax", "torax", "cxr", "xr", "cr", "dx", "view", "projection", "image", "radiograph",
    "radiography", "xray", "x", "ray", "erect", "upright", "standing", "sitting", "seated", "supine", "semi",
    "semierect", "bedside", "mobile", "portable", "horizontal", "adult", "child", "l", "r", "left", "right",
    "grid", "inspiration", "expiration",
}  # fmt: skip
_PA = re.compile(r"\bp(?:ostero|osterior)? ?a(?:nterior)?\b")
_AP = re.compile(r"\ba(?:ntero|nterior)? ?p(?:osterior)?\b")
# The order in which frontals of one study are preferred: upright before supine, then by how often a view is chosen.
_RANK = ("pa", "ap", "frontal", "")
_ORDER = (FRONTAL, UNKNOWN, LATERAL, OTHER)


def view_class(raw_view: str) -> str:
    """frontal, lateral, other or unknown: by the table of synonyms, else by the parts if all of them are known."""
    known = CLASSES.get(_folded(raw_view))
    if known:
        return known
    parts = _parts(raw_view)
    view, _ = _view_of_parts(parts)
    return view if set(parts) <= _NEUTRAL.union(*_PARTS.values()) else UNKNOWN


def _parts(text: str) -> list[str]:
    """The words of a text in lower case, "P->A", "postero-anterior" and the like as one word, "ChestPA" as two."""
    folded = _folded(re.sub(r"(?i)(?<![a-z])(chest|thorax)(?=[a-z])", r"\1 ", text))
    return _AP.sub("ap", _PA.sub("pa", folded)).split()


def _view_of_parts(parts: Iterable[str]) -> tuple[str, str]:
    """(view, the part that shows it); unknown where parts contradict each other, as PA and LATERAL do."""
    parts = set(parts)
    found = {view: sorted(words & parts) for view, words in _PARTS.items()}
    if found[OTHER]:
        return OTHER, found[OTHER][0]
    views = [view for view, words in found.items() if words]
    if len(views) > 1:  # "CHEST PA AND LATERAL" is the examination, not this image
        return UNKNOWN, ""
    if not views:
        return (FRONTAL, "portable") if "portable" in parts else (UNKNOWN, "")
    return views[0], found[views[0]][0]


def view_of_tags(tags: Mapping[str, str]) -> str:
    """The view position of a DICOM image by the first of `VIEW_TAGS` that gives it.

    Words that are not known are left out, for they may be anything, a name too. `tags` holds texts by keyword, as
    `read_tags` gives them. Many devices leave the patient's orientation at that of a
    frontal, so a frontal by it counts only where no text says anything else.
    """
    for keyword in ("ViewPosition", "ViewCodeSequence"):
        if view_class(tags.get(keyword, "")) != UNKNOWN:
            return tags[keyword]
    orientation = _view_of_orientation(tags.get("PatientOrientation", ""))
    found = _view_in_text(tags.get("AcquisitionDeviceProcessingDescription", ""))
    if not found and orientation == "LATERAL":
        return orientation
    for keyword in ("ViewPosition", "SeriesDescription", "ProtocolName"):
        found = found or _view_in_text(tags.get(keyword, ""))
    return found or orientation


def _view_in_text(text: str) -> str:
    """The word of a device's or a technician's text that shows the view, in capitals; "" where none or several do."""
    if "X-WISE" in text.upper():  # a way of processing, named after the view that it is mostly used for
        return ""
    return _view_of_parts(_parts(text))[1].upper()


def _view_of_orientation(orientation: str) -> str:
    """FRONTAL or LATERAL from the directions of rows and columns, such as L\\F and P\\F."""
    rows, _, columns = orientation.upper().partition("\\")
    if columns[:1] not in ("F", "H"):
        return ""
    return {"L": "FRONTAL", "R": "FRONTAL", "A": "LATERAL", "P": "LATERAL"}.get(rows[:1], "")


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
