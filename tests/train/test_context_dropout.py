from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrgen.cli import main
from cxrgen.core.errors import UsageError
from cxrgen.core.records import FRONTAL, Study, View, write_studies
from cxrgen.text.context import PARTS
from cxrgen.train.config import DataConfig, make_config
from cxrgen.train.context_dropout import ContextDropout
from cxrgen.train.data import SamplerConfig, encode_data, micro_batches, read_sft_data
from cxrgen.train.init_model import init_model

SMALL = {"vocabulary": 100, "image_size": 32, "image_tokens": 2, "layers": 1, "hidden_size": 32, "heads": 2}


def studies_of(folder: Path, patients: int = 12) -> Path:
    """Patients with two studies each: an indication, and a study 30 days before the second."""
    Image.fromarray(np.zeros((32, 32), dtype=np.uint8)).save(folder / "a.png")
    views = (View("a.png", FRONTAL),)
    studies = []
    for number in range(patients):
        name, split = f"p{number}", "train" if number else "test"
        first = Study(f"{number}-1", name, split, "20200101", views, {"indication": "Cough."}, "Small effusion.")
        later = Study(f"{number}-2", name, split, "20200131", views, {"indication": "Pain."}, "Clear.", first.study_id)
        studies += [first, later]
    write_studies(folder / "studies.parquet", studies)
    return folder


def dropout(folder: Path, share: float, seed: int = 0) -> ContextDropout:
    data = DataConfig(str(folder), context=",".join(PARTS), context_dropout=share)
    read = read_sft_data(data)
    config = make_config(SMALL)
    texts = [turn.text for each in read.variants for turn in each[0].turns]
    checkpoint = init_model(config.model, config.tiny, texts)
    return ContextDropout(checkpoint, read.studies, read.priors, data, seed, read.folder)


def test_each_part_is_drawn_on_its_own_by_seed_and_epoch_alone(tmp_path: Path) -> None:
    draw = dropout(studies_of(tmp_path, 60), 0.5)
    again = dropout(tmp_path, 0.5)
    assert draw.conversations(3) == again.conversations(3)
    assert draw.conversations(3) != draw.conversations(4)
    assert draw.conversations(3) != dropout(tmp_path, 0.5, seed=1).conversations(3)
    drawn = [each for epoch in range(20) for each in draw.conversations(epoch) if each.id.endswith("-2")]
    marks = ("Indication: Pain.", "Prior report", "Prior frontal image")
    found = Counter(tuple(mark in each.turns[0].text for mark in marks) for each in drawn)
    assert len(found) == 2 ** len(marks)  # every subset
    for count in found.values():
        assert count / len(drawn) == pytest.approx(1 / 8, abs=0.04)  # 4 standard deviations
    for each in drawn:
        assert each.turns[0].text.count("<image>") == len(each.images)


def test_the_samples_are_those_of_the_drawn_prompts_on_any_number_of_processes(tmp_path: Path) -> None:
    draw = dropout(studies_of(tmp_path), 0.5)
    whole = read_sft_data(draw.data)
    samples, _ = encode_data(draw.checkpoint, whole.variants, "cut", whole.folder)
    sampler = SamplerConfig(global_batch=4)
    alone = micro_batches(samples, sampler, redraw=draw)
    both = [micro_batches(samples, sampler, rank, 2, redraw=draw) for rank in (0, 1)]
    later = micro_batches(samples, sampler, first_step=8, redraw=draw)
    steps = [next(alone) for _ in range(10)]
    for step in steps:
        assert [*next(both[0]), *next(both[1])] == step
    assert [next(later), next(later)] == steps[8:]
    first_epoch = {sample.id: list(sample.input_ids) for sample in draw(0)}
    for sample in (sample for step in steps[:5] for sample in step):
        assert list(sample.input_ids) == first_epoch[sample.id]


def test_a_json_file_has_its_questions(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="prepared folder"):
        read_sft_data(DataConfig(str(tmp_path / "train.json"), context_dropout=0.5))
    with pytest.raises(UsageError, match="--priors needs a prepared folder"):
        read_sft_data(DataConfig(str(tmp_path / "train.json"), priors="match"))


@pytest.mark.slow
def test_one_checkpoint_serves_any_subset_and_refuses_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    studies_of(tmp_path)
    flags = [word for name, value in SMALL.items() for word in (f"--{name}", str(value))]
    context = ("--context", "indication,prior-report,prior-images,gap", "--context_dropout", "0.3")
    where = ("--data_path", str(tmp_path), "--output_dir", str(tmp_path / "model"), "--max_steps", "3")
    assert main(["train", *where, *flags, *context]) == 0
    recorded = json.loads((tmp_path / "model" / "cxrgen.json").read_text())
    assert (recorded["context"], recorded["context_dropout"]) == (context[1], 0.3)
    writer = ("generate", "--model-name", str(tmp_path / "model"), "--max-new-tokens", "4")
    questions = ("--question-file", str(tmp_path))
    for subset in ("none", "gap", "prior-images", "indication,prior-report,prior-images,gap"):
        out = tmp_path / f"{subset}.csv"
        assert main([*writer, *questions, "--answers-file-pred", str(out), "--context", subset]) == 0
        assert len(out.read_text().splitlines()) == 3
    image = str(tmp_path / "a.png")
    capsys.readouterr()
    one = (*writer, "--images", image, "--prior-images", image, "--prior", "Small effusion.", "--gap", "30")
    assert main([*one]) == 0, capsys.readouterr().err
    assert main([*one, "--history", "Smoker."]) == 2
    assert "states no history" in capsys.readouterr().err
    assert main([*writer, *questions, "--answers-file-pred", str(tmp_path / "x.csv"), "--context", "comparison"]) == 2
    assert "was not trained with it; it knows indication" in capsys.readouterr().err
