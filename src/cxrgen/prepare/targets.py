"""The text a model learns to write, from a study's sections: which of them (`--target`) and how cleaned (`--text`).

A section that is missing is simply absent: many reports have an impression only, and asking for both must not lose
them. A section that says only "None" or "N/A" is empty. A report in which neither findings nor impression was found
counts with its last paragraph, and says so by a flag. A report over the limit of words is left out, or cut where a
sentence ends. Test studies without text stay, for generation only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cxrgen.core.errors import InputError
from cxrgen.core.records import Reject, Study
from cxrgen.sources.texts import MARKS
from cxrgen.text.cleaning import clean
from cxrgen.text.context import SECTIONS as CONTEXT
from cxrgen.text.prior_mentions import without_priors
from cxrgen.text.sentences import cut_at_sentence

TARGETS = ("both", "findings", "impression")
PRIORS = ("keep", "drop", "match")
LONG = ("reject", "cut")
_BETWEEN_WORDS = re.compile(r"[\W_]+")
_EMPTY = frozenset({"", "none", "na", "n a", "nan", "null", "nil", "not available"})
# Words of English reports that neighbouring languages do not have.
_ENGLISH = frozenset(
    (
        "the",
        "is",
        "are",
        "of",
        "and",
        "with",
        "there",
        "or",
        "without",
        "has",
        "lung",
        "lungs",
        "heart",
        "clear",
        "left",
    )
    + ("right", "chest", "size", "small", "large", "seen")
)
_REPORTING = ("findings", "impression", "last_paragraph")
_UNPARSED_LIMIT = 0.3
_LONG_HINT = {"reject": "; --too-long cut keeps what fits", "cut": " in its first sentence alone"}
# Flags that are set here, and set anew when the texts of a set are made again.
_OF_THE_TEXT = frozenset({"no-findings", "no-impression", "last-paragraph", "no-target", "too-long", "cut"})
_FEWEST = 20  # studies; with fewer, a share says nothing


@dataclass(frozen=True)
class Targeted:
    studies: list[Study]
    rejects: list[Reject]


def labels_only(studies: Sequence[Study]) -> bool:
    """Whether a set has labels and no report text at all, as ChestX-ray14: it can teach a vision encoder alone."""
    texts = (stated(study.sections.get(name)) for study in studies for name in _REPORTING)
    return any(study.labels for study in studies) and not any(texts)


def target_texts(
    studies: Sequence[Study],
    target: str,
    recipe: str,
    priors: str = "keep",
    max_words: int = 0,
    too_long: str = "reject",
) -> Targeted:
    """Each study with its `report` and flags; training studies without one are rejected.

    `priors` is "keep", "drop" (what texts say of earlier studies is taken out) or "match" (only where the study has no
    prior). In a set of labels alone every labelled study stays. A report above `max_words` (0: no limit) is left out as
    one that is not there ("reject"), or ends with the last sentence that fits and is flagged ("cut"); then test reports
    stay whole, for a score is against what was written. Raises InputError when the headers of too many reports were not
    recognised.
    """
    _check_headers(studies)
    without_text = labels_only(studies)
    targeted, rejects = [], []
    for study in studies:
        findings, impression, flags = _parts(study, target)
        wanted = [findings, impression]
        if priors == "drop" or (priors == "match" and study.prior_study_id is None):
            wanted = [without_priors(text) for text in wanted]
        report = clean(wanted[0], wanted[1], recipe) if any(wanted) else None
        code, hint = "", ""
        if not findings and not impression:
            code, hint = _why_none(study, target)
        elif report is None:
            code, hint = "text-dropped", f"nothing is left after text recipe {recipe} and --priors {priors}"
        elif max_words and len(report.split()) > max_words and (too_long == "reject" or study.split != "test"):
            report = cut_at_sentence(report, lambda text: len(text.split()) <= max_words) if too_long == "cut" else None
            if report is None:
                code, hint = "too-long", f"more than {max_words} words (--max-words){_LONG_HINT[too_long]}"
            else:
                flags += ("cut",)
        taught_by_labels = without_text and bool(study.labels)
        if code and study.split != "test" and not taught_by_labels:
            rejects.append(Reject(f"study {study.study_id}", study.study_id, code, hint))
            continue
        if code:
            flags += ("no-target", "too-long") if code == "too-long" else ("no-target",)
        others = tuple(flag for flag in study.flags if flag not in _OF_THE_TEXT)
        targeted.append(replace(study, report=None if code else report, flags=tuple(dict.fromkeys(others + flags))))
    return Targeted(targeted, rejects)


def remarks(studies: Sequence[Study]) -> list[str]:
    """What is odd about the texts, in counts."""
    reports = [study.report for study in studies if study.report]
    damaged = sum("\ufffd" in report for report in reports)
    foreign = sum(_looks_foreign(report) for report in reports)
    words = sum(
        _folded(study.sections.get(name)) in _EMPTY and bool(study.sections.get(name, "").strip())
        for study in studies
        for name in ("findings", "impression")
    )
    marks = Counter(flag for study in studies for flag in study.flags if flag.startswith(MARKS))
    return [
        *(
            f"{n} texts held {kind.removeprefix(MARKS)} marks, which were taken out"
            for kind, n in sorted(marks.items())
        ),
        *([f"{damaged} reports hold characters that an earlier conversion damaged (U+FFFD)"] if damaged else []),
        *([f"{foreign} reports do not look English; scores and labels here expect English"] if foreign else []),
        *([f"{words} sections hold only a word such as None or N/A and count as empty"] if words else []),
    ]


def _looks_foreign(report: str) -> bool:
    """Not one of the commonest English words among eight or more."""
    words = _folded(report).split()
    return len(words) >= 8 and not _ENGLISH.intersection(words)


def stated(text: str | None) -> str:
    """A section's text, "" for one that says only that there is none."""
    text = (text or "").strip()
    return "" if _folded(text) in _EMPTY else text


def _folded(text: str | None) -> str:
    """Lower case, words of letters and digits with one blank between them."""
    return _BETWEEN_WORDS.sub(" ", (text or "").lower()).strip()


def _parts(study: Study, target: str) -> tuple[str, str, tuple[str, ...]]:
    """(findings, impression) as far as they are wanted and there, and flags for what is not."""
    findings, impression = (stated(study.sections.get(name)) for name in ("findings", "impression"))
    flags = tuple(f"no-{name}" for name, text in (("findings", findings), ("impression", impression)) if not text)
    if target == "both" and not findings and not impression:
        last = stated(study.sections.get("last_paragraph"))
        return last, "", (*flags, "last-paragraph") if last else flags
    return findings if target != "impression" else "", impression if target != "findings" else "", flags


def _why_none(study: Study, target: str) -> tuple[str, str]:
    if target != "both" and any(stated(study.sections.get(name)) for name in _REPORTING):
        return f"no-{target}", f"the report has no {target}; --target both takes what there is"
    if any(stated(text) for text in study.sections.values()):
        return "no-sections", "the report has neither findings nor impression, or its headers are not known"
    return "text-empty", "the study has no report text; only test studies may have none"


def _check_headers(studies: Sequence[Study]) -> None:
    """Stop when many reports have text but neither findings nor impression: their headers are not understood.

    An indication alone, as a table has it for studies that nobody has reported yet, is no such report.
    """
    texts = [study.sections for study in studies if study.sections]
    reports = [sections for sections in texts if any(stated(sections[name]) for name in sections.keys() - CONTEXT)]
    lost = [sections for sections in reports if not any(stated(sections.get(name)) for name in _REPORTING)]
    if len(texts) >= _FEWEST and len(lost) > _UNPARSED_LIMIT * len(texts):
        starts = Counter(
            line.split(":")[0].strip()[:30]
            for sections in lost
            for text in sections.values()
            for line in text.splitlines()
            if ":" in line[:32]
        )
        common = ", ".join(f"{start!r} ({count})" for start, count in starts.most_common(5) if count > 1)
        raise InputError(
            f"{len(lost)} of {len(texts)} reports have no findings or impression that is recognised; if the whole text "
            "is the report, --map findings=COLUMN",
            detail=f"frequent line starts: {common or 'none with a colon'}",
        )
