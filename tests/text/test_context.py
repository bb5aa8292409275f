from __future__ import annotations

from itertools import combinations

import pytest

from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.records import FRONTAL, LATERAL, Study, View
from cxrgen.text.context import PARTS, Prior, days_between, parts_of, priors_of
from cxrgen.text.prompts import PromptRule, study_conversation

VIEWS = (View("a.png", FRONTAL), View("b.png", LATERAL))
SECTIONS = {"indication": "Cough.", "history": "Smoker.", "technique": "Two views.", "comparison": "None."}
NOW = Study("2", "p", "test", "20200204", VIEWS, SECTIONS, "No effusion.", "1")
BEFORE = Study("1", "p", "test", "20200101 080000.000", (View("c.png", FRONTAL),), {}, "Small effusion. Clear lungs.")
LINES = {
    "prior-images": "Prior frontal image: <image>",
    "indication": "Indication: Cough.",
    "history": "History: Smoker.",
    "technique": "Technique: Two views.",
    "comparison": "Comparison: None.",
    "prior-report": "Prior report: Small effusion. Clear lungs.",
}


def asked(context: str, prior: Prior | None = None, **rule: int) -> str:
    if prior is None:
        prior = priors_of([BEFORE, NOW], PARTS)["2"]
    return study_conversation(NOW, PromptRule(context=context, **rule), prior).turns[0].text


@pytest.mark.parametrize("count", range(len(LINES) + 1))
def test_every_subset_states_just_its_parts_in_one_order(count: int) -> None:
    for chosen in combinations(LINES, count):
        lines = asked(",".join(reversed(chosen)) or "none").splitlines()
        assert lines == [
            "Frontal: <image>",
            "Lateral: <image>",
            *(line for name, line in LINES.items() if name in chosen),
            "Write the report.",
        ]


def test_the_gap_stands_where_the_prior_does() -> None:
    assert "Prior frontal image, 34 days earlier: <image>" in asked("prior-images,gap")
    assert "Prior report, 34 days earlier: Small effusion." in asked("prior-report,gap")
    assert "Prior study: 34 days earlier\n" in asked("gap")
    assert "days" not in asked("gap", Prior("Clear."))
    assert "Prior report, 1 day earlier: Clear." in asked("prior-report,gap", Prior("Clear.", days=1))


def test_images_stand_in_the_order_of_their_marks_and_the_study_before_gives_way() -> None:
    prior = priors_of([BEFORE, NOW], PARTS)["2"]
    for most, images in ((0, ("a.png", "b.png", "c.png")), (2, ("a.png", "b.png")), (1, ("a.png",))):
        conversation = study_conversation(NOW, PromptRule(context="prior-images", max_images=most), prior)
        assert conversation.images == images
        assert conversation.turns[0].text.count("<image>") == len(images)
    frontal = study_conversation(NOW, PromptRule(context="prior-images", views="lateral"), prior)
    assert frontal.images == ("b.png",)


def test_the_prior_report_is_cut_where_a_sentence_ends() -> None:
    assert priors_of([BEFORE, NOW], ["prior-report"], 3)["2"].report == "Small effusion."
    assert priors_of([BEFORE, NOW], ["prior-report"], 1)["2"].report is None


def test_a_prior_of_another_split_is_caught() -> None:
    planted = Study("1", "p", "train", "20200101", VIEWS, {}, "Secret of the test split.")
    with pytest.raises(InputError, match="split test has one of split train") as caught:
        priors_of([planted, NOW], ["prior-report"])
    assert "Secret" not in str(caught.value)
    assert priors_of([planted, NOW], ["indication"]) == {}


def test_days_between_order_keys() -> None:
    assert days_between("20200101 080000.000", "20200204") == 34
    assert days_between("", "20200204") is None
    assert days_between("20201301", "20200204") is None


def test_names_are_checked() -> None:
    assert parts_of("gap, indication") == ("indication", "gap")
    assert parts_of("none") == ()
    with pytest.raises(UsageError, match="did you mean 'prior-report'"):
        parts_of("prior-reports")
    with pytest.raises(UsageError, match="prompt original"):
        PromptRule("original", context="indication")
    assert PromptRule("study-prior").parts == ("indication", "prior-report")
    assert PromptRule("original").parts == ()
