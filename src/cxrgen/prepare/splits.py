"""Which studies are for training, validation and testing; a patient is never in two of them.

A split the source gives is kept (train, valid, validate, val, dev, test in any case). A source without one is split
here, by patient: patients are put in an order that only a seed and their id decide, and fill test, then valid, up to
their shares. Adding studies later so moves few patients. A source where no study has any text is all for testing.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from cxrgen.core.errors import InputError
from cxrgen.core.records import SPLITS, Study

_SYNONYMS = {
    "train": ("train", "training", "tr"),
    "valid": ("valid", "validate", "validation", "val", "dev", "development"),
    "test": ("test", "testing", "tst", "eval"),
}
_SPLIT_OF = {word: split for split, words in _SYNONYMS.items() for word in words}


def named_split(word: str, place: str) -> str:
    """train, valid or test for a source's word; "" stays "". Raises InputError for any other."""
    folded = word.strip().lower()
    if folded and folded not in _SPLIT_OF:
        raise InputError(f"{place}: unknown split {word.strip()[:20]!r}; there are {', '.join(SPLITS)} and synonyms")
    return _SPLIT_OF.get(folded, "")


def with_subjects(studies: Sequence[Study]) -> tuple[list[Study], int]:
    """Studies without a patient become patients of their own; returns how many there were."""
    missing = sum(not study.subject_id for study in studies)
    return [replace(study, subject_id=study.subject_id or study.study_id) for study in studies], missing


def assign_splits(
    studies: Sequence[Study], valid_share: float, test_share: float, seed: int, resplit: bool = False
) -> tuple[list[Study], str]:
    """Every study with a split, and how it got it. With `resplit` what the source says is forgotten.

    Raises InputError when a patient is in two splits (unless `resplit`), or only some studies have one.
    """
    if resplit:
        studies = [replace(study, split="") for study in studies]
    named = [replace(study, split=named_split(study.split, f"study {study.study_id}")) for study in studies]
    given = sum(bool(study.split) for study in named)
    if given == len(named):
        _one_split_each(named)
        return named, "given by the source"
    if given:
        raise InputError(
            f"{len(named) - given} of {len(named)} studies have no split; fill the column, or draw all with --resplit"
        )
    if not any(study.sections for study in named):
        return [replace(study, split="test") for study in named], "all for testing: no study has text"
    split_of = draw_splits(Counter(study.subject_id for study in named), valid_share, test_share, seed)
    drawn = [replace(study, split=split_of[study.subject_id]) for study in named]
    return drawn, f"drawn by patient, seed {seed}: valid {valid_share:.0%}, test {test_share:.0%}"


def draw_splits(studies_of: Counter[str], valid_share: float, test_share: float, seed: int) -> dict[str, str]:
    """Patient -> split, for patients with so many studies each."""
    order = sorted(studies_of, key=lambda subject: hashlib.sha256(f"{seed}:{subject}".encode()).digest())
    total = sum(studies_of.values())
    split_of = {}
    done = 0
    for subject in order:
        part = done / total
        split_of[subject] = "test" if part < test_share else "valid" if part < test_share + valid_share else "train"
        done += studies_of[subject]
    return split_of


def _one_split_each(studies: Sequence[Study]) -> None:
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for study in studies:
        splits[study.subject_id].add(study.split)
    torn = sum(len(each) > 1 for each in splits.values())
    if torn:
        raise InputError(
            f"{torn} patients are in two splits, so a test would leak; draw anew by patient with --resplit"
        )
