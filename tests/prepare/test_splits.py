from __future__ import annotations

from collections import Counter

import pytest

from cxrgen.core.errors import InputError
from cxrgen.core.records import Study
from cxrgen.prepare.prior_studies import prior_ids
from cxrgen.prepare.splits import assign_splits, draw_splits

TEXT = {"findings": "Synthetic."}


def test_patients_are_drawn_whole_and_shares_are_met() -> None:
    studies_of = Counter({f"P{i}": 1 + i % 4 for i in range(400)})
    splits = draw_splits(studies_of, 0.1, 0.2, seed=3)
    total = sum(studies_of.values())
    parts = {split: sum(studies_of[p] for p in splits if splits[p] == split) / total for split in ("valid", "test")}
    assert parts["valid"] == pytest.approx(0.1, abs=0.01)
    assert parts["test"] == pytest.approx(0.2, abs=0.01)
    assert splits == draw_splits(Counter(dict(reversed(studies_of.items()))), 0.1, 0.2, seed=3)
    assert splits != draw_splits(studies_of, 0.1, 0.2, seed=4)


def test_new_patients_move_few_of_the_others() -> None:
    before = draw_splits(Counter({f"P{i}": 1 for i in range(1000)}), 0.1, 0.1, seed=0)
    after = draw_splits(Counter({f"P{i}": 1 for i in range(1050)}), 0.1, 0.1, seed=0)
    assert sum(before[patient] != after[patient] for patient in before) < 30


def test_some_studies_without_a_split_stop() -> None:
    studies = [Study("1", "1", "train", sections=TEXT), Study("2", "2", sections=TEXT)]
    with pytest.raises(InputError, match="1 of 2 studies have no split"):
        assign_splits(studies, 0.1, 0.1, 0)
    drawn, how = assign_splits(studies, 0.0, 0.5, 0, resplit=True)
    assert sorted(drawn.values()) == ["test", "train"]
    assert "seed 0" in how


def train_and_test(patients: int) -> list[Study]:
    """Two studies a patient, every fifth patient for testing."""
    return [
        Study(f"{patient}-{number}", f"P{patient}", "test" if patient % 5 == 0 else "train", sections=TEXT)
        for patient in range(patients)
        for number in (1, 2)
    ]


def test_train_and_test_alone_give_some_of_train_to_valid_by_patient() -> None:
    studies = train_and_test(1000)
    split_of, how = assign_splits(studies, 0.1, 0.1, 0)
    patients: dict[str, set[str]] = {}
    for study in studies:
        patients.setdefault(study.subject_id, set()).add(split_of[study.study_id])
    assert all(len(splits) == 1 for splits in patients.values()), "no patient in two splits"
    counts = Counter(split_of.values())
    assert counts == {"train": 1520, "valid": 80, "test": 400}
    assert all(split_of[study.study_id] == "test" for study in studies if study.split == "test")
    assert how == "train and test given by the source, 5% of train drawn by patient for valid, seed 0"
    assert assign_splits(studies[::-1], 0.1, 0.1, 0)[0] == split_of, "whatever the order"


def test_valid_is_left_alone_where_rows_must_stay_or_nothing_is_to_be_drawn() -> None:
    studies = train_and_test(100)
    given = {study.study_id: study.split for study in studies}
    assert assign_splits(studies, 0.1, 0.1, 0, fill_valid=False) == (given, "given by the source")
    assert assign_splits(studies, 0.0, 0.1, 0) == (given, "given by the source, without valid")
    one_patient = [Study("1", "P1", "train", sections=TEXT), Study("2", "P2", "test", sections=TEXT)]
    assert assign_splits(one_patient, 0.1, 0.1, 0)[0] == {"1": "train", "2": "test"}
    alone = [Study(str(number), f"P{number}", "train", sections=TEXT) for number in range(50)]
    assert set(assign_splits(alone, 0.1, 0.1, 0)[0].values()) == {"train"}, "a file of training conversations"


def prior(*keys: str, splits: str = "") -> list[str | None]:
    """The prior of each study of one patient, whose ids are 0, 1, ... and whose times are `keys`."""
    studies = [Study(str(i), "P", splits[i] if splits else "train", order_key=key) for i, key in enumerate(keys)]
    priors = prior_ids(studies)
    return [priors.get(study.study_id) for study in studies]


def test_the_nearest_strictly_earlier_study() -> None:
    assert prior("3", "1", "2") == ["2", None, "1"], "ids carry no order"
    assert prior("1", "1", "2") == [None, None, "0"], "equal times have no order"
    assert prior("1", "2", "2", "3") == [None, "0", "0", "1"]
    assert prior("1", "", "2") == [None, None, "0"], "no date, no prior"
    assert prior("20200101 080000.000", "20200101 093000.000") == [None, "0"], "the same day is earlier too"
    assert prior("1", "2", splits="ab") == [None, None], "never in another split"
