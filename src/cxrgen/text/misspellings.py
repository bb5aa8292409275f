"""Misspelt names of findings put right, before rules look for them.

Dictated reports have "pnuemothorax" and "effusionor". A word that is one letter off the name of a finding (one left out,
one too many, one for another, two neighbours swapped) is that name; a name run together with a small word is taken
apart. Only long names are in the list, whose neighbours are no other words, and real words are never changed: a name's
plural and its neighbours in medicine ("perfusion") are two letters away or in the list themselves.
"""

from __future__ import annotations

import re
from functools import lru_cache

_NAMES = (
    "pneumothorax pneumothoraces hydropneumothorax effusion effusions consolidation consolidations atelectasis "
    "atelectatic cardiomegaly pneumonia pneumonias infiltrate infiltrates opacity opacities opacification fracture "
    "fractures fractured catheter catheters pacemaker sternotomy congestion tracheostomy endotracheal nasogastric"
).split()
_REAL = frozenset([*_NAMES, "pneumonic", "infiltrated", "opacify", "fracturing", "sternotomies", "consolidating"])
_SHORTEST = 6
_GLUED = re.compile(
    rf"\b(no|or|and|the|pleural|small|without)?({'|'.join(sorted(_NAMES, key=len, reverse=True))})"
    r"(or|and|is|are|with|in|of|no|on)?\b"
)
_LONG = re.compile(rf"[a-z]{{{_SHORTEST},}}")


def _without_one_letter(word: str) -> set[str]:
    return {word[:place] + word[place + 1 :] for place in range(len(word))}


_NEAR = {near: name for name in reversed(_NAMES) for near in (*_without_one_letter(name), name)}


def put_right(sentence: str) -> str:
    """A lower-case sentence with the names of findings as they are spelt."""
    return _LONG.sub(lambda match: _put_right(match[0]), sentence)


@lru_cache(maxsize=1 << 15)
def _put_right(word: str) -> str:
    if word in _REAL:
        return word
    glued = _GLUED.fullmatch(word)
    if glued:
        return " ".join(part for part in glued.groups() if part)
    return next((name for near in (word, *sorted(_without_one_letter(word))) if (name := _NEAR.get(near))), word)
