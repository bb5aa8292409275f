"""ReXGradient-160K, on a miniature in its published layout: split tables, paths that begin with `../`, 16 bits."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxrgen.core.records import Study, View, read_studies
from cxrgen.sources import SourceOptions, detect_source, read

Prepare = Callable[..., tuple[int, str]]


def write_png16(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[-1:1:80j, -1:1:96j]
    grey = 3000 * np.exp(-2 * (x**2 + y**2)) + np.random.default_rng(seed).uniform(0, 500, x.shape)
    Image.fromarray(grey.astype(np.uint16)).save(path)


def item(root: Path, number: int, views: list[str | None], **more: Any) -> dict[str, Any]:
    """A study as the tables have it, its images written beside them."""
    tree = f"deid_png/GRDN{number:02}/GRDNA{number:02}/studies/1.2.{number}/series/1/instances"
    names = [f"{tree}/1.2.{number}.{image}.png" for image in range(len(views))]
    for image, name in enumerate(names):
        write_png16(root / name, 10 * number + image)
    return {
        "PatientID": f"GRDN{number:02}",
        "AccessionNumber": f"GRDNA{number:02}",
        "StudyInstanceUid": f"1.2.{number}",
        "PatientSex": "F",
        "PatientAge": "036Y",
        "StudyDate": 20180100 + number,
        "Indication": "Synthetic cough.",
        "Comparison": "None",
        "Findings": f"Synthetic lungs {number} are clear.",
        "Impression": f"Synthetic chest {number}.",
        "ImagePath": [f"../{name}" for name in names],
        "ImageViewPosition": views,
        **more,
    }


@pytest.fixture
def rexgradient(tmp_path: Path) -> Path:
    """Eight studies in three splits, with the siblings of the tables that are published beside them."""
    root = tmp_path / "ReXGradient-160K"
    splits = {
        "train": [
            item(root, 1, ["PA", "LATERAL"]),
            item(root, 2, ["UNKNOWN"]),
            item(root, 3, ["SUPINE"], Findings=float("nan")),
            item(root, 4, ["ERECT", None]),
        ],
        "valid": [item(root, 5, ["N/A"]), item(root, 6, ["POSTERO_ANTERIOR", "LL"])],
        "test": [item(root, 7, ["AP"]), item(root, 8, ["AP", "LAO"])],
    }
    (root / "metadata").mkdir()
    for split, items in splits.items():
        studies = {f"{each['PatientID']}_{each['AccessionNumber']}": each for each in items}
        (root / "metadata" / f"{split}_metadata_view_position.json").write_text(json.dumps(studies))
        bare = {key: {**each, "ImageViewPosition": None} for key, each in studies.items()}
        (root / "metadata" / f"{split}_metadata.json").write_text(json.dumps(bare))
        (root / "metadata" / f"{split}_metadata.csv").write_text("id,Findings\nGRDN01_GRDNA01,Synthetic.\n")
    (root / "metadata" / "interstitial_pattern_bbox.json").write_text("{}")
    return root


def classes(studies: list[Study]) -> dict[str, list[str]]:
    return {study.study_id[-2:]: [view.view for view in study.views] for study in studies}


def test_the_set_as_published_needs_no_flag(rexgradient: Path, tmp_path: Path, prepare: Prepare) -> None:
    status, said = prepare(rexgradient, "--out", tmp_path / "p")
    assert status == 0, said
    assert "rexgradient (ReXGradient's train_metadata_view_position.json, valid_" in said
    studies = read_studies(tmp_path / "p")
    assert {study.study_id[-2:]: study.split for study in studies} == {
        "01": "train", "02": "train", "03": "train", "04": "train", "05": "valid", "06": "valid", "07": "test",
        "08": "test",
    }  # fmt: skip
    assert classes(studies) == {
        "01": ["frontal", "lateral"], "02": ["unknown"], "03": ["frontal"], "04": ["unknown", "unknown"],
        "05": ["unknown"], "06": ["frontal", "lateral"], "07": ["frontal"], "08": ["frontal", "other"],
    }  # fmt: skip
    first = studies[0]
    assert (first.study_id, first.subject_id, first.source) == ("GRDN01_GRDNA01", "GRDN01", "rexgradient")
    assert (first.order_key, first.sex, first.age) == ("20180101", "F", 36)
    assert first.report == "Synthetic lungs 1 are clear. Synthetic chest 1."
    assert "comparison" not in first.sections, "None says that there is nothing"
    assert studies[2].sections.keys() == {"indication", "impression"}


def test_sixteen_bits_become_eight_without_clipping(rexgradient: Path, tmp_path: Path, prepare: Prepare) -> None:
    prepare(rexgradient, "--out", tmp_path / "p")
    for study in read_studies(tmp_path / "p"):
        for view in study.views:
            grey = np.asarray(Image.open(tmp_path / "p" / view.path))
            assert grey.dtype == np.uint8
            assert grey.std() > 30, "the picture has contrast"
            assert (grey == 255).mean() < 0.05, "and is not burnt out"


def test_the_folder_of_the_download_may_lie_between(rexgradient: Path, tmp_path: Path) -> None:
    """`hf download --local-dir download`, images unpacked beside it."""
    (rexgradient / "download").mkdir()
    (rexgradient / "metadata").rename(rexgradient / "download" / "metadata")
    found = read("rexgradient", rexgradient, SourceOptions())
    assert all(Path(view.path).is_file() for study in found.studies for view in study.views)
    assert len(found.studies) == 8


def test_one_split_alone_needs_the_folder_of_the_images(rexgradient: Path) -> None:
    table = rexgradient / "metadata" / "valid_metadata_view_position.json"
    assert detect_source(table)[0] == "rexgradient"
    alone = read("rexgradient", table, SourceOptions())
    assert not any(Path(view.path).is_file() for study in alone.studies for view in study.views)
    assert all(rexgradient / "metadata" in Path(view.path).parents for study in alone.studies for view in study.views)
    for folder in (rexgradient, rexgradient / "deid_png"):
        found = read("rexgradient", table, SourceOptions(image_folder=folder))
        assert all(Path(view.path).is_file() for study in found.studies for view in study.views)
        assert {study.split for study in found.studies} == {"valid"}


def test_where_images_lie_is_asked_for(rexgradient: Path, tmp_path: Path, prepare: Prepare) -> None:
    """The folder of the tables alone, and images behind a link: both may not be followed without a word."""
    code, said = prepare(rexgradient / "metadata", "--out", tmp_path / "a")
    assert code == 1
    assert "not one study can be used (bad-path 8); " in said
    assert said.rstrip().endswith("say where images are with --image-folder")
    (rexgradient / "deid_png").rename(tmp_path / "deid_png")
    (rexgradient / "deid_png").symlink_to(tmp_path / "deid_png")
    code, said = prepare(rexgradient, "--out", tmp_path / "b")
    assert code == 1
    assert said.rstrip().endswith("say where images are with --image-folder")
    assert prepare(rexgradient, "--image-folder", tmp_path / "deid_png", "--out", tmp_path / "c")[0] == 0


def test_tables_without_views_serve_where_there_are_no_others(rexgradient: Path) -> None:
    for table in rexgradient.glob("metadata/*_view_position.json"):
        table.unlink()
    found = read("rexgradient", rexgradient, SourceOptions())
    assert {view.raw_view for study in found.studies for view in study.views} == {""}
    assert len(found.studies) == 8


def test_no_path_leaves_the_folder_that_was_named(rexgradient: Path, tmp_path: Path, prepare: Prepare) -> None:
    write_png16(tmp_path / "secret.png", 99)
    (rexgradient / "deid_png" / "link.png").symlink_to(tmp_path / "secret.png")
    table = rexgradient / "metadata" / "train_metadata_view_position.json"
    studies = json.loads(table.read_text())
    paths = ("../../secret.png", "../deid_png/../../secret.png", "../deid_png/link.png", str(tmp_path / "secret.png"))
    for each, path in zip(studies.values(), paths):
        each["ImagePath"][0] = path
    table.write_text(json.dumps(studies))
    assert prepare(rexgradient, "--out", tmp_path / "p", "--max-rejects", "100%")[0] == 0
    with open(tmp_path / "p" / "rejects.csv", encoding="utf-8", newline="") as file:
        rows = {row["row"]: row["code"] for row in csv.DictReader(file)}
    for number in (1, 2, 3):
        assert rows[f"train_metadata_view_position.json: item {number}"] == "bad-path"
    assert rows["secret.png"] == "image-missing", "an absolute path starts below the folder too"
    assert [study.study_id[-2:] for study in read_studies(tmp_path / "p")] == ["04", "05", "06", "07", "08"]


def test_fewer_views_than_images_leave_the_rest_unknown(rexgradient: Path) -> None:
    table = rexgradient / "metadata" / "test_metadata_view_position.json"
    studies = json.loads(table.read_text())
    studies["GRDN08_GRDNA08"]["ImageViewPosition"] = ["AP"]
    table.write_text(json.dumps(studies))
    found = {study.study_id: study for study in read("rexgradient", rexgradient, SourceOptions()).studies}
    views: tuple[View, ...] = found["GRDN08_GRDNA08"].views
    assert [view.raw_view for view in views] == ["AP", ""]
