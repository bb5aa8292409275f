"""Sets of labels alone: whose label is known where, by which name, and what an encoder learns of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.train.material import assert_equal, small, weights, write_llava

from cxrgen.cli import main
from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.records import Study, View, write_studies
from cxrgen.train.augment import augmented
from cxrgen.train.config import make_config
from cxrgen.train.label_sets import LabelSet, label_matrix, matrix_of, read_label_sets
from cxrgen.train.pipeline import train
from cxrgen.train.preflight import check_run

SIZES = {"image_size": 32, "image_tokens": 2, "vocabulary": 300, "layers": 1, "hidden_size": 32, "heads": 2}


def write_labels(folder: Path, name: str = "Cardiomegaly", count: int = 60, blank: int = 0) -> Path:
    """Studies whose label is whether the image is bright; a third is for validation; the first `blank` have none."""
    studies = []
    for number in range(count):
        has = number % 2
        grey = np.random.default_rng(number).integers(0, 60, (32, 32), dtype=np.uint8) + np.uint8(150 * has)
        (folder / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey).save(folder / "images" / f"{number}.png")
        labels = {"Edema": 0} if number < blank else {name: has, "Edema": number % 3 % 2}
        split = "valid" if number % 3 == 2 else "train"
        view = View(f"images/{number}.png", "frontal", width=32, height=32)
        studies.append(Study(f"{number}", f"p{number}", split, views=(view,), labels=labels))
    write_studies(folder / "studies.parquet", studies)
    return folder


def of(labels: list[dict[str, int]], complete: bool) -> LabelSet:
    studies = tuple(Study(str(number), "") for number in range(len(labels)))
    return LabelSet(Path(), studies, tuple(labels), complete)


def test_what_a_set_does_not_have_or_leaves_open_is_unknown() -> None:
    reports = of([{"A": 1}, {}, {"A": -1, "B": 1}], complete=True)
    labels = of([{"B": 1}, {"B": 0}, {"B": -1}, {}], complete=False)
    names, matrix = label_matrix([reports, labels])
    assert names == ["A", "B"]
    assert matrix[:, 0].tolist() == [1, 0, -1, -1, -1, -1, -1]
    assert matrix[:, 1].tolist() == [0, 0, 1, 1, 0, -1, -1]
    assert matrix_of(["B", "C"], [labels]).tolist() == [[1, -1], [0, -1], [-1, -1], [-1, -1]]


def test_rare_labels_and_those_that_are_never_absent_are_left_out() -> None:
    many = of([{"rare": 1}] + [{"rare": 0, "always": 1} for _ in range(199)], complete=False)
    few = of([{"rare": 0, "here": number % 2} for number in range(4)], complete=False)
    assert label_matrix([many, few])[0] == ["here"]  # its share counts among the studies of its own set


def test_names_are_mapped_by_a_table(tmp_path: Path) -> None:
    one, two = write_labels(tmp_path / "one", "Herzgross"), write_labels(tmp_path / "two", "Heart")
    table = tmp_path / "map.csv"
    table.write_text("set,label,name\none,Herzgross,Cardiomegaly\n,Heart,Cardiomegaly\n,Edema,\n")
    sets = read_label_sets(f"{one}, {two}", str(table), "train")
    assert [len(each.studies) for each in sets] == [40, 40]
    assert all(set(labels) == {"Cardiomegaly"} for each in sets for labels in each.labels)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("set,label\n", "no column 'name'; a label map has the columns set, label, name"),
        ("set,label,name\nthree,Edema,X\n", "set 'three' is none of --warmup_data"),
        ("set,label,name\none,Oedema,X\n", "1 labels of set 'one' that none of its studies has"),
        ("set,label,name\n,Edema,X\n,Edema,Y\n", "map.csv:3: another name for a label that has one"),
        ("set,label,name\none,,X\n", "map.csv:2: the label is blank"),
    ],
)
def test_a_table_that_cannot_be_used(tmp_path: Path, rows: str, message: str) -> None:
    one = write_labels(tmp_path / "one")
    (tmp_path / "map.csv").write_text(rows)
    with pytest.raises(InputError, match=message):
        read_label_sets(str(one), str(tmp_path / "map.csv"), "train")


def test_a_set_that_never_says_absent_lists_what_is_present(tmp_path: Path) -> None:
    studies = [Study(str(n), f"p{n}", "train", labels={"Mass": 1} if n % 2 else {"Hernia": 1}) for n in range(4)]
    write_studies(tmp_path / "studies.parquet", studies)
    assert label_matrix(read_label_sets(str(tmp_path), "", "train"))[1].tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]


def test_a_run_on_labels_alone_ends_with_an_encoder_that_the_next_takes(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write_labels(tmp_path / "labels", blank=6)
    words = ["train", "--warmup_data", labels, "--warmup_labels", "dataset", "--tower_steps", 30, "--threads", 1]
    words += [word for name, value in SIZES.items() for word in (f"--{name}", value)]
    words += ["--tower_augment", "mirror", "--output_dir", tmp_path / "encoder"]
    assert main(list(map(str, words))) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(tmp_path / "encoder")
    row = next(line for line in said.err.splitlines() if line.startswith("Cardiomegaly")).split()
    assert row[1:3] == ["18", "9"]  # of 20 validation images two are blank
    assert float(row[3]) > 0.9
    kept = json.loads((tmp_path / "encoder" / "warmup.json").read_text())
    assert [(each["stage"], len(each["steps"])) for each in kept["stages"]] == [("vision encoder on labels", 30)]
    assert {each["label"] for each in kept["labels"]} == {"Cardiomegaly", "Edema"}
    page = (tmp_path / "encoder" / "training.html").read_text()
    assert "Label scores of the vision encoder" in page
    assert "Cardiomegaly" in page
    assert main(list(map(str, words))) == 1
    assert "holds a finished run" in capsys.readouterr().err
    encoder = tmp_path / "encoder" / "vision_tower"
    train(small(prepared, tmp_path / "model", max_steps=1, vision_tower=str(encoder)))
    assert_equal(tower(tmp_path / "model"), weights(encoder))


def tower(folder: Path) -> dict[str, torch.Tensor]:
    return {name.split("vision_tower.")[1]: w for name, w in weights(folder).items() if "vision_tower." in name}


def test_the_encoder_of_another_class_is_saved_and_loaded_too(prepared: Path, tmp_path: Path) -> None:
    """A CLIP encoder: warmed up within a LLaVA checkpoint, then loaded into the checkpoint and into a new model."""
    llava, labels = write_llava(tmp_path / "llava", seed=3), write_labels(tmp_path / "labels")
    start = {"model_name_or_path": str(llava), "version": "v1"}
    more = {"warmup_data": str(labels), "warmup_labels": "dataset", "tower_steps": 3, "tower_learning_rate": 1e-4}
    train(make_config({**start, **more, "output_dir": str(tmp_path / "encoder"), "threads": 1}))
    encoder = tmp_path / "encoder" / "vision_tower"
    settings = {"max_steps": 1, "save_strategy": "no", "vision_tower": str(encoder)}
    train(small(prepared, tmp_path / "same", **start, **settings))
    train(small(prepared, tmp_path / "new", **settings))
    for folder in ("same", "new"):
        assert_equal(tower(tmp_path / folder), tower(tmp_path / "same"))
    assert not torch.equal(*(next(iter(tower(each).values())) for each in (tmp_path / "same", llava)))


def test_label_sets_beside_reports_and_a_resumed_run(prepared: Path, tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "labels", "Pneumonia")
    settings = {"warmup_data": str(labels), "warmup_labels": "dataset", "tower_steps": 2, "max_steps": 4}
    train(small(prepared, tmp_path / "run", **settings))
    kept = json.loads((tmp_path / "run" / "warmup.json").read_text())
    found = {each["label"]: (each["images"], each["present"]) for each in kept["labels"]}
    assert found["Pneumonia"] == (20, 10)  # the set's own label is unknown in the report studies
    assert found["Pleural Effusion"] == (6, 2)  # and theirs in the set
    assert found["Cardiomegaly"] == (6, 3)
    write_labels(labels, "Pneumonia", count=57)
    with pytest.raises(InputError, match="warmup_data sha256"):
        train(small(prepared, tmp_path / "run", **settings, resume=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tower_steps": 0}, "--warmup_data is for the vision encoder's steps"),
        ({"warmup_labels": "rule"}, "--warmup_labels rule reads reports"),
        ({"warmup_data": "nowhere"}, "nowhere: no studies.parquet; give folders that `cxrgen prepare` made"),
        ({"warmup_label_map": "nowhere.csv"}, "nowhere.csv: no such file; correct --warmup_label_map"),
        ({"warmup_data": "", "warmup_label_map": "a.csv"}, "--warmup_label_map names the labels of --warmup_data"),
        ({"eval_strategy": "steps"}, "--eval_strategy steps writes reports and needs --data_path"),
    ],
)
def test_settings_that_contradict_each_other(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    labels = write_labels(tmp_path / "labels", count=3)
    settings = {"warmup_data": str(labels), "warmup_labels": "dataset", "tower_steps": 2, "output_dir": "out"}
    with pytest.raises(InputError, match=message):
        check_run(make_config({**settings, **changes}))


@pytest.mark.parametrize("how", ["shift", "strong", "mirror"])
def test_augmented_images_stay_near_and_can_be_repeated(how: str) -> None:
    ramp = torch.arange(64, dtype=torch.float32).repeat(16, 64, 1).mul(3).to(torch.uint8)
    first, again = (augmented(ramp, how, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.dtype == torch.uint8
    rising = (first.float()[:, :, 48:].mean((1, 2)) > first.float()[:, :, :16].mean((1, 2))).sum().item()
    assert (0 < rising < 16) if how == "mirror" else rising == 16


def test_images_are_not_mirrored_where_a_label_names_a_side(tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "labels", "Pleural Effusion | left")
    settings = {"warmup_data": str(labels), "warmup_labels": "dataset", "tower_steps": 2, "tower_augment": "mirror"}
    with pytest.raises(UsageError, match="--tower_augment mirror: 1 labels name a side"):
        train(make_config({**settings, **SIZES, "output_dir": str(tmp_path / "out")}))
