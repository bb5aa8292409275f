from __future__ import annotations

import numpy as np
import pytest

from cxrgen.core.errors import UsageError
from cxrgen.metrics.clinical import rule_f1 as rule
from cxrgen.metrics.clinical.labels import f1_counts, f1_values, label_cosine, label_table


def corpus(hypotheses: list[str], references: list[str], **extra: str) -> dict[str, float]:
    measured = rule.measure(hypotheses, references, **extra)
    return {name: float(value) for name, value in measured.aggregate(measured.counts.sum(axis=0)).items()}


def test_a_negation_turned_round_costs_the_finding() -> None:
    values = corpus(["Pleural effusion.", "Lungs are clear."], ["No pleural effusion.", "The lungs are clear."])
    assert values["rule_f1_pleural_effusion"] == 0
    assert values["rule_f1_no_finding"] == pytest.approx(2 / 3)
    assert values["rule_f1_micro_14"] == pytest.approx(2 * 1 / (2 * 1 + 2))


def test_wording_costs_nothing() -> None:
    values = corpus(["The heart is enlarged. No PTX."], ["Cardiomegaly without pneumothorax."])
    assert values["rule_f1_micro_14"] == values["rule_f1_macro_5"] == values["rule_similarity"] == 1


def test_uncertain_is_what_the_caller_says() -> None:
    pair = (["Possible pneumonia."], ["Pneumonia."])
    assert corpus(*pair)["rule_f1_pneumonia"] == 1
    assert corpus(*pair, preset="uncertain-negative")["rule_f1_pneumonia.uncertain-negative"] == 0
    assert corpus(*pair, preset="uncertain-own-class")["rule_f1_pneumonia.uncertain-own-class"] == 0
    assert np.isnan(corpus(*pair, preset="uncertain-ignore")["rule_f1_pneumonia.uncertain-ignore"])
    assert "uncertain:ignore" in rule.measure(*pair, preset="uncertain-ignore").signature
    with pytest.raises(UsageError, match="unknown preset of rule 'ignore'; choose from uncertain-positive"):
        rule.measure(*pair, preset="ignore")


def test_corpus_is_not_the_mean_and_leading_dimensions_work() -> None:
    measured = rule.measure(["Effusion. Edema.", "Clear."], ["Effusion.", "Effusion."])
    weights = np.ones((3, 2, 2))
    values = measured.aggregate(weights @ measured.counts)
    assert values["rule_f1_micro_14"].shape == (3, 2)
    assert values["rule_f1_pleural_effusion"][0, 0] == pytest.approx(2 / 3)


def test_macro_with_and_without_observations_nobody_has() -> None:
    table = label_table([{"Edema": 1, "Fracture": 0}])
    sums = f1_counts(table, table).sum(axis=0)
    assert f1_values(sums, "x", "skip")["x_macro_5"] == 1
    assert f1_values(sums, "x", "zero")["x_macro_5"] == pytest.approx(1 / 5)
    assert f1_values(sums, "x", "zero")["x_weighted_14"] == 1


def test_label_cosine_of_empty_vectors() -> None:
    nothing, edema, maybe = ({}, {"Edema": 1}, {"Edema": -1})
    said = label_table([nothing, edema, maybe, {"Edema": 1, "Fracture": 1}])
    wanted = label_table([{"Edema": 0}, nothing, edema, edema])
    np.testing.assert_allclose(label_cosine(said, wanted), [1, 0, 1, 1 / np.sqrt(2)])
