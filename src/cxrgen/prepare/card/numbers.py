"""The numbers of a data card: what a set holds, how its splits differ, and what in it can mislead.

Counts only, never a report's words: card.json can be shown to people who may not read the reports.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

from cxrgen.core.records import FRONTAL, LATERAL, SPLITS, Study
from cxrgen.prepare.card.images import image_numbers
from cxrgen.prepare.card.quantiles import quantiles
from cxrgen.prepare.card.tokens import Tokens, token_numbers
from cxrgen.prepare.image_store import StoredImage
from cxrgen.prepare.pipeline import Selection
from cxrgen.sources.demographics import shown_age
from cxrgen.text.headers import SECTION_NAMES
from cxrgen.text.prior_mentions import speaks_of_prior
from cxrgen.text.sentences import sentences

_LONG_REPORT = 12  # words; shorter ones are alike without being copies
_DATE = 8  # digits of a date at the start of an order key; pseudonymised keys are shorter
_FIRST_DATE = 18000101  # smaller numbers count days
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
    selection: Selection, images: Sequence[StoredImage], recipe: dict[str, Any], tokens: Tokens | None = None
) -> dict[str, Any]:
    """Everything card.json holds."""
    studies = selection.studies
    return {
        "schema": 2,
        "findings": warnings(studies),
        "flow_chart": [asdict(row) for row in selection.flow_chart],
        "splits": {split: _split(studies, split) for split in SPLITS},
        "people": {split: _people(_of(studies, split)) for split in SPLITS},
        "sections": _by_split(studies, _section_names),
        "view_combinations": _by_split(studies, lambda study: [combination(study)]),
        "labels": _labels(studies),
        "days_to_prior": {split: quantiles(days_to_prior(_of(studies, split))) for split in SPLITS},
        "words": {split: quantiles(_words(studies, split)) for split in SPLITS},
        "limit": _limit(selection, int(recipe["options"].get("max_words") or 0)),
        "tokens": token_numbers(studies, tokens, recipe["options"]["prompt"]) if tokens else {},
        "texts": {
            "words about earlier studies": _share(studies, speaks_of_prior),
            **{name: _share(studies, re.compile(pattern).search) for name, pattern in PATTERNS.items()},
        },
        "private_patterns": {name: _count(studies, pattern) for name, pattern in PRIVATE_PATTERNS.items()},
        "flags": dict(sorted(Counter(flag for study in studies for flag in study.flags).items())),
        "images": image_numbers(studies, images),
        "left_out": dict(sorted(Counter(reject.code for reject in selection.rejects).items())),
        "test_list_sha256": _list_hash(study.study_id for study in studies if study.split == "test"),
        "notes": selection.notes,
        "recipe": {**recipe, "options": {**recipe["options"], "map": _mapped_fields(recipe["options"])}},
        "recipe_sha256": hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest(),
    }


def _mapped_fields(options: Mapping[str, Any]) -> list[str]:
    """The fields that --map gave; the names of their columns are the user's own."""
    return [word.partition("=")[0] for word in options.get("map", ())]


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
        "patients in two splits": sum(len(splits) > 1 for splits in subjects.values()),
        "images in two studies": sum(len(ids) > 1 for ids in holders.values()),
        "studies with two images that look like one exposure": sum("images-alike" in study.flags for study in studies),
        f"reports of {_LONG_REPORT} words or more that stand in train and test": sum(
            {"train", "test"} <= splits for splits in reports.values()
        ),
        "test studies whose report is a training report": sum(
            "train" in reports.get(" ".join((study.report or "").lower().split()), ()) for study in test
        ),
        "test studies without a report": sum(study.split == "test" and study.report is None for study in studies),
    }


def combination(study: Study) -> str:
    """The images of a study in words: "PA + lateral", "2 AP"."""
    names = Counter(
        view.raw_view.upper() if view.view == FRONTAL and view.raw_view else view.view for view in study.views
    )
    return " + ".join(f"{n} {name}" if n > 1 else name for name, n in sorted(names.items())) or "no image"


def frequent_sentences(studies: Sequence[Study], most: int = 12) -> list[tuple[str, int]]:
    """The sentences that occur in most training reports, for the page that stays with the data."""
    counts: Counter[str] = Counter()
    for study in studies:
        if study.split == "train" and study.report:
            counts.update({text for text in sentences(study.report) if re.search(r"[^\W\d]", text)})
    return counts.most_common(most)


def _of(studies: Sequence[Study], split: str) -> list[Study]:
    return [study for study in studies if study.split == split]


def _split(studies: Sequence[Study], split: str) -> dict[str, Any]:
    mine = _of(studies, split)
    subjects = Counter(study.subject_id for study in mine)
    moments = Counter((study.subject_id, study.order_key) for study in mine if study.order_key)
    return {
        "studies": len(mine),
        "images": sum(len(study.views) for study in mine),
        "patients": len(subjects),
        "studies a patient": round(len(mine) / len(subjects), 2) if subjects else None,
        "with a report": sum(study.report is not None for study in mine),
        "with a lateral": sum(any(view.view == LATERAL for view in study.views) for study in mine),
        "with a prior": sum(study.prior_study_id is not None for study in mine),
        "without a time": sum(not study.order_key for study in mine),
        "at the time of another of the patient": sum(n for n in moments.values() if n > 1),
    }


def _people(studies: Sequence[Study]) -> dict[str, Any]:
    """Patients by sex, and ages at the examination; all above 89 are 90. Empty where the source says neither."""
    sex_of = {study.subject_id: study.sex for study in studies if study.sex}
    ages = [age for study in studies if (age := shown_age(study.age)) is not None]
    if not sex_of and not ages:
        return {}
    sexes = Counter(sex_of.values())
    unknown = len({study.subject_id for study in studies}) - len(sex_of)
    counts = {name: sexes[sex] for sex, name in (("F", "female"), ("M", "male"), ("O", "other"))}
    return {"sex": {**counts, "unknown": unknown}, "studies with an age": len(ages), "age": quantiles(ages)}


def _limit(selection: Selection, max_words: int) -> dict[str, Any]:
    """How many reports are above `--max-words`: cut at the end of a sentence, or left out. Empty without a limit."""
    if not max_words:
        return {}
    cut, mute = (sum(flag in study.flags for study in selection.studies) for flag in ("cut", "too-long"))
    left_out = mute + sum(reject.code == "too-long" for reject in selection.rejects)
    everything = sum(study.report is not None for study in selection.studies) + left_out
    share = round((cut + left_out) / everything, 4) if everything else None
    return {"words": max_words, "cut": cut, "left out": left_out, "share": share}


def _section_names(study: Study) -> set[str]:
    """The sections with text; a header that is a report's own words, and may be a name, is "other header"."""
    names = {name for name, text in study.sections.items() if text.strip()}
    return {name if name.removeprefix("earlier ") in SECTION_NAMES else "other header" for name in names}


def _by_split(studies: Sequence[Study], names: Callable[[Study], Iterable[str]]) -> dict[str, dict[str, int]]:
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


def _list_hash(ids: Iterable[str]) -> str:
    """SHA-256 of the sorted ids, one a line: two papers used the same test list or they did not."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()
