from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrgen.core.records import FRONTAL, Study, View, write_studies
from cxrgen.generate.questions import read_questions
from cxrgen.model.conversation import Format
from cxrgen.text.context import Prior
from cxrgen.text.prompts import PromptRule
from cxrgen.train.config import DataConfig
from cxrgen.train.data import read_sft_data, training_conversation


def test_the_prior_is_shown_in_training_as_in_generation(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(tmp_path / "a.png")
    views = (View("a.png", FRONTAL),)
    first = Study("1", "p", "train", "1", views, {}, "Small effusion.")
    second = Study("2", "p", "train", "2", views, {}, "No effusion.", "1")
    write_studies(tmp_path / "studies.parquet", [first, second])
    for prompt in ("study", "study-prior", "original"):
        _, (trained,) = read_sft_data(DataConfig(str(tmp_path), prompt=prompt)).variants
        _, asked = read_questions(tmp_path, None, "train", Format(prompt=prompt)).conversations
        assert trained == asked
        assert ("Prior report: Small effusion." in asked.turns[0].text) == (prompt == "study-prior")


VIEWS = (View("a.png", FRONTAL),)
LATER = Study("2", "p", "train", "2", VIEWS, {}, "The effusion is unchanged. Heart is large.", "1")


@pytest.mark.parametrize(
    ("context", "shown"),
    [("none", False), ("indication,gap", False), ("prior-report", True), ("prior-images,gap", True)],
)
def test_reports_speak_of_the_study_before_where_the_prompt_shows_it(context: str, shown: bool) -> None:
    prior, rule = Prior("Small effusion.", VIEWS, 34), PromptRule(context=context)
    cut = "The effusion is present. Heart is large."
    assert training_conversation(LATER, rule, "keep", prior).turns[1].text == LATER.report
    assert training_conversation(LATER, rule, "match", prior).turns[1].text == (LATER.report if shown else cut)
    assert training_conversation(LATER, rule, "match", None).turns[1].text == cut
    alone = replace(LATER, report="No change.")
    assert training_conversation(alone, rule, "match", None).turns[1].text == "No change."
