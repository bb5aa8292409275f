"""Misspelt names of findings put right, before rules look for them.

Dictated reports have "pnuemothorax" and "effusionor". A word that is one letter off the name of a finding (one left
out, one too many, one for another, two neighbours swapped) is that name; a name run together with a small word is taken
apart. Only long names are in the list, whose neighbours are no other words: "perfusion" is two letters off.
"""

from __future__ import annotations

import re
from functools import lru_cache

_NAMES = (
    "pneumothorax",
    "pneumothoraces",
    "hydropneumothorax",
    "effusion",
    "effusions",
    "consolidation",
    "consolidations",
    "atelectasis",
    "atelectatic",
    "cardiomegaly",
    "pneumonia",
    "pneumonias",
    "infiltrate",
    "infiltrates",
    "opacity",
    "opacities",
    "opacification",
    "fracture",
    "fractures",
    "fractured",
    "catheter",
    "catheters",
    "pacemaker",
    "sternotomy",
    "congestion",
    "tracheostomy",
    "endotracheal",
    "nasogastric",
)
_SHORT = ("edema", "nodule", "nodules", "heart", "tube", "tubes")  # only two neighbours swapped
_REAL = frozenset([*_NAMES, "pneumonic", "infiltrated", "opacify", "fracturing", "sternotomies", "consolidating"])
_SHORTEST = 4
_SHORTEST_NAME = 7  # with a letter missing
_GLUED = re.compile(
    rf"\b(no|or|and|the|pleural|small|without)?({'|'.join(sorted(_NAMES, key=len, reverse=True))})"
    r"(or|and|is|are|with|in|of|no|on)?\b"
)
_LONG = re.compile(rf"[a-z]{{{_SHORTEST},}}")


def _without_one_letter(word: str) -> set[str]:
    return {word[:place] + word[place + 1 :] for place in range(len(word))}


_NEAR = {near: name for name in reversed(_NAMES) for near in (*_without_one_letter(name), name)}
_SWAPPED = {
    name[:place] + name[place + 1] + name[place] + name[place + 2 :]: name
    for name in _SHORT
    for place in range(1, len(name) - 1)
}


def put_right(sentence: str) -> str:
    """A lower-case sentence with the names of findings as they are spelt."""
    return _LONG.sub(lambda match: _put_right(match[0]), sentence)


@lru_cache(maxsize=1 << 15)
def _put_right(word: str) -> str:
    if word in _REAL or len(word) < _SHORTEST_NAME:
        return _SWAPPED.get(word, word)
    glued = _GLUED.fullmatch(word)
    if glued:
        return " ".join(part for part in glued.groups() if part)
    near = (_NEAR[each] for each in (word, *sorted(_without_one_letter(word))) if each in _NEAR)
    return next(near, "") or _SWAPPED.get(word, word)
