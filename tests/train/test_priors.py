from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from cxrgen.core.records import FRONTAL, Study, View, write_studies
from cxrgen.generate.questions import read_questions
from cxrgen.model.conversation import Format
from cxrgen.train.config import DataConfig
from cxrgen.train.data import read_sft_data


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
