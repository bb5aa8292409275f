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
