from __future__ import annotations

import pytest

from cxrgen.data.targets import remarks, target_texts
from cxrgen.records import Study

FOLLOW_UP = {
    "findings": "The heart is of normal size. There is a stable small right effusion.",
    "impression": "No change compared to the prior study.",
}


def reports(*studies: Study, **settings: object) -> list[str | None]:
    arguments = {"target": "both", "recipe": "plain", **settings}
    return [study.report for study in target_texts(studies, **arguments).studies]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("priors", "first", "second"),
    [
        ("keep", "change", "change"),
        ("drop", "The heart is of normal size. There is a small right effusion.", ""),
        ("match", "The heart is of normal size. There is a small right effusion.", "change"),
    ],
)
def test_what_is_said_of_earlier_studies(priors: str, first: str, second: str) -> None:
    studies = (Study("1", "P", "train", sections=FOLLOW_UP), Study("2", "P", "train", sections=FOLLOW_UP))
    told = reports(studies[0], Study(**{**vars(studies[1]), "prior_study_id": "1"}), priors=priors)
    whole = " ".join(FOLLOW_UP.values())
    assert told == [whole if word == "change" else word or told[0] for word in (first, second)]


def test_a_text_that_only_compares_is_dropped_with_a_reason() -> None:
    study = Study("1", "P", "train", sections={"impression": "No change compared to the prior study."})
    targeted = target_texts([study], "both", "plain", "drop")
    assert not targeted.studies
    assert [reject.code for reject in targeted.rejects] == ["text-dropped"]


def test_a_last_paragraph_counts_and_says_so() -> None:
    targeted = target_texts([Study("1", "P", "train", sections={"last_paragraph": "Synthetic text."})], "both", "plain")
    assert targeted.studies[0].report == "Synthetic text."
    assert targeted.studies[0].flags == ("no-findings", "no-impression", "last-paragraph")


def test_remarks_are_counts() -> None:
    texts = (
        "Der Herzschatten ist normal groß, kein Erguss, keine Stauung.",
        "El corazón es de tamaño normal y no se observa derrame pleural.",
        "Cardiomegaly. Small effusion. No edema. No pneumothorax. Clear lungs.",
        "The heart is na\ufffdve.",
    )
    said = remarks([Study(text, "P", report=text, sections={"findings": text}) for text in texts])
    assert said == [
        "1 reports hold characters that an earlier conversion damaged (U+FFFD)",
        "2 reports do not look English; scores and labels here expect English",
    ]
