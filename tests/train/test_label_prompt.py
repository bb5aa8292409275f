"""`--label_prompt`: words of a label reader in the prompts of training and generation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.train.material import assert_equal, weights

import cxrgen
from cxrgen.cli import main
from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.records import FRONTAL, LATERAL, Study, View, write_studies
from cxrgen.core.tables import read_csv, read_json
from cxrgen.generate.questions import read_questions
from cxrgen.generate.settings import read_format
from cxrgen.model.checkpoint import READER
from cxrgen.model.label_reader import LabelReader, LinearHead, open_label_reader
from cxrgen.text.prompts import PromptRule
from cxrgen.train.config import make_config
from cxrgen.train.label_prompt import WORDS
from cxrgen.train.pipeline import train
from cxrgen.train.preflight import check_run

SMALL = {"vocabulary": 150, "image_size": 32, "image_tokens": 2, "layers": 1, "hidden_size": 32, "heads": 2}
BRIGHT, DARK = "The heart is enlarged.", "There is a left pleural effusion."


def write_set(folder: Path, lateral: bool = True) -> Path:
    """Bright images have a large heart and no effusion, dark ones the other way round; of every fifth neither is true:
    its report says the opposite of its image."""
    draw = np.random.default_rng(0)
    studies = []
    for number in range(70):
        split = "train" if number < 40 else "valid" if number < 64 else "test"
        bright = number % 2 == 0
        views = []
        for kind in (FRONTAL, LATERAL)[: 2 if lateral else 1]:
            grey = draw.integers(180, 200, (32, 32)) if bright else draw.integers(60, 80, (32, 32))
            Image.fromarray(grey.astype(np.uint8)).save(folder / f"{number}-{kind}.png")
            views.append(View(f"{number}-{kind}.png", kind))
        wrong = number % 5 == 0 and split == "train"
        report = BRIGHT if bright != wrong else DARK
        indication = {"indication": "Cough."}
        studies.append(Study(f"{number:02}", f"p{number}", split, "", tuple(views), indication, report))
    write_studies(folder / "studies.parquet", studies)
    return folder


def settings(data: Path, out: Path, **more: object) -> dict[str, object]:
    usual = {"label_prompt": True, "view_dropout": 0.3, "max_steps": 2, "threads": 1, "save_steps": 1}
    return {"data_path": str(data), "output_dir": str(out), **SMALL, **usual, **more}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a set and a model that was trained on its prompts with labels."""
    folder = tmp_path_factory.mktemp("labels")
    train(make_config(settings(write_set(folder), folder / "model", context_dropout=0.3)))
    return folder


def test_the_words_of_a_training_study_come_from_other_patients(run: Path) -> None:
    words = read_json(run / "model" / WORDS)
    assert set(words) == {"all", "frontal"}
    for views in words.values():
        for number in range(40):
            said = views[f"{number:02}"]  # what the image shows, not the report that a head could know by heart
            expected = "likely pleural effusion (left)" if number % 2 else "likely cardiomegaly"
            assert said.split(";")[0] == expected, number


def test_questions_state_what_the_reader_sees_of_the_images_that_are_shown(run: Path) -> None:
    format = read_format(run / "model")
    assert format.context == "indication,labels"
    reader = open_label_reader(run / "model" / READER)
    asked = read_questions(run, None, "test", format, reader=reader).conversations
    for each in asked:
        lines = each.turns[0].text.splitlines()
        assert lines[:3] == ["Frontal: <image>", "Lateral: <image>", "Indication: Cough."]
        assert lines[3].startswith("Image labels: likely ")
        assert ("cardiomegaly" in lines[3].split(";")[0]) == (int(each.id) % 2 == 0)
    study = Study("x", "x", views=(View("2-frontal.png", FRONTAL), View("1-lateral.png", LATERAL)))
    rules = [PromptRule(views=views, context="labels") for views in ("frontal", "lateral")]
    seen = [reader.with_labels([study], rule, run)[0].sections for rule in rules]
    assert ["cardiomegaly" in next(iter(each.values())) for each in seen] == [True, False]
    (blank,) = reader.with_labels([Study("y", "y", views=(View("missing.png", FRONTAL),))], rules[0], run)
    assert not blank.sections  # who writes of it says that its image is missing
    narrow = LinearHead(*(each[: len(each) // 2] for each in (reader.head.mean, reader.head.deviation)), torch.ones(1))
    with pytest.raises(InputError, match="head does not fit its encoder"):
        replace(reader, head=narrow).with_labels([study], rules[0], run)


def test_the_prompt_does_not_depend_on_what_else_is_asked(run: Path) -> None:
    reader = open_label_reader(run / "model" / READER)
    studies = [Study(f"{n}", f"{n}", views=(View(f"{n}-frontal.png", FRONTAL),)) for n in range(60)]
    rule = PromptRule(context="labels")
    together = reader.with_labels(studies * 3, rule, run)
    assert together[:60] == [reader.with_labels([study], rule, run)[0] for study in studies]


def test_one_study_is_written_with_and_without_labels(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = run / "2-frontal.png"
    writer = cxrgen.load(run / "model", max_new_tokens=3)
    asked: list[Study] = []

    def noted(reader: LabelReader, *given: Any) -> list[Study]:
        asked.extend(read(reader, *given))
        return asked

    read = LabelReader.with_labels
    monkeypatch.setattr(LabelReader, "with_labels", noted)
    writer.report(image)
    monkeypatch.undo()
    assert ["likely cardiomegaly" in str(study.sections) for study in asked] == [True]
    assert cxrgen.load(run / "model", context="indication").reader is None
    files = ("--question-file", str(run), "--answers-file-pred")
    command = ("generate", "--model-name", str(run / "model"), "--max-new-tokens", "3", *files)
    assert main([*command, str(run / "with.csv")]) == 0
    assert main([*command, str(run / "without.csv"), "--context", "none"]) == 0
    assert len(read_csv(run / "with.csv").rows) == len(read_csv(run / "without.csv").rows) == 6


def test_an_interrupted_run_shows_the_same_prompts(run: Path, tmp_path: Path) -> None:
    again = settings(run, tmp_path / "model", context_dropout=0.3)
    train(make_config({**again, "max_steps": 2}))
    assert_equal(weights(tmp_path / "model"), weights(run / "model"))
    words = (tmp_path / "model" / WORDS).read_bytes()
    (tmp_path / "model" / WORDS).write_bytes(words.replace(b"likely cardiomegaly", b"likely edema"))
    for part in ("config.json", "model.safetensors"):
        (tmp_path / "model" / part).unlink()
    train(make_config({**again, "resume": str(tmp_path / "model" / "checkpoint-1"), "overwrite_output_dir": True}))
    assert b"likely edema" in (tmp_path / "model" / WORDS).read_bytes()  # they were not read from the images again
    assert (tmp_path / "model" / READER / "head.safetensors").is_file()


def test_export_and_a_second_stage_keep_the_reader(run: Path, tmp_path: Path) -> None:
    assert main(["export", str(run / "model"), "--step", "1", "--out", str(tmp_path / "exported")]) == 0
    assert_equal(weights(tmp_path / "exported" / READER), weights(run / "model" / READER))
    further = settings(run, tmp_path / "further", model_name_or_path=str(tmp_path / "exported"), max_steps=1)
    train(make_config({name: value for name, value in further.items() if name not in SMALL}))
    kept = [open_label_reader(folder / READER) for folder in (tmp_path / "further", run / "model")]
    assert kept[0].names == kept[1].names
    assert torch.equal(kept[0].head.weights, kept[1].head.weights)


def test_what_cannot_be_is_refused_in_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="stated by --label_prompt true"):
        make_config(context="indication,labels")
    (tmp_path / "train.json").write_text("[]")
    with pytest.raises(UsageError, match="--label_prompt needs a prepared folder"):
        train(make_config(settings(tmp_path / "train.json", tmp_path / "out")))
    plain = settings(run, tmp_path / "plain", label_prompt=False, view_dropout=0.0)
    train(make_config(plain))
    files = ("--question-file", str(run), "--answers-file-pred", str(tmp_path / "x.csv"))
    assert main(["generate", "--model-name", str(tmp_path / "plain"), *files, "--context", "labels"]) == 2
    assert "--context labels: the checkpoint was not trained with it" in capsys.readouterr().err
    recorded = read_json(tmp_path / "plain" / "cxrgen.json")
    (tmp_path / "plain" / "cxrgen.json").write_text(json.dumps({**recorded, "context": "labels"}))
    assert main(["generate", "--model-name", str(tmp_path / "plain"), *files]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "label reader" in line]
    assert "bring it, or leave labels out of --context" in line
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text(json.dumps({"model_type": "qwen2_vl"}))
    with pytest.raises(UsageError, match="--label_prompt true is for class llava"):
        check_run(
            make_config(settings(run, tmp_path / "y", model_name_or_path=str(tmp_path / "other"), view_dropout=0.0))
        )
    damaged = tmp_path / READER
    damaged.mkdir()
    (damaged / "label_reader.json").write_text("{}")
    with pytest.raises(InputError, match="the label reader cannot be opened"):
        open_label_reader(damaged)


def test_the_encoder_of_a_folder_reads_for_any_model(run: Path, tmp_path: Path) -> None:
    encoder = run / "model" / READER
    train(make_config(settings(run, tmp_path / "model", label_prompt=str(encoder), max_steps=1, seed=5)))
    kept, given = weights(tmp_path / "model" / READER), weights(encoder)
    assert {name for name in given if not torch.equal(kept[name], given[name])} <= {"mean", "deviation", "weights"}
    assert len(read_json(tmp_path / "model" / WORDS)["all"]) == 40
    with pytest.raises(InputError, match="no such folder"):
        train(make_config(settings(run, tmp_path / "none", label_prompt=str(tmp_path / "missing"))))
