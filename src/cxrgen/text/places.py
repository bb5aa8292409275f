"""Rule labels with their place: which observation, on which side, in which part of the lung.

For warming up a vision tower: a label list read from training reports alone, finer than the 14 observations. A place
counts when its word stands in a sentence that states the observation. Scores use the plain rule labels, never these.
"""

from __future__ import annotations

import re

from cxrgen.text.rule_labels import label

_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\n\s*\n")
_PLACES = {
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
_PATTERNS = {place: re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for place, words in _PLACES.items()}


def placed_labels(report: str) -> dict[str, int]:
    """Observation -> 1, 0 or -1 as the rule labels say, and "observation | place" -> 1 for each place stated."""
    found = dict(label(report))
    for sentence in _SENTENCE_END.split(report):
        stated = [name for name, value in label(sentence).items() if value == 1 and name != "No Finding"]
        for place in (place for place, pattern in _PATTERNS.items() if stated and pattern.search(sentence)):
            for name in stated:
                found[f"{name} | {place}"] = 1
    return found
