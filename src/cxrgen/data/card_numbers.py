"""The numbers of a data card: what a set holds, how its splits differ, and what in it can mislead.

Counts only, never a report's words: card.json can be shown to people who may not read the reports.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from cxrgen.data.films import StoredFilm
from cxrgen.data.steps import Chosen
from cxrgen.errors import InputError, UsageError
from cxrgen.records import FRONTAL, LATERAL, SPLITS, Study
from cxrgen.text.priors import speaks_of_prior
from cxrgen.text.prompts import study_conversation

Count = Callable[[str], int]  # a text's number of tokens

_LONG_REPORT = 12  # words; shorter ones are alike without being copies
_DATE = 8  # digits of a date at the start of an order key; pseudonymised keys are shorter
_FIRST_DATE = 18000101  # smaller numbers count days
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
PATTERNS = {
    "blanks (___ or XXXX)": r"_{3,}|\bX{4,}\b",
    "measurements": r"\b\d+(\.\d+)?\s?(mm|cm|MM|CM)\b",
    "characters that were damaged (U+FFFD)": "\ufffd",
}
# What may name a person or a day; counted so that somebody looks before the texts go anywhere.
PRIVATE_PATTERNS = {
    "dates": r"\b\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b",
    "long numbers": r"\b\d{6,}\b",
    "titles with a name": r"\b(Dr|Mr|Mrs|Ms|Prof)\.? [A-Z][a-z]+",
    "telephone numbers": r"\+?\d{2,4}[ /-]\d{3,4}[ -]\d{3,5}\b",
}


def card_numbers(
    chosen: Chosen, films: Sequence[StoredFilm], recipe: dict[str, Any], count: Count | None = None
) -> dict[str, Any]:
    """Everything card.json holds."""
    studies = chosen.studies
    return {
        "schema": 1,
        "findings": warnings(studies),
        "waterfall": [asdict(count) for count in chosen.waterfall],
        "splits": {split: _split(studies, split) for split in SPLITS},
        "sections": _by_split(studies, lambda study: [name for name, text in study.sections.items() if text.strip()]),
        "view_combinations": _by_split(studies, lambda study: [combination(study)]),
        "labels": _labels(studies),
        "days_to_prior": _quantiles(days_to_prior(studies)),
        "words": {split: _quantiles(_words(studies, split)) for split in SPLITS},
        "tokens": token_lengths(studies, count) if count else {},
        "texts": {
            "words about earlier studies": _share(studies, speaks_of_prior),
            **{name: _share(studies, re.compile(pattern).search) for name, pattern in PATTERNS.items()},
        },
        "private_patterns": {name: _count(studies, pattern) for name, pattern in PRIVATE_PATTERNS.items()},
        "flags": dict(sorted(Counter(flag for study in studies for flag in study.flags).items())),
        "films": _films(studies, films),
        "left_out": dict(sorted(Counter(reject.code for reject in chosen.rejects).items())),
        "test_list_sha256": _list_hash(study.study_id for study in studies if study.split == "test"),
        "notes": chosen.notes,
        "recipe": recipe,
    }


def read_tokenizer(tokenizer: Path) -> Count:
    """How many tokens a text has for the model in a folder.

    Raises UsageError when the library is missing, InputError when the folder holds no tokenizer.json.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise UsageError('--tokenizer needs the tokenizers library: pip install "cxrgen[model]"') from None
    file = tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer
    try:
        encode = Tokenizer.from_file(str(file)).encode
    except Exception:  # the library raises nothing narrower, for missing and for damaged files
        raise InputError(f"{file}: no tokenizer that can be read; give the folder of a model") from None
    return lambda text: len(encode(text).ids)


def token_lengths(studies: Sequence[Study], count: Count) -> dict[str, dict[str, int]]:
    """Quantiles of the tokens of findings, impression, report and prompt; images not counted."""
    texts: dict[str, list[str]] = {
        "findings": [study.sections["findings"] for study in studies if study.sections.get("findings")],
        "impression": [study.sections["impression"] for study in studies if study.sections.get("impression")],
        "report": [study.report for study in studies if study.report],
        "prompt": [study_conversation(study).turns[0].text for study in studies],
    }
    return {name: _quantiles([count(text) for text in held]) for name, held in texts.items()}


def warnings(studies: Sequence[Study]) -> dict[str, int]:
    """Leaks and duplicates: what makes a score look better than it is."""
    subjects: defaultdict[str, set[str]] = defaultdict(set)
    reports: defaultdict[str, set[str]] = defaultdict(set)
    holders: defaultdict[str, set[str]] = defaultdict(set)
    for study in studies:
        subjects[study.subject_id].add(study.split)
        words = (study.report or "").lower().split()
        if len(words) >= _LONG_REPORT:
            reports[" ".join(words)].add(study.split)
        for view in study.views:
            holders[view.sha256].add(study.study_id)
    test = [study for study in studies if study.split == "test" and study.report]
    return {
        "patients in two splits": sum(len(each) > 1 for each in subjects.values()),
        "films in two studies": sum(len(each) > 1 for each in holders.values()),
        "studies with two films that look like one exposure": sum("films-alike" in study.flags for study in studies),
        f"reports of {_LONG_REPORT} words or more that stand in train and test": sum(
            {"train", "test"} <= each for each in reports.values()
        ),
        "test studies whose report is a training report": sum(
            "train" in reports.get(" ".join((study.report or "").lower().split()), ()) for study in test
        ),
        "test studies without a report": sum(study.split == "test" and study.report is None for study in studies),
    }


def combination(study: Study) -> str:
    """The films of a study in words: "PA + lateral", "2 AP"."""
    names = Counter(
        view.raw_view.upper() if view.view == FRONTAL and view.raw_view else view.view for view in study.views
    )
    return " + ".join(f"{n} {name}" if n > 1 else name for name, n in sorted(names.items())) or "no film"


def frequent_sentences(studies: Sequence[Study], most: int = 12) -> list[tuple[str, int]]:
    """The sentences that occur in most training reports, for the page that stays with the data."""
    counts: Counter[str] = Counter()
    for study in studies:
        if study.split == "train" and study.report:
            sentences = re.split(r"(?<=[.!?])\s+", study.report)
            counts.update({sentence.strip() for sentence in sentences if re.search(r"[^\W\d]", sentence)})
    return counts.most_common(most)


def _split(studies: Sequence[Study], split: str) -> dict[str, Any]:
    mine = [study for study in studies if study.split == split]
    subjects = Counter(study.subject_id for study in mine)
    return {
        "studies": len(mine),
        "films": sum(len(study.views) for study in mine),
        "patients": len(subjects),
        "studies a patient": round(len(mine) / len(subjects), 2) if subjects else None,
        "with a report": sum(study.report is not None for study in mine),
        "with a lateral": sum(any(view.view == LATERAL for view in study.views) for study in mine),
        "with a prior": sum(study.prior_study_id is not None for study in mine),
    }


def _by_split(studies: Sequence[Study], names: Callable[[Study], list[str]]) -> dict[str, dict[str, int]]:
    """Name -> split -> studies."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for study in studies:
        for name in names(study):
            counts[name][study.split] += 1
    order = sorted(counts, key=lambda name: (-sum(counts[name].values()), name))
    return {name: {split: counts[name][split] for split in SPLITS} for name in order}


def _labels(studies: Sequence[Study]) -> dict[str, dict[str, dict[str, int]]]:
    """Label -> split -> how often it is present, uncertain, absent; the dataset's own labels."""
    words = {1: "present", -1: "uncertain", 0: "absent"}
    counts: defaultdict[str, defaultdict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for study in studies:
        for label, value in (study.labels or {}).items():
            counts[label][study.split][words[value]] += 1
    return {
        label: {split: {word: counts[label][split][word] for word in words.values()} for split in SPLITS}
        for label in sorted(counts)
    }


def _words(studies: Sequence[Study], split: str) -> list[int]:
    return [len(study.report.split()) for study in studies if study.split == split and study.report]


def _quantiles(values: Sequence[int]) -> dict[str, int]:
    ordered = sorted(values)
    if not ordered:
        return {}
    return {f"{100 * q:.0f}%": ordered[min(len(ordered) - 1, int(q * len(ordered)))] for q in _QUANTILES}


def _share(studies: Sequence[Study], holds: Callable[[str], object]) -> float | None:
    reports = [study.report for study in studies if study.report]
    return round(sum(bool(holds(report)) for report in reports) / len(reports), 4) if reports else None


def _count(studies: Sequence[Study], pattern: str) -> int:
    return sum(bool(re.search(pattern, text)) for study in studies for text in study.sections.values())


def days_to_prior(studies: Sequence[Study]) -> list[int]:
    """Days between each study and its prior, where both have a date."""
    key_of = {study.study_id: study.order_key for study in studies}
    days = [
        _day(study.order_key) - _day(key_of[study.prior_study_id])
        for study in studies
        if study.prior_study_id in key_of and len(study.order_key) >= _DATE
    ]
    return [day for day in days if day >= 0]


def _day(order_key: str) -> int:
    """A date as a number of days; a number of days stays one."""
    text = order_key[:_DATE]
    if int(text) < _FIRST_DATE:
        return int(text)
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:])).toordinal()
    except ValueError:
        return 0


def _films(studies: Sequence[Study], films: Sequence[StoredFilm]) -> dict[str, Any]:
    views = Counter(view.view for study in studies for view in study.views)
    raw = Counter(view.raw_view or "(none)" for study in studies for view in study.views)
    sizes = Counter(f"{film.width}x{film.height}" for film in films if film.path)
    notes = Counter(note.split(":")[0] for film in films for note in film.notes)
    return {
        "views": dict(views.most_common()),
        "as_the_source_says": dict(raw.most_common()),
        "stored_sizes": dict(sizes.most_common(12)),
        "notes": dict(notes.most_common()),
    }


def _list_hash(ids: Iterable[str]) -> str:
    """SHA-256 of the sorted ids, one a line: two papers used the same test list or they did not."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()
