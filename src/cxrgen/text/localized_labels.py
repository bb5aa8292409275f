"""Rule labels with their place and kind: on which side, in which part of the lung, which device.

For warming up a vision encoder: a label list read from training reports alone, finer than the 14 observations. A place
or kind counts when its word stands in a sentence that states the observation. Scores use the plain rule labels, never
these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from cxrgen.text.chexpert import OBSERVATIONS
from cxrgen.text.rule_labels import label, read_sentence
from cxrgen.text.sentences import sentences

_NEGATED = re.compile(r"\b(?:no|not|without|free of|resolved|removed)\b", re.IGNORECASE)


def _patterns(words: Mapping[str, str]) -> dict[str, re.Pattern[str]]:
    return {name: re.compile(rf"\b(?:{each})\b", re.IGNORECASE) for name, each in words.items()}


_PLACES = _patterns(
    {
        "right": r"right(?:-sided)?",
        "left": r"left(?:-sided)?|lingula\w*",
        "bilateral": r"bilateral\w*|both",
        "upper": r"upper|apical|apex|apices",
        "middle": r"middle|lingula\w*",
        "lower": r"lower|basal|basilar|base|bases|bibasilar",
        "small": r"small|tiny|trace|minimal",
        "moderate": r"moderate\w*",
        "large": r"large",
    }
)
_LEVELS = ("upper", "middle", "lower")
_KINDS = _patterns(  # what rule labels count among support devices, and hyperinflation, which they do not know
    {
        "endotracheal tube": r"(?:endotracheal|tracheostomy|et) (?:tubes?|tip)|ett",
        "feeding tube": r"(?:enteric|feeding|nasogastric|ng|orogastric|dobbhoff) ?tubes?",
        "central line": r"central (?:venous )?(?:line|catheter)s?|picc|(?:jugular|subclavian) [\w ]*(?:line|catheter)",
        "pacemaker": r"pacemakers?|pacers?|icd|defibrillators?|pacing leads?",
        "chest tube": r"chest tubes?|pigtail catheters?|pleural (?:drains?|tubes?|catheters?)",
        "sternal wires": r"(?:sternal|sternotomy|cerclage) wires?|sternotomy",
        "hyperinflation": r"hyperinflat\w+|hyperexpan\w+|flattened (?:hemi)?diaphragms?",
    }
)


def localized_labels(report: str) -> dict[str, int]:
    """Observation -> 1, 0 or -1 as the rule labels say; 1 for "observation | place" and for each kind that is stated.

    A side and a level in one sentence are one more label ("Lung Opacity | left lower"): neither alone is the lobe.
    """
    found = dict(label(report))
    for sentence in (part for each in sentences(report) for part in each.split(";")):
        present = {name for name, value in read_sentence(sentence)[1] if value == 1}
        stated = [name for name in OBSERVATIONS if name in present]
        if not _NEGATED.search(sentence):
            stated += [kind for kind, pattern in _KINDS.items() if pattern.search(sentence)]
        places = [place for place, pattern in _PLACES.items() if stated and pattern.search(sentence)]
        lobes = [f"{side} {level}" for side in ("right", "left") for level in _LEVELS if {side, level} <= {*places}]
        for name in stated:
            found[name] = 1
            found |= {f"{name} | {place}": 1 for place in (*places, *lobes)}
    return found
