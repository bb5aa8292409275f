"""What a report says of earlier examinations is found, and is gone from a rewritten one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.imaging.wheels import openi

from cxrgen.text.prior_mentions import speaks_of_prior, without_priors

REWRITTEN = {
    "Stable small left pleural effusion.": "Small left pleural effusion.",
    "Left pleural effusion is unchanged.": "Left pleural effusion is present.",
    "Moderate cardiomegaly, unchanged.": "Moderate cardiomegaly.",
    "1. Unchanged cardiomegaly.": "1. Cardiomegaly.",
    "The right hemidiaphragm is again elevated.": "The right hemidiaphragm is elevated.",
    "Again seen is a calcified granuloma in the right lung.": "There is a calcified granuloma in the right lung.",
    "Redemonstrated is a right PICC.": "There is a right PICC.",
    "Compared to the prior study of ___, there is a new left opacity.": "There is a left opacity.",
    "A new opacity is seen.": "An opacity is seen.",
    "No new focal consolidation.": "No focal consolidation.",
    "Diffuse opacities, stable from prior radiographs.": "Diffuse opacities.",
    "Persistent bibasilar atelectasis is again noted since the prior exam.": "Bibasilar atelectasis is noted.",
    "1. New right pneumonia. 2. Unchanged tube 4.5 cm above the carina. 3. No effusion.":
        "1. Right pneumonia. 2. Tube 4.5 cm above the carina. 3. No effusion.",
    "Dr. ___ was told. The previously seen nodule is again identified.": "Dr. ___ was told. The nodule is identified.",
}  # fmt: skip
DROPPED = (
    "Heart size is stable.",
    "There is no significant interval change.",
    "Interval removal of the right chest tube.",
    "There has been interval improvement in aeration.",
    "Small pneumothorax, slightly larger than on the previous exam.",
    "Pneumothorax has resolved.",
    "Stable chest.",
)
UNTOUCHED = (
    "The lungs are clear.  No effusion.",
    "There are increased interstitial markings.",
    "Comparison: None.",
    "No comparison is available.",
    "Degenerative changes of the spine. Tube 4.5 cm above the carina.",
    "The patient is from New York.",
)


@pytest.mark.parametrize(("text", "wanted"), REWRITTEN.items(), ids=range(len(REWRITTEN)))
def test_findings_stay_and_comparisons_go(text: str, wanted: str) -> None:
    assert speaks_of_prior(text)
    assert without_priors(text) == wanted


@pytest.mark.parametrize("text", DROPPED)
def test_sentences_that_only_compare_are_dropped(text: str) -> None:
    assert without_priors(text) == ""
    assert without_priors(f"Small effusion. {text} No fracture.") == "Small effusion. No fracture."


@pytest.mark.parametrize("text", UNTOUCHED)
def test_other_sentences_stay_as_they_are(text: str) -> None:
    assert not speaks_of_prior(text)
    assert without_priors(text) == " ".join(text.split())


@given(st.text(), st.sampled_from([*REWRITTEN, *DROPPED]))
def test_any_text_is_free_of_priors_afterwards(text: str, sentence: str) -> None:
    assert not speaks_of_prior(without_priors(text))
    assert not speaks_of_prior(without_priors(f"{text} {sentence}"))


def test_real_reports() -> None:
    studies = openi().studies
    texts = [" ".join(study.sections.get(name, "") for name in ("findings", "impression")) for study in studies]
    rewritten = [without_priors(text) for text in texts]
    words_before, words_after = (sum(len(text.split()) for text in each) for each in (texts, rewritten))
    assert 0.25 < sum(map(speaks_of_prior, texts)) / len(texts) < 0.3
    assert not any(map(speaks_of_prior, rewritten))
    assert words_after > 0.9 * words_before
    for before, after in zip(texts, rewritten):
        told = set(re.findall("[a-z]+", before.lower())) | {"there", "is", "are", "present", "seen", "an", "a"}
        assert set(re.findall("[a-z]+", after.lower())) <= told
