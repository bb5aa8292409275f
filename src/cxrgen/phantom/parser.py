"""Report text back to the finding table, exactly for the texts of `wording`, leniently for what a model writes.

Each sentence is read by itself. A finding is present if any sentence states it, surely or with doubt, without negation;
its side, size, lobe or distance is the nearest such word before it, else after it, and the last statement counts.
Sentences that say nothing known are passed over, and nothing is ever an error.
"""

from __future__ import annotations

import re
from dataclasses import fields

from cxrgen.phantom.findings import CAUSES, CHANGES, CHANGING, LOBES, RIMS, SIDED, SIDES, SIZES, Findings
from cxrgen.text.sentences import sentences

UNKNOWN = "unknown"  # said to be there, but not where or how large
_NEGATED = re.compile(r"\b(?:no|not|without|free of)\b")
_AGAIN = re.compile(r"\b(?:but|however|although)\b|;")  # what comes after stands outside a negation
_GONE = re.compile(r"\b(?:resolved|removed|is absent|are absent)\b")
_MENTIONS = {
    "cardiomegaly": re.compile(r"cardiomegaly|(?:heart|silhouette) is (?!not )(?:\w+ )?enlarged"),
    "effusion": re.compile(r"\beffusions?\b"),
    "pneumothorax": re.compile(r"\bpneumothora"),
    "opacity": re.compile(r"\bopacit|\bopacification"),
    "edema": re.compile(r"\bo?edema\b"),
    "nodule": re.compile(r"\bnodul"),
    "atelectasis": re.compile(r"\batelecta"),
    "hyperinflation": re.compile(r"\bhyper-?inflat"),
    "fracture": re.compile(r"\bfractures?\b"),
    "et_tube": re.compile(r"\bendotracheal\b|\bet tube\b"),
    "central_line": re.compile(r"\bcentral (?:venous )?(?:line|catheter)\b"),
    "pacemaker": re.compile(r"\bpacemaker\b"),
    "chest_tube": re.compile(r"\bchest tube\b"),
    "sternal_wires": re.compile(r"\bstern\w+ wires\b"),
}
_CENTIMETRES = re.compile(r"\b(\d+(?:\.\d+)?) ?cm\b")
_FLAGS = {field.name for field in fields(Findings) if field.type == "bool"}


def parse(text: str) -> Findings:
    """The findings that `text` states."""
    found: dict[str, str | bool] = {}
    for sentence in (" ".join(each.lower().split()) for each in sentences(text)):
        for name, pattern in _MENTIONS.items():
            mention = pattern.search(sentence)
            if mention:
                _read(name, sentence, mention.start(), found)
    return Findings(**found)  # type: ignore[arg-type]


def _read(name: str, sentence: str, place: int, found: dict[str, str | bool]) -> None:
    """Add what `sentence` states of the finding `name`, mentioned at `place`."""
    change = _nearest(sentence, place, CHANGES) if name in CHANGING else ""
    if _NEGATED.search(_AGAIN.split(sentence[:place])[-1]):
        return
    if change:
        found[f"{name}_change"] = change
    if _GONE.search(sentence):
        return

    def detail(key: str, words: tuple[str, ...]) -> None:
        found[key] = _nearest(sentence, place, words) or found.get(key) or UNKNOWN

    if name in _FLAGS:
        found[name] = True
    elif name == "opacity":
        detail(name, LOBES)
        cause = _nearest(sentence, place, CAUSES)
        if cause:
            found["opacity_cause"] = cause
    elif name == "et_tube":
        distance = _CENTIMETRES.search(sentence)
        found[name] = f"{float(distance[1]):.1f}" if distance else found.get(name) or UNKNOWN
    elif name in SIDED:
        detail(name, SIDES)
    if name == "effusion":
        detail("effusion_size", SIZES)
    elif name == "pneumothorax":
        detail("pneumothorax_size", RIMS)


def _nearest(sentence: str, place: int, words: tuple[str, ...]) -> str:
    """The last of `words` before `place`, else the first after it, else ""."""
    stated = list(re.finditer(rf"\b(?:{'|'.join(words)})\b", sentence))
    before = [match for match in stated if match.start() < place]
    match = before[-1] if before else stated[0] if stated else None
    return match[0] if match else ""
