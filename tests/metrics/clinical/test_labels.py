"""F1 over the 14 observations under each rule for uncertain labels, against counting one study at a time."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrgen.core.errors import UsageError
from cxrgen.metrics import measure, metric_of
from cxrgen.metrics.clinical.labels import UNCERTAIN_RULES, f1_counts, f1_values, label_table, rule_label_table
from cxrgen.text.chexpert import OBSERVATIONS
from cxrgen.text.rule_labels import label

COMPONENTS = Path(__file__).parents[2] / "golden" / "metrics" / "components.json"
FIVE = (1, 4, 5, 7, 9)
OF_CLASS = {0: -2, 1: 1, 2: 0, 3: -1}  # blank, positive, negative, uncertain


@pytest.fixture(scope="module")
def sides() -> list[list[list[int]]]:
    """60 made-up label vectors a side, as `label_table` codes them: reports, references."""
    golden = json.loads(COMPONENTS.read_text(encoding="utf-8"))["f1chexbert"]
    sides = ("prediction", "reference")
    return [[[OF_CLASS[c] for c in row] for row in golden[f"classes_{side}"]] for side in sides]


def counted(said: list[list[int]], wanted: list[list[int]], rule: str, column: int) -> tuple[int, int, int]:
    """Hits, false alarms, misses of one observation; each class that counts is asked for by itself."""
    classes: dict[str, list[set[int]]] = {
        "positive": [{1, -1}],
        "negative": [{1}],
        "ignore": [{1}],
        "own-class": [{1}, {-1}],
    }
    hits = alarms = misses = 0
    for of_report, of_reference in zip(said, wanted):
        one, other = of_report[column], of_reference[column]
        if rule == "ignore" and -1 in (one, other):
            continue
        for values in classes[rule]:
            hits += one in values and other in values
            alarms += one in values and other not in values
            misses += one not in values and other in values
    return hits, alarms, misses


def f1(hits: int, alarms: int, misses: int) -> float:
    return 2 * hits / (2 * hits + alarms + misses) if hits + alarms + misses else 0.0


@pytest.mark.parametrize("rule", ["positive", "negative", "ignore", "own-class"])
def test_each_rule_against_counting_by_hand(sides: list[list[list[int]]], rule: Any) -> None:
    values = f1_values(f1_counts(*map(np.array, sides), rule).sum(axis=0), "x", empty="zero")
    each = [counted(*sides, rule, column) for column in range(14)]
    for column, name in enumerate(OBSERVATIONS):
        assert np.nan_to_num(values[f"x_{name.lower().replace(' ', '_')}"]) == pytest.approx(f1(*each[column]))
    for size, columns in ((14, range(14)), (5, FIVE)):
        chosen = [each[column] for column in columns]
        supports = [hits + misses for hits, _, misses in chosen]
        assert values[f"x_micro_{size}"] == pytest.approx(f1(*map(sum, zip(*chosen))))
        assert values[f"x_macro_{size}"] == pytest.approx(sum(f1(*row) for row in chosen) / size)
        weighted = sum(f1(*row) * support for row, support in zip(chosen, supports)) / sum(supports)
        assert values[f"x_weighted_{size}"] == pytest.approx(weighted)


# scikit-learn's answers on these vectors. own-class: f1_score(wanted, said, labels=[1, 3], average="micro") over all
# classes at once, and the mean of the same over single observations. ignore: the same with labels=[1] and without the
# studies in which either side has class 3.
SCIKIT_LEARN = {
    "own-class/micro_14": 0.741935484,
    "own-class/macro_14": 0.682840741,
    "own-class/micro_5": 0.774193548,
    "own-class/macro_5": 0.771607918,
    "ignore/micro_14": 0.78125,
    "ignore/macro_14": 0.727767364,
    "ignore/micro_5": 0.823529412,
    "ignore/macro_5": 0.819456333,
}


@pytest.mark.parametrize("name", SCIKIT_LEARN)
def test_rules_as_scikit_learn_counts_them(sides: list[list[list[int]]], name: str) -> None:
    rule, average = name.split("/")
    values = f1_values(f1_counts(*map(np.array, sides), rule).sum(axis=0), "x", empty="zero")  # type: ignore[arg-type]
    assert values[f"x_{average}"] == pytest.approx(SCIKIT_LEARN[name], abs=1e-6)


def test_own_class_by_hand() -> None:
    """Edema in five studies: said sure sure unsure unsure none, wanted sure unsure unsure sure unsure."""
    column = OBSERVATIONS.index("Edema")
    said, wanted = np.full((5, 14), -2), np.full((5, 14), -2)
    said[:, column], wanted[:, column] = (1, 1, -1, -1, 0), (1, -1, -1, 1, -1)
    hits, alarms, misses = 2, 2, 3
    values = f1_values(f1_counts(said, wanted, "own-class").sum(axis=0), "x", empty="skip")
    assert values["x_edema"] == values["x_micro_14"] == pytest.approx(2 * hits / (2 * hits + alarms + misses))


def test_every_rule_is_a_preset_of_either_labeller() -> None:
    texts = ["Possible pneumonia. Edema.", "Edema is possible."]
    for preset, rule in UNCERTAIN_RULES.items():
        measured = measure(metric_of(f"rule.{preset}"), texts, texts[::-1])
        names = list(measured.aggregate(measured.counts))
        suffix = "" if rule == "positive" else f".{preset}"
        assert f"rule_f1_micro_14{suffix}" in names
        assert ("rule_similarity" in names) == (rule == "positive")
        assert f"uncertain:{rule}" in measured.signature
        assert metric_of(f"chexbert_f1_macro_5.{preset}") == f"chexbert{suffix}"
    with pytest.raises(UsageError, match="unknown preset of rule 'uncertain-maybe'"):
        metric_of("rule.uncertain-maybe")


def test_a_table_of_rule_labels_is_that_of_single_texts() -> None:
    """Sentences in any company: present beats uncertain beats absent, and words without a finding are "No Finding"."""
    pieces = (
        "No edema.",
        "Possible edema.",
        "Edema.",
        "Left chest tube.",
        "Hiatal hernia.",
        "Seen.",
        "...",
        "",
        "No tube.",
    )
    texts = [" ".join(three) for three in product(pieces, repeat=3)]
    assert rule_label_table(texts).tolist() == label_table([label(text) for text in texts]).tolist()
    assert rule_label_table([]).shape == (0, 14)
