"""A reference and a report sentence by sentence."""

from __future__ import annotations

import pytest

from cxrgen.evaluate.page.aligned import Row, aligned


def kinds(reference: str, report: str) -> list[tuple[str, str, str]]:
    return [(row.kind, row.reference, row.report) for row in aligned(reference, report)]


@pytest.mark.parametrize(
    ("reference", "report", "kind"),
    [
        ("Heart size is normal.", "heart  size is normal", "right"),
        ("Heart size is normal.", "No cardiomegaly.", "right"),
        ("Small left effusion.", "No pleural effusion.", "contradicted"),
        ("No pleural effusion.", "Pleural effusion.", "contradicted"),
        ("Small left effusion.", "Small right effusion.", "contradicted"),
        ("Right central venous line.", "Left central venous line.", "contradicted"),
        ("Lungs look fine today.", "Lungs look fine now.", "not judged"),
    ],
)
def test_two_sentences_that_belong_together(reference: str, report: str, kind: str) -> None:
    assert kinds(reference, report) == [(kind, reference, report)]


def test_sentences_without_a_partner() -> None:
    found = kinds("Left effusion. Normal heart.", "Normal heart. Pulmonary edema.")
    assert found == [
        ("missing", "Left effusion.", ""),
        ("right", "Normal heart.", "Normal heart."),
        ("invented", "", "Pulmonary edema."),
    ]


def test_what_another_sentence_says_is_not_missing() -> None:
    found = {row.reference: row.kind for row in aligned("No effusion. No edema.", "No effusion or edema.")}
    assert found == {"No effusion.": "right", "No edema.": "right"}


def test_a_negative_that_is_left_out_is_no_miss() -> None:
    assert kinds("No pneumothorax.", "Normal heart.")[0] == ("not judged", "No pneumothorax.", "")


def test_devices_share_a_label_and_are_not_taken_for_each_other() -> None:
    found = kinds("Right chest tube. Left pacemaker.", "Left pacemaker. Endotracheal tube 5.0 cm above the carina.")
    assert ("right", "Left pacemaker.", "Left pacemaker.") in found
    assert ("not judged", "Right chest tube.", "") in found


def test_every_sentence_is_shown_once() -> None:
    reference = "One. Left effusion. No edema. Two words here. Left effusion."
    report = "Left effusion. Edema. Something else entirely. One."
    rows = aligned(reference, report)
    assert [row.reference for row in rows if row.reference] == [f"{text.strip('.')}." for text in reference.split(". ")]
    assert sorted(row.report for row in rows if row.report) == sorted(f"{t.strip('.')}." for t in report.split(". "))


def test_empty_texts() -> None:
    assert aligned("", "") == []
    assert aligned("", "Edema.") == [Row("invented", "", "Edema.")]
    assert aligned("Edema.", "") == [Row("missing", "Edema.", "")]
