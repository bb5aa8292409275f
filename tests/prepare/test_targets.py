from __future__ import annotations

import pytest

from cxrgen.core.errors import InputError
from cxrgen.core.records import Study
from cxrgen.prepare.targets import remarks, target_texts

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


LONG = "Tip 4.5 cm above the carina. Dr. Doe saw e.g. fluid. Large heart."


@pytest.mark.parametrize(
    ("most", "wanted"),
    [(13, LONG), (12, "Tip 4.5 cm above the carina. Dr. Doe saw e.g. fluid."), (10, "Tip 4.5 cm above the carina."),
     (5, None)],
)  # fmt: skip
def test_a_long_text_is_cut_at_the_end_of_a_sentence(most: int, wanted: str | None) -> None:
    studies = [Study(split, "P", split, sections={"findings": LONG}) for split in ("train", "valid", "test")]
    targeted = target_texts(studies, "both", "plain", max_words=most, too_long="cut")
    assert [study.report for study in targeted.studies] == [*([wanted] * 2 if wanted else []), LONG], "tests stay whole"
    assert ["cut" in study.flags for study in targeted.studies[:-1]] == [wanted != LONG] * (2 if wanted else 0)
    assert "cut" not in targeted.studies[-1].flags
    assert [(each.id, each.code) for each in targeted.rejects] == (
        [] if wanted else [("train", "too-long"), ("valid", "too-long")]
    )


def test_a_long_text_is_left_out_where_cutting_is_not_asked_for() -> None:
    studies = [Study(split, "P", split, sections={"findings": LONG}) for split in ("train", "test")]
    targeted = target_texts(studies, "both", "plain", max_words=12)
    assert [(study.split, study.report) for study in targeted.studies] == [("test", None)]
    assert set(targeted.studies[0].flags) == {"no-impression", "no-target", "too-long"}
    assert [(each.id, each.code) for each in targeted.rejects] == [("train", "too-long")]


@pytest.mark.parametrize(("recipe", "most"), [("original", 9), ("r2gen-mimic", 11), ("r2gen-iu", 11)])
def test_cleaned_texts_are_cut_where_their_sentences_end(recipe: str, most: int) -> None:
    study = Study("1", "P", "train", sections={"findings": "Clear lungs are seen. No effusion is seen. Heart large."})
    [whole] = target_texts([study], "both", recipe).studies
    [cut] = target_texts([study], "both", recipe, max_words=most, too_long="cut").studies
    assert cut.report is not None
    assert whole.report is not None
    assert whole.report.startswith(cut.report)
    assert cut.report.rstrip(" .").endswith("effusion is seen")


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


def test_an_indication_without_a_report_is_no_unknown_header() -> None:
    texts = [{"indication": "Cough."} | ({"findings": "Clear."} if number < 8 else {}) for number in range(20)]
    studies = [Study(str(number), "P", "train", sections=text) for number, text in enumerate(texts)]
    assert len(reports(*studies)) == 8


@pytest.mark.parametrize(("lost", "stops"), [(6, False), (7, True), (19, True)])
def test_a_set_whose_headers_are_not_known_stops_above_thirty_percent(lost: int, stops: bool) -> None:
    texts = [{"befund": f"Herz {number} normal."} if number < lost else {"findings": "Clear."} for number in range(20)]
    studies = [Study(str(number), "P", "train", sections=text) for number, text in enumerate(texts)]
    if not stops:
        assert len(reports(*studies)) == 20 - lost
        return
    with pytest.raises(InputError, match=f"{lost} of 20 reports have no findings or impression that is recognised"):
        reports(*studies)
