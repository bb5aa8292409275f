"""Sentences of a report that say who looked at the images and who signed; they describe no chest."""

from __future__ import annotations

import re
from collections.abc import Iterator

_LONGEST = 400  # characters before the word that tells, in one sentence
_SIGNED = re.compile(
    r"(?:^[ \t]*|(?<=[.!?;)\]_] ))(?:this (?:report|study|exam\w*|document) (?:was|has been) )?"
    r"(?:electronically (?:signed|approved|verified|authenticated)"
    r"|(?:dictated|transcribed|finali[sz]ed|approved|signed)(?: and \w+)? by)\b",
    re.MULTILINE | re.IGNORECASE,
)
_AGREES = re.compile(r"\b(?:agree|concur|attest|edited|approved|transcribed|dictated)(?:s|d|ed)?\b", re.IGNORECASE)
_LOOKED = re.compile(r"\b(?:reviewed|interpreted|supervised|viewed|examined)\b", re.IGNORECASE)
_PERSON = re.compile(r"\b(?:I|we|attending|radiologist|physician)\b", re.IGNORECASE)
_BEGIN = re.compile(r"(?<!\bDr)(?<!\bMr)(?<!\bMs)(?<!\bM\.D)[.!?:;)\]](?:\s+)(?=\S)|\n[ \t]*\n\s*(?=\S)")
_END = re.compile(r"[.!?](?:\s|$)|\n[ \t]*\n")


def attestations(text: str) -> Iterator[int]:
    """Where each such sentence begins."""
    for match in _SIGNED.finditer(text):
        yield match.start()
    for match in _AGREES.finditer(text):
        first = max(0, match.start() - _LONGEST)
        begins = [boundary.end() for boundary in _BEGIN.finditer(text, first, match.start())]
        if not begins and first:
            continue
        start = begins[-1] if begins else 0
        end = _END.search(text, match.end(), match.end() + _LONGEST)
        sentence = text[start : end.start() if end else match.end()]
        if _LOOKED.search(sentence) and _PERSON.search(sentence):
            yield start
