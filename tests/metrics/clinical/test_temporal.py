from __future__ import annotations

import numpy as np
import pytest

from cxrgen.core.errors import UsageError
from cxrgen.metrics import measure, metric_of
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


def radeval(hypothesis: str, reference: str) -> float:
    measured = measure(metric_of("temporal_f1.radeval"), [hypothesis], [reference])
    return float(measured.aggregate(measured.counts[0])["temporal_f1.radeval"])


@pytest.mark.parametrize(
    ("hypothesis", "reference", "value"),
    [
        ("The right hemidiaphragm is elevated.", "The right hemidiaphragm is elevated. Clear lungs.", 1),
        ("Elevation of the left hemidiaphragm.", "Clear lungs.", 0),  # a word of change to RadEval
        ("The effusion has decreased and the edema changed.", "The effusion has decreased.", 1),  # "changed" is none
        ("Worsening opacity which increases.", "Worsening opacity.", 1),
        ("Tortuous, unfolded aorta.", "Tortuous aorta.", 0),
        ("STABLE, stable", "Stable", 1),
        ("un-changed and re_new", "new", 1),  # hyphens and underscores are blanks
        ("larger/smaller", "larger", 0),  # what is dropped joins its neighbours
        ("Larger's", "larger", 0),
        ("larger (new)", "new; worse: larger", 0.8),
        ("", "", 1),
        ("", "new", 0),
    ],
)
def test_temporal_f1_of_radeval(hypothesis: str, reference: str, value: float) -> None:
    """Values of RadEval 2.2.1, whose 0 is 1e-10 or a little more."""
    assert radeval(hypothesis, reference) == pytest.approx(value, abs=1e-9)


def test_radeval_s_small_number_and_words() -> None:
    assert (radeval("new", ""), len(temporal.RADEVAL_WORDS)) == (1e-10, 44)
    assert 0 < radeval("", "new worse") < radeval("", "new") < 3e-10
    with pytest.raises(UsageError, match="unknown preset of temporal 'radevil'"):
        measure("temporal.radevil", ["a"], ["a"])


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
