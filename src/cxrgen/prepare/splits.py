"""Which studies are for training, validation and testing; a patient is never in two of them.

A split the source gives is kept (train, valid, validate, val, dev, test in any case). A source without one is split
here, by patient: patients are put in an order that only a seed and their id decide, and fill test, then valid, up to
their shares. Adding studies later so moves few patients. Where a source has train and test alone, a twentieth of train
becomes valid in the same way, unless its rows must stay those of a published set. A source where no study has text or
labels is all for testing.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from cxrgen.core.errors import InputError
from cxrgen.core.records import SPLITS, Study
from cxrgen.prepare.targets import labels_only

_SYNONYMS = {
    "train": ("train", "training", "tr"),
    "valid": ("valid", "validate", "validation", "val", "dev", "development"),
    "test": ("test", "testing", "tst", "eval"),
}
_VALID_OF_TRAIN = 0.05  # where the source has train and test alone
_SPLIT_OF = {word: split for split, words in _SYNONYMS.items() for word in words}


def subject_of(study: Study) -> str:
    """The patient; a study without one is a patient of its own."""
    return study.subject_id or study.study_id


def assign_splits(
    studies: Sequence[Study],
    valid_share: float,
    test_share: float,
    seed: int,
    resplit: bool = False,
    fill_valid: bool = True,
) -> tuple[dict[str, str], str]:
    """Study id -> split, and how the splits came about. With `resplit` what the source says is forgotten.

    With `fill_valid` a twentieth of train (at most `valid_share`) becomes valid where there are train and test alone.

    Raises InputError when a patient is in two splits (unless `resplit`), when only some studies have one, or when words
    are none of the synonyms.
    """
    words = {study.study_id: "" if resplit else study.split.strip().lower() for study in studies}
    strange = sum(bool(word) and word not in _SPLIT_OF for word in words.values())
    if strange:
        raise InputError(
            f"{strange} of {len(studies)} studies have an unknown split; write {', '.join(SPLITS)} or a usual synonym, "
            "or draw all with --resplit",
            detail=f"for instance {next(word for word in words.values() if word and word not in _SPLIT_OF)!r}",
        )
    given = {name: _SPLIT_OF[word] for name, word in words.items() if word}
    if len(given) == len(words):
        _one_split_each(studies, given)
        if fill_valid and set(given.values()) == {"train", "test"}:
            return _with_valid(studies, given, min(valid_share, _VALID_OF_TRAIN), seed)
        return given, "given by the source"
    if given:
        raise InputError(
            f"{len(words) - len(given)} of {len(words)} studies have no split; fill the column, or draw all with "
            "--resplit"
        )
    if not any(study.sections for study in studies) and not labels_only(studies):
        return dict.fromkeys(words, "test"), "all for testing: no study has text or labels"
    split_of = draw_splits(Counter(map(subject_of, studies)), valid_share, test_share, seed)
    drawn = {study.study_id: split_of[subject_of(study)] for study in studies}
    return drawn, f"drawn by patient, seed {seed}: valid {valid_share:.0%}, test {test_share:.0%}"


def _with_valid(
    studies: Sequence[Study], given: Mapping[str, str], share: float, seed: int
) -> tuple[dict[str, str], str]:
    """The splits of the source with some patients of train in valid; a single patient stays in train."""
    in_train = Counter(subject_of(study) for study in studies if given[study.study_id] == "train")
    drawn = draw_splits(in_train, share, 0, seed) if len(in_train) > 1 else {}
    split_of = {study.study_id: drawn.get(subject_of(study), given[study.study_id]) for study in studies}
    if "valid" not in split_of.values():
        return dict(given), "given by the source, without valid"
    return split_of, f"train and test given by the source, {share:.0%} of train drawn by patient for valid, seed {seed}"


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


def _one_split_each(studies: Sequence[Study], split_of: Mapping[str, str]) -> None:
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for study in studies:
        splits[subject_of(study)].add(split_of[study.study_id])
    torn = sum(len(names) > 1 for names in splits.values())
    if torn:
        raise InputError(
            f"{torn} patients are in two splits, so a test would leak; draw anew by patient with --resplit"
        )
