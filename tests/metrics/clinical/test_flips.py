from __future__ import annotations

import math

import numpy as np

from cxrgen.metrics.clinical import flips
from cxrgen.metrics.clinical.labels import LEFT, RIGHT, side_table
from cxrgen.text.chexpert import OBSERVATIONS


def sides(report: str) -> dict[str, int]:
    return {name: int(side) for name, side in zip(OBSERVATIONS, side_table([report])[0]) if side}


def whole(hypotheses: list[str], references: list[str]) -> dict[str, float]:
    measured = flips.measure(hypotheses, references)
    return {name: float(value) for name, value in measured.aggregate(measured.counts.sum(axis=0)).items()}


def test_a_side_turned_round() -> None:
    got = whole(
        ["Small right pleural effusion.", "Left basilar atelectasis. Right effusion."],
        ["Small left pleural effusion.", "Left-sided atelectasis. Right pleural effusion."],
    )
    assert got["side_flips"] == 1 / 3
    assert got["negation_flips"] == 0


def test_only_one_sided_statements_are_compared() -> None:
    assert sides("Bilateral effusions. Left atelectasis. Right pneumothorax and left opacity.") == {"Atelectasis": LEFT}
    assert math.isnan(whole(["Right effusion."], ["Bilateral effusions."])["side_flips"])
    assert math.isnan(whole(["No right effusion."], ["Left effusion."])["side_flips"])


def test_a_side_in_another_sentence_does_not_count() -> None:
    assert sides("Moderate effusion on the right. Left lung is clear.") == {"Pleural Effusion": RIGHT}


def test_a_negation_turned_round() -> None:
    got = whole(["Pleural effusion. No pneumothorax."], ["No pleural effusion. No pneumothorax."])
    assert got["negation_flips"] == 1 / 2


def test_doubt_and_silence_are_no_flips() -> None:
    assert math.isnan(whole(["Possible effusion."], ["No effusion."])["negation_flips"])
    assert math.isnan(whole(["Effusion."], ["The heart is normal."])["negation_flips"])


def test_leading_dimensions() -> None:
    measured = flips.measure(["Effusion."], ["No effusion."])
    assert measured.aggregate(np.ones((2, 3, 1)) @ measured.counts)["negation_flips"].tolist() == [[1.0] * 3] * 2
    assert measured.lower_is_better == {"side_flips", "negation_flips"}


def test_findings_without_a_side_and_devices_are_not_compared_by_side() -> None:
    """A device has one side and lies in the middle, or there are two of them: its side is no contradiction."""
    for said, meant in (
        ("Left chest tube in place.", "Right chest tube in place."),
        ("Left heart border shows cardiomegaly.", "Right heart border shows cardiomegaly."),
    ):
        assert math.isnan(whole([said], [meant])["side_flips"])
    assert sides("Right pacemaker. Left effusion.") == {"Pleural Effusion": LEFT}
