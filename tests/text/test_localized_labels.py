from __future__ import annotations

import pytest

from cxrgen.text.localized_labels import localized_labels


def stated(report: str) -> set[str]:
    return {name for name, value in localized_labels(report).items() if value == 1}


def test_places_belong_to_the_observation_of_their_sentence() -> None:
    found = stated("Small left pleural effusion. Opacity in the right lower lobe.")
    assert {"Pleural Effusion | left", "Pleural Effusion | small", "Lung Opacity | right lower"} <= found
    assert not {"Pleural Effusion | right", "Lung Opacity | left", "Lung Opacity | small"} & found


@pytest.mark.parametrize(
    ("report", "kind"),
    [
        ("An endotracheal tube ends 4 cm above the carina.", "endotracheal tube"),
        ("A right internal jugular central venous catheter ends in the SVC.", "central line | right"),
        ("A pacemaker with a single lead is present.", "pacemaker"),
        ("There is a left chest tube.", "chest tube | left"),
        ("Median sternotomy wires are intact.", "sternal wires"),
        ("The lungs are hyperinflated.", "hyperinflation"),
    ],
)
def test_kinds(report: str, kind: str) -> None:
    assert kind in stated(report)


@pytest.mark.parametrize(
    "report", ["No chest tube or pacemaker.", "The left chest tube has been removed.", "No hyperinflation.", ""]
)
def test_what_is_denied_is_not_stated(report: str) -> None:
    assert not {"chest tube", "chest tube | left", "pacemaker", "hyperinflation"} & stated(report)


def test_a_decimal_tears_no_sentence_apart() -> None:
    assert "Lung Lesion | left" in stated("A nodule of approx. 1.2 cm projects over the left lung.")


def test_clauses_keep_their_places() -> None:
    found = stated("Small left pleural effusion; opacity in the right lung.")
    assert {"Pleural Effusion | left", "Lung Opacity | right"} <= found
    assert not {"Pleural Effusion | right", "Lung Opacity | left"} & found
