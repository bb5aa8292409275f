from __future__ import annotations

import numpy as np
import pytest

from cxrgen.metrics.clinical import temporal


def each(hypotheses: list[str], references: list[str]) -> dict[str, list[float]]:
    measured = temporal.measure(hypotheses, references)
    return {name: values.tolist() for name, values in measured.aggregate(measured.counts).items()}


def test_temporal_f1_by_hand() -> None:
    hypotheses = ["Effusion is larger.", "Effusion is larger and new.", "Clear.", "Stable.", "No edema."]
    references = ["Larger effusion, STABLE heart.", "Worse edema.", "No effusion.", "Clear.", "Unchanged."]
    assert each(hypotheses, references)["temporal_f1"] == [pytest.approx(2 / 3), 0, 1, 0, 0]


def test_a_word_counts_once_and_whole() -> None:
    assert temporal.change_words("Stable, stable; renewed. Instability of the newest line") == {"stable"}
    assert {"increased", "decreasing", "resolution", "unchanged", "smaller", "worse"} <= temporal.CHANGE_WORDS


def test_the_set_s_value_is_the_mean() -> None:
    measured = temporal.measure(["Larger.", "Clear.", "New."], ["Larger.", "Clear.", "Old."])
    assert float(measured.aggregate(measured.counts.sum(axis=0))["temporal_f1"]) == pytest.approx(2 / 3)
    assert measured.aggregate(np.ones((4, 3)) @ measured.counts)["prior_rate"].shape == (4,)


@pytest.mark.parametrize(
    "text",
    [
        "Compared to the prior study, the effusion is larger.",
        "In comparison with the study of ___, no change.",
        "Previously seen opacity has resolved.",
        "Interval removal of the tube.",
        "Cardiomegaly is unchanged.",
        "Persistent left effusion.",
        "There is a new right lower lobe opacity.",
        "The opacity is again noted.",
        "Effusion is no longer\nseen.",
        "Improving edema.",
    ],
)
def test_speaks_of_a_prior(text: str) -> None:
    assert temporal.speaks_of_prior(text)
    assert temporal.speaks_of_prior(text.upper())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The heart is mildly enlarged. Increased interstitial markings.",
        "No prior studies for comparison.",
        "Comparison: None.",
        "Prior studies are not available.",
        "Status post prior median sternotomy.",
        "Lungs are clear.",
    ],
)
def test_speaks_of_no_prior(text: str) -> None:
    assert not temporal.speaks_of_prior(text)
