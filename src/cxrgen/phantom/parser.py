"""Report text back to the finding table, exactly for the texts of `wording`, leniently for what a model writes.

Each sentence is read by itself. A finding is present if any sentence states it without negation; the last statement of
a side, size or lobe counts. Sentences that say nothing known are passed over, and nothing is ever an error.
"""

from __future__ import annotations

import re

from cxrgen.phantom.findings import LOBES, SIDES, SIZES, Findings

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_NEGATED = re.compile(r"\b(?:no|not|without)\b")
_MENTIONS = {
    "cardiomegaly": re.compile(r"cardiomegaly|heart is enlarged|silhouette is enlarged"),
    "effusion": re.compile(r"pleural effusion"),
    "pneumothorax": re.compile(r"pneumothorax"),
    "opacity": re.compile(r"opacity"),
}


def parse(text: str) -> Findings:
    """The findings that `text` states."""
    found: dict[str, str | bool] = {}
    for sentence in _SENTENCE_END.split(" ".join(text.lower().split())):
        if _NEGATED.search(sentence):
            continue
        for name, mention in _MENTIONS.items():
            if not mention.search(sentence):
                continue
            if name == "cardiomegaly":
                found[name] = True
            elif name == "opacity":
                found[name] = _stated(sentence, LOBES) or found.get(name) or "unknown"
            else:
                found[name] = _stated(sentence, SIDES) or found.get(name) or "unknown"
            if name == "effusion":
                found["effusion_size"] = _stated(sentence, SIZES) or found.get("effusion_size") or "unknown"
    return Findings(**found)  # type: ignore[arg-type]


def _stated(sentence: str, words: tuple[str, ...]) -> str:
    return next((word for word in words if re.search(rf"\b{word}\b", sentence)), "")
