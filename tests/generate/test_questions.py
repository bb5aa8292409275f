from __future__ import annotations

from pathlib import Path

import pytest

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.records import FRONTAL, LATERAL, Study, View, read_studies, write_studies
from cxrgen.generate.questions import read_questions, references
from cxrgen.generate.settings import with_options
from cxrgen.model.conversation import Format
from cxrgen.model.templates import INFERENCE_PROMPTS

from .conftest import write_image


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    """Two studies of a patient in the test split, one of another for training."""
    write_image(tmp_path / "a.png", 0)
    views = (View("a.png", FRONTAL),)
    first = Study("1", "p", "test", "1", views, {}, "Small effusion.")
    second = Study("2", "p", "test", "2", views, {"indication": "Cough."}, "No effusion.", "1")
    other = Study("0", "q", "train", "1", views, {}, "Clear.")
    write_studies(tmp_path / "studies.parquet", [first, second, other])
    return tmp_path


def test_the_prior_is_told_as_the_checkpoint_was_trained(patient: Path) -> None:
    texts = {}
    for prompt in ("study", "study-prior", "original"):
        _, asked = read_questions(patient, None, "test", Format(prompt=prompt)).conversations
        texts[prompt] = asked.turns[0].text
    assert texts["study"] == "Frontal: <image>\nIndication: Cough.\nWrite the report."
    assert texts["study-prior"] == (
        "Frontal: <image>\nIndication: Cough.\nPrior report: Small effusion.\nWrite the report."
    )
    assert texts["original"] == "Illustrate the image through a detailed medical report\n<image>"


def test_references_are_the_answers(patient: Path) -> None:
    asked = read_questions(patient, None, "test", Format()).conversations
    found = {each.study_id: each.report for each in references(asked)}
    assert found == {"1": "Small effusion.", "2": "No effusion."}


def test_what_the_command_line_says_stands_before_the_checkpoint() -> None:
    trained = Format(template="v0", views="frontal")
    assert with_options(trained, None, None, None) == trained
    assert with_options(trained, None, "original", "all") == Format(
        template="v0", views="all", compat=INFERENCE_PROMPTS["simple"]
    )
    assert with_options(trained, "simple", None, None) == Format(
        template="v0", views="frontal", compat=INFERENCE_PROMPTS["simple"]
    )
    vicuna = Format(template="v1", views="frontal", compat=INFERENCE_PROMPTS["vicuna_v1_1"])
    assert with_options(trained, "vicuna_v1_1", None, None) == vicuna
    with pytest.raises(UsageError, match="vicuna_v1_1"):
        with_options(trained, "vicuna", None, None)
    bair = with_options(trained, "bair_v1", "original", None)
    assert bair == Format(template="v1", views="frontal", compat=INFERENCE_PROMPTS["bair_v1"])


@pytest.mark.parametrize(
    ("mode", "compat", "said"),
    [
        ("multimodal", None, "LLaVA-Med's own"),
        ("simpel", None, "simple, vicuna_v1_1"),
        (None, "original", "leave it out"),
    ],
)
def test_prompts_that_are_not_here_are_refused_with_those_that_are(
    mode: str | None, compat: str | None, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        with_options(Format(template="plain"), mode, compat, None)


def test_a_study_of_which_nothing_is_shown_is_no_question(patient: Path) -> None:
    write_image(patient / "b.png", 1)
    lateral = Study("3", "q", "test", "1", (View("b.png", LATERAL),), {}, "Clear.")
    write_studies(patient / "studies.parquet", [*read_studies(patient), lateral])
    asked = read_questions(patient, None, "test", Format(views="frontal"))
    assert [each.id for each in asked.conversations] == ["1", "2"]
    assert [(each.id, each.hint) for each in asked.rejects] == [("3", "no frontal image to show")]
    assert len(read_questions(patient, None, "test", Format()).conversations) == 3
    with pytest.raises(InputError, match="no lateral image to show in any of 1"):
        read_questions(patient, None, "train", Format(views="lateral"))
