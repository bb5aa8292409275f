"""Finding table to report text, shaped like a MIMIC-CXR report file.

Which wording is used is drawn independently of what is found. Sentences are general radiology English, none of them
from a real report.
"""

from __future__ import annotations

import textwrap

import numpy as np

from cxrgen.phantom.findings import Findings

_PRESENT = {
    "cardiomegaly": ("The heart is enlarged.", "The cardiac silhouette is enlarged.", "There is cardiomegaly."),
    "effusion": (
        "There is a {size} {side} pleural effusion.",
        "A {size} {side} pleural effusion is present.",
        "A {size} pleural effusion is seen on the {side}.",
    ),
    "pneumothorax": (
        "There is a {side} pneumothorax.",
        "A {side} pneumothorax is present.",
        "A pneumothorax is seen on the {side}.",
    ),
    "opacity": (
        "There is an opacity in the {lobe}.",
        "An opacity is present in the {lobe}.",
        "Airspace opacity is seen in the {lobe}.",
    ),
}
_ABSENT = {
    "cardiomegaly": (
        "The heart size is normal.",
        "The cardiac silhouette is not enlarged.",
        "There is no cardiomegaly.",
    ),
    "effusion": ("There is no pleural effusion.", "No pleural effusion is seen.", "No pleural effusion is present."),
    "pneumothorax": ("There is no pneumothorax.", "No pneumothorax is seen.", "No pneumothorax is present."),
    "opacity": ("The lungs are clear.", "No focal opacity is seen.", "There is no focal opacity."),
}
_SUMMARY = {
    "cardiomegaly": "Cardiomegaly.",
    "effusion": "{size} {side} pleural effusion.",
    "pneumothorax": "{side} pneumothorax.",
    "opacity": "{lobe} opacity.",
}
_NORMAL = ("No acute cardiopulmonary process.", "No acute cardiopulmonary abnormality.")


def word_sections(findings: Findings, generator: np.random.Generator) -> tuple[str, str]:
    """(findings, impression): a sentence a finding, present or absent, then a summary of those present."""
    slots = {"size": findings.effusion_size, "lobe": findings.opacity}
    sentences, summary = [], []
    for name in _PRESENT:
        value = getattr(findings, name)
        sides = {**slots, "side": value if isinstance(value, str) else ""}
        choice = int(generator.integers(3))
        sentences.append((_PRESENT if value else _ABSENT)[name][choice].format(**sides))
        if value:
            text = _SUMMARY[name].format(**sides)
            summary.append(text[0].upper() + text[1:])
    normal = _NORMAL[int(generator.integers(2))]
    if len(summary) >= 3:
        summary = [f"{number}. {text}" for number, text in enumerate(summary, 1)]
    return " ".join(sentences), " ".join(summary) if summary else normal


def report_file(findings: str, impression: str) -> str:
    """The text of reports/{study}.txt: a padded first line, every line starting with a space, at most 79 characters."""
    parts = [" " * 33 + "FINAL REPORT", " EXAMINATION:  CHEST RADIOGRAPH"]
    for name, text in (("FINDINGS", findings), ("IMPRESSION", impression)):
        lines = textwrap.wrap(f"{name}:  {text}", 78, break_long_words=False)
        parts += [" ", *(f" {line}" for line in lines)]
    return "\n".join(parts) + "\n"
