"""Findings and impression to the text a model learns to write, by named and versioned recipes.

`plain` keeps what the radiologist wrote and only unwraps lines. The others reproduce what published code did to its
targets, losses and all, because scores on differently cleaned texts cannot be compared: `mgca` and `original`
(the csv2json script of LLaVA-Med-report) cut numbers and one-word sentences, the `r2gen` recipes lower the case, pull
decimals together and know findings only. A recipe whose output changes gets a new version, which prepared sets record.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from cxrgen.core.errors import unknown

_FEWEST_TOKENS = 3  # MGCA drops a report with fewer


def clean(findings: str | None, impression: str | None, recipe: str) -> str | None:
    """The target text, or None where the recipe drops the report. A missing or blank section is an empty one.

    Raises UsageError for an unknown recipe.
    """
    if recipe not in RECIPES:
        raise unknown("text recipe", recipe, RECIPES)
    return _CLEANERS[recipe](findings or "", impression or "")


def plain(findings: str, impression: str) -> str | None:
    """Findings, one space, impression; every run of white space becomes one blank, all else stays."""
    return " ".join(f"{findings} {impression}".split()) or None


# --- MGCA (create_path_2_sent_mapping of its MIMIC dataset) and the script made from it ---

_NUMBERED = re.compile(r"[0-9]+\.")
_TOKEN = re.compile(r"\w+")


def mgca(findings: str, impression: str) -> str | None:
    """MGCA's sentences (impression first), joined with one space."""
    sentences = mgca_sentences(f"{impression} {findings}")
    return None if sentences is None else " ".join(sentences)


def original(findings: str, impression: str) -> str | None:
    """The csv2json script: findings and impression glued, MGCA's sentences with a capital letter and a full stop."""
    sentences = mgca_sentences(findings + impression)
    return None if sentences is None else ". ".join(sentence.capitalize() for sentence in sentences) + "."


def mgca_sentences(caption: str) -> list[str] | None:
    """Sentences of lower-case tokens, or None for a report of fewer than three tokens.

    Numbers before a full stop are cut with it, sentences of one token are left out, other than ASCII letters vanish.
    """
    sentences = []
    total = 0
    pieces = [piece for part in _NUMBERED.split(caption.replace("\n", " ")) for piece in part.split(".")]
    for piece in pieces:
        tokens = _TOKEN.findall(piece.replace("\ufffd\ufffd", " ").lower())
        if len(tokens) > 1:
            words = [ascii_only for token in tokens if (ascii_only := token.encode("ascii", "ignore").decode())]
            total += len(words)
            sentences += [" ".join(words)] if words else []
    return sentences if total >= _FEWEST_TOKENS else None


# --- R2Gen (clean_report_mimic_cxr and clean_report_iu_xray of its tokenizer) ---

_R2GEN_NUMBERS = [("1. ", ""), *((f". {n}. ", ". ") for n in range(2, 6)), *((f" {n}. ", ". ") for n in range(2, 6))]
_R2GEN_MIMIC = [("\n", " "), *[("__", "_")] * 7, *[("  ", " ")] * 6, *[("..", ".")] * 8, *_R2GEN_NUMBERS]
_R2GEN_IU = [*[("..", ".")] * 3, *_R2GEN_NUMBERS]
_QUOTES = str.maketrans("", "", "\"/\\'")
_R2GEN_MARKS = re.compile(r"[.,?;*!%^&_+():-\[\]{}]")  # the hyphen makes a range from ":" to "[", as it did there


def r2gen_mimic(findings: str, impression: str) -> str:
    """R2Gen's text for MIMIC-CXR, from findings alone; an empty report is " ."."""
    return _r2gen(findings, _R2GEN_MIMIC)


def r2gen_iu(findings: str, impression: str) -> str:
    """R2Gen's text for IU X-ray, from findings alone; newlines stay."""
    return _r2gen(findings, _R2GEN_IU)


def _r2gen(text: str, replacements: list[tuple[str, str]]) -> str:
    for old, new in replacements:
        text = text.replace(old, new)
    sentences = text.strip().lower().split(". ")
    return (
        " . ".join(_R2GEN_MARKS.sub("", sentence.translate(_QUOTES).strip().lower()) for sentence in sentences) + " ."
    )


RECIPES = {"plain": 1, "original": 1, "mgca": 1, "r2gen-mimic": 1, "r2gen-iu": 1}  # name -> version
_CLEANERS: dict[str, Callable[[str, str], str | None]] = {
    "plain": plain,
    "original": original,
    "mgca": mgca,
    "r2gen-mimic": r2gen_mimic,
    "r2gen-iu": r2gen_iu,
}
