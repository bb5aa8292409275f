"""`prepare --views-by`: the picture is asked where no view is known, and only there; what it said can be audited."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrgen.core.records import read_studies
from cxrgen.imaging.view_classifier import WEIGHTS
from cxrgen.phantom.patients import draw_patient

Prepare = Callable[..., tuple[int, str]]
Write = Callable[..., Path]


@pytest.fixture
def source(tmp_path: Path, write_table: Write) -> Path:
    """Six studies of a frontal and a lateral without a view; the first lateral is called PA, the last is noise."""
    folder = tmp_path / "source"
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(6):
        drawn = draw_patient(77, number, 96)[0]
        noise = np.random.default_rng(number).integers(0, 256, (96, 96)).astype(np.uint8)
        pictures = (drawn.frontal, noise if number == 5 else drawn.lateral)
        for name, pixels in zip("ab", pictures):
            Image.fromarray(pixels).save(folder / "images" / f"{number}{name}.png")
            view = "PA" if (number, name) == (0, "b") else ("UNKNOWN" if number % 2 else "")
            rows.append((f"s{number}", f"p{number}", f"{number}{name}.png", view, "Synthetic.", "None."))
    return write_table(
        folder / "reports.csv", ("study_id", "subject_id", "image", "view", "findings", "impression"), rows
    )


def test_pictures_give_the_views_that_no_source_names(source: Path, tmp_path: Path, prepare: Prepare) -> None:
    code, said = prepare(source, "--out", tmp_path / "out", "--views-by", "packaged")
    assert code == 0, said
    studies = {study.study_id: study for study in read_studies(tmp_path / "out")}
    first, second, last = (studies[name] for name in ("s0", "s1", "s5"))
    assert sorted((view.view, view.raw_view, view.by_picture > 0.5) for view in first.views) == [
        ("frontal", "", True), ("frontal", "PA", False),
    ]  # fmt: skip
    assert [(view.view, view.raw_view) for view in second.views] == [("frontal", "UNKNOWN"), ("lateral", "UNKNOWN")]
    assert all(view.by_picture >= 0.8 for view in second.views)
    assert {view.view for view in last.views} & {"other", "unknown"}
    assert "views by picture: " in said
    assert " of 11 undecided, which stay unknown" in said


def test_recipe_journal_and_card_say_what_pictures_gave(source: Path, tmp_path: Path, prepare: Prepare) -> None:
    out = tmp_path / "out"
    prepare(source, "--out", out, "--views-by", "packaged")
    assert json.loads((out / "recipe.json").read_text())["options"]["views_by"].startswith("picture/")
    lines = [json.loads(line) for line in (out / "images.jsonl").read_text().splitlines()[1:]]
    asked = [line for line in lines if line["view"]]
    assert len(asked) == 11
    assert all(0.3 < line["confidence"] <= 1 for line in asked)
    by_picture = json.loads((out / "card.json").read_text())["images"]["by_picture"]
    assert sum(by_picture.values()) == sum(line["view"] != "unknown" for line in asked)


def test_without_the_flag_nothing_is_asked(source: Path, tmp_path: Path, prepare: Prepare) -> None:
    _, said = prepare(source, "--out", tmp_path / "out")
    views = [view for study in read_studies(tmp_path / "out") for view in study.views]
    assert sorted(view.view for view in views) == ["frontal"] + ["unknown"] * 11
    assert not any(view.by_picture for view in views)
    assert "by picture" not in said


def test_two_workers_and_a_second_run_give_the_same_bytes(source: Path, tmp_path: Path, prepare: Prepare) -> None:
    names = ("studies.parquet", "images.jsonl", "recipe.json", "train.json")
    prepare(source, "--out", tmp_path / "one", "--views-by", "packaged")
    before = [(tmp_path / "one" / name).read_bytes() for name in names]
    prepare(source, "--out", tmp_path / "two", "--views-by", WEIGHTS, workers=2)
    prepare(source, "--out", tmp_path / "one", "--views-by", "packaged")
    assert [(tmp_path / "two" / name).read_bytes() for name in names] == before
    assert [(tmp_path / "one" / name).read_bytes() for name in names] == before


def test_a_set_made_without_pictures_is_not_continued_with_them(source: Path, tmp_path: Path, prepare: Prepare) -> None:
    prepare(source, "--out", tmp_path / "out")
    code, said = prepare(source, "--out", tmp_path / "out", "--views-by", "packaged")
    assert code == 1
    assert "give another --out, or --force" in said


def test_rows_of_images_are_those_whose_picture_is_a_frontal(source: Path, tmp_path: Path, prepare: Prepare) -> None:
    code, said = prepare(source, "--out", tmp_path / "out", "--views-by", "packaged", "--by", "image")
    assert code == 0, said
    rows = read_studies(tmp_path / "out")
    assert {"0a", "0b", "1a", "2a"} <= {study.study_id for study in rows}
    assert all([view.view for view in study.views] == ["frontal"] for study in rows)


def test_a_study_of_laterals_by_their_picture_is_left_out(tmp_path: Path, write_table: Write, prepare: Prepare) -> None:
    rows = []
    for number in range(4):
        drawn = draw_patient(77, number, 96)[0]
        Image.fromarray(drawn.lateral if number == 0 else drawn.frontal).save(tmp_path / f"{number}.png")
        rows.append((f"s{number}", f"p{number}", f"{number}.png", "Synthetic.", "None."))
    table = write_table(tmp_path / "t.csv", ("study_id", "subject_id", "image", "findings", "impression"), rows)
    code, said = prepare(table, "--out", tmp_path / "out", "--views-by", "packaged", "--max-rejects", "50%")
    assert code == 0, said
    assert "no-frontal 1" in said
    assert [study.study_id for study in read_studies(tmp_path / "out")] == ["s1", "s2", "s3"]


def test_a_file_that_is_none_is_refused_before_anything_is_read(source: Path, tmp_path: Path, prepare: Prepare) -> None:
    code, said = prepare(source, "--out", tmp_path / "out", "--views-by", tmp_path / "none.safetensors")
    assert code == 1
    assert "no such file; `cxrgen train-views` makes one" in said
    assert not (tmp_path / "out").exists()
