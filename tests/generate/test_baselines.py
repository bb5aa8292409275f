"""Baselines from the training split: the right text, and never one of the same patient."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from tests.generate.conftest import write_image

from cxrgen.cli import main
from cxrgen.core.records import FRONTAL, LATERAL, Study, View, write_studies
from cxrgen.generate.baselines import frequent, medoid, nearest

TEXTS = ("The lungs are clear. Effusion.", "The lungs are clear.", "The lungs are clear. Edema.", "Unlike.")


def study(name: str, subject: str, report: str | None = None, split: str = "train") -> Study:
    return Study(name, subject, split, report=report, views=(View(f"{name}.png", FRONTAL),))


def reports(path: Path) -> dict[str, str]:
    with open(path, encoding="utf-8", newline="") as file:
        return {row["study_id"]: row["report"] for row in csv.DictReader(file)}


def test_the_medoid_is_most_like_all_others() -> None:
    training = [study(str(number), f"p{number}", text) for number, text in enumerate(TEXTS)]
    assert medoid(training, [study("t", "x")], Path())[0].report == TEXTS[1]
    assert frequent(training, [study("t", "x")], Path())[0].report == min(TEXTS)


def test_the_medoid_of_many_is_that_of_all_pairs() -> None:
    """Against the mean cosine of every pair, by hand."""
    draw = np.random.default_rng(0)
    words = ["heart", "lungs", "clear", "effusion", "edema", "opacity", "left", "right", "small", "no"]
    texts = [" ".join(draw.choice(words, size=draw.integers(3, 9))) for _ in range(40)]

    def vector(text: str) -> dict[str, float]:
        own = text.split()
        grams = [" ".join(own[i : i + n]) for n in (1, 2, 3, 4) for i in range(len(own) - n + 1)]
        counts = {gram: grams.count(gram) for gram in grams}
        length = sum(count**2 for count in counts.values()) ** 0.5
        return {gram: count / length for gram, count in counts.items()}

    vectors = [vector(text) for text in texts]
    means = [sum(sum(a[g] * b.get(g, 0.0) for g in a) for b in vectors) for a in vectors]
    training = [study(str(number), f"p{number}", text) for number, text in enumerate(texts)]
    assert medoid(training, [study("t", "x")], Path())[0].report == texts[int(np.argmax(means))]


@pytest.mark.parametrize("baseline", [frequent, medoid])
def test_a_patient_s_own_report_is_never_the_source(baseline: object) -> None:
    training = [study("1", "mine", TEXTS[1]), study("2", "mine", TEXTS[1]), study("3", "other", TEXTS[0])]
    mine, stranger = baseline(training, [study("t", "mine"), study("u", "x")], Path())  # type: ignore[operator]
    assert mine.report == TEXTS[0]
    assert stranger.report == TEXTS[1]


def test_the_nearest_image_of_another_patient(tmp_path: Path) -> None:
    for name, seed in (("1", 5), ("2", 6), ("t", 5), ("u", 5)):
        write_image(tmp_path / f"{name}.png", seed)
    training = [study("1", "mine", "same image"), study("2", "other", "other image")]
    found = nearest(training, [study("t", "mine"), study("u", "x")], tmp_path)
    assert [each.report for each in found] == ["other image", "same image"]


@pytest.fixture
def prepared_pairs(tmp_path: Path) -> Path:
    """Six training studies and three test studies with the images of the first three, one of the same patient."""
    studies = []
    for number in range(9):
        split, seed = ("train", number) if number < 6 else ("test", number - 6)
        views = tuple(View(f"{number}-{kind}.png", kind) for kind in (FRONTAL, LATERAL)[: 1 + seed % 2])
        for place, view in enumerate(views):
            write_image(tmp_path / view.path, 2 * seed + place)
        subject = "p0" if number == 6 else f"p{number}"
        studies.append(Study(str(number), subject, split, report=f"Report {number}.", views=views))
    write_studies(tmp_path / "studies.parquet", studies)
    return tmp_path


def test_nearest_by_the_checkpoint_s_own_features(model: Path, prepared_pairs: Path) -> None:
    out = prepared_pairs / "nearest.csv"
    given = ("--model-name", model, "--question-file", prepared_pairs, "--answers-file-pred", out)
    assert main(["generate", "--baseline", "nearest", *map(str, given)]) == 0
    found = reports(out)
    assert (found["7"], found["8"]) == ("Report 1.", "Report 2.")
    assert found["6"] != "Report 0.", "the same image, but the same patient"


def test_a_baseline_without_a_model_refuses_one(
    model: Path, prepared_pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--model-name", model, "--question-file", prepared_pairs, "--answers-file-pred", "x.csv")
    assert main(["generate", "--baseline", "medoid", *map(str, given)]) == 2
    assert "needs no model" in capsys.readouterr().err
