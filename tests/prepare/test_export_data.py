"""Exports to other tools: every study with its images and chat, in the form that each tool's documentation gives."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from cxrgen.cli import main
from cxrgen.core.records import Study, View, read_studies, write_studies
from cxrgen.prepare.export_data import TOOLS
from cxrgen.prepare.export_forms import FORMS
from cxrgen.text.llava_json import read_conversations

Prepare = Callable[..., tuple[int, str]]


@pytest.fixture
def prepared(course: Path, tmp_path: Path, prepare: Prepare) -> Path:
    assert prepare(course, "--out", tmp_path / "prepared")[0] == 0
    return tmp_path / "prepared"


def exported(prepared: Path, tool: str, *words: str) -> Path:
    out = prepared.parent / tool
    assert main(["export-data", str(prepared), "--to", tool, "--out", str(out), *words]) == 0
    return out


def test_every_tool_has_a_form() -> None:
    assert (*FORMS, "shards") == TOOLS


def check_chat(row: dict[str, Any]) -> None:
    """Roles in turn, a placeholder for each image, images that open."""
    assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
    assert row["messages"][0]["content"].count("<image>") == len(row["images"]) == 2
    assert row["messages"][1]["content"].startswith("Synthetic heart")
    for path in row["images"]:
        assert Path(path).is_absolute()
        Image.open(path).verify()


def test_ms_swift(prepared: Path) -> None:
    out = exported(prepared, "ms-swift")
    rows = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    assert len(rows) == 3
    for row in rows:
        assert row.keys() == {"messages", "images"}
        check_chat(row)
    assert not (out / "test.jsonl").exists(), "test studies have no report here"
    assert (out / "train.jsonl").stat().st_mode & 0o077 == 0


def test_llama_factory(prepared: Path) -> None:
    out = exported(prepared, "llama-factory", "--copy-images")
    described = json.loads((out / "dataset_info.json").read_text())
    assert described.keys() == {"cxr_train", "cxr_valid"}
    for each in described.values():
        rows = json.loads((out / each["file_name"]).read_text())
        assert each["formatting"] == "sharegpt"
        assert set(each["columns"].values()) <= rows[0].keys()
        for row in rows:
            check_chat(row)
            assert all(out.resolve() in Path(path).parents for path in row["images"]), "copied into the export"


def test_llava(prepared: Path) -> None:
    out = exported(prepared, "llava")
    conversations, rejects = read_conversations(out / "train.json")
    assert (len(conversations), rejects) == (3, [])
    assert all(Path(name).is_file() for each in conversations for name in each.images)


@pytest.mark.parametrize("tool", ["trl", "hf-datasets"])
def test_parquet_holds_pictures_and_their_types(prepared: Path, tool: str) -> None:
    out = exported(prepared, tool)
    files = sorted(path.name for path in (out / "data").iterdir())
    splits = ["test", "train", "validation"] if tool == "hf-datasets" else ["train", "validation"]
    assert files == [f"{split}-00000-of-00001.parquet" for split in splits]
    table = pq.read_table(out / "data" / "train-00000-of-00001.parquet")
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features.keys() == set(table.column_names)
    assert features["images"] == {"feature": {"_type": "Image"}, "_type": "Sequence"}
    stored = {study.study_id: study for study in read_studies(prepared)}
    rows = table.to_pylist()
    assert len(rows) == 3
    for row in rows:
        sizes = [Image.open(io.BytesIO(image["bytes"])).size for image in row["images"]]
        assert sizes == [(96, 80), (96, 80)]
        content = row["messages"][0]["content"]
        if tool == "trl":
            assert [part["type"] for part in content].count("image") == 2
            assert content[-1]["text"].endswith("Write the report.")
        else:
            assert row["report"] == stored[row["study_id"]].report
            assert row["views"] == ["frontal", "lateral"]
            assert content.count("<image>") == 2


@pytest.fixture
def followed(tmp_path: Path, write_image: Callable[..., Path]) -> Path:
    """Two studies of one patient, a week apart; names and texts of many alphabets."""
    studies = []
    for number, (name, before) in enumerate((("Ж-0001", None), ("Ж-0002", "Ж-0001"))):
        path = f"images/x/{number} é「胸」.png"
        write_image(tmp_path / "followed" / path, number)
        study = Study(
            name, "Пациент", "train", f"2020010{1 + 7 * number}", (View(path, "frontal"),),
            {"indication": "Käse\u2028Husten?", "history": "Fièvre"}, "Herz normal groß. 心影不大。", before,
        )  # fmt: skip
        studies.append(study)
    write_studies(tmp_path / "followed" / "studies.parquet", studies)
    return tmp_path / "followed"


@pytest.mark.parametrize("tool", ["ms-swift", "llama-factory", "llava"])
def test_context_and_images_of_the_study_before_are_exported(followed: Path, tool: str) -> None:
    out = exported(followed, tool, "--context", "indication,prior-report,prior-images,gap")
    if tool == "ms-swift":
        rows = [json.loads(line) for line in (out / "train.jsonl").read_text().split("\n") if line]
    else:
        rows = json.loads((out / "train.json").read_text())
    assert len(rows) == 2, "what some call a line end is text"
    if tool == "llava":
        turns, images = [turn["value"] for turn in rows[1]["conversations"]], rows[1]["image"]
    else:
        turns, images = [turn["content"] for turn in rows[1]["messages"]], rows[1]["images"]
    assert turns == [
        "Frontal: <image>\nPrior frontal image, 7 days earlier: <image>\nIndication: Käse Husten?\n"
        "Prior report, 7 days earlier: Herz normal groß. 心影不大。\nWrite the report.",
        "Herz normal groß. 心影不大。",
    ]
    assert [Path(image).name for image in images] == ["1 é「胸」.png", "0 é「胸」.png"]
    assert all(Path(image).is_file() for image in images)


def test_parquet_names_the_images_of_the_study_before(followed: Path) -> None:
    out = exported(followed, "hf-datasets", "--context", "prior-images")
    first, second = pq.read_table(out / "data" / "train-00000-of-00001.parquet").to_pylist()
    assert (first["views"], second["views"]) == (["frontal"], ["frontal", "prior"])
    assert first["images"][0]["bytes"] == second["images"][1]["bytes"]
    assert (second["study_id"], second["subject_id"]) == ("Ж-0002", "Пациент")
    assert second["indication"] == "Käse\u2028Husten?"


@pytest.mark.parametrize(
    "words",
    [
        ["trl"], ["hf-datasets"], ["ms-swift", "--copy-images"], ["shards"], ["shards", "--shard-format", "parquet"],
    ],
)  # fmt: skip
def test_an_image_that_has_changed_is_not_exported(
    prepared: Path, tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """A run over the export would refuse it, and could not say that the set is at fault."""
    image = next((prepared / "images").rglob("*.png"))
    image.write_bytes(image.read_bytes()[:-20])
    assert main(["export-data", str(prepared), "--to", *words, "--out", str(tmp_path / "x")]) == 1
    assert f"{image.name}: has changed since it was prepared; prepare the set again" in capfd.readouterr().err
    assert not (tmp_path / "x").exists()


def test_what_cannot_be_exported(prepared: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--context", "priors", "--out", str(tmp_path / "x")]
    assert main(["export-data", str(prepared), "--to", "llava", *words]) == 2
    assert main(["export-data", str(prepared), "--to", "swift", "--out", str(tmp_path / "x")]) == 2
    assert "ms-swift" in capfd.readouterr().err, "the nearest name"
    out = exported(prepared, "llava")
    assert main(["export-data", str(prepared), "--to", "llava", "--out", str(out)]) == 1, "never over another export"
    assert main(["export-data", str(prepared), "--to", "llava", "--out", str(prepared)]) == 1
    image = next((prepared / "images").rglob("*.png"))
    image.unlink()
    capfd.readouterr()
    assert main(["export-data", str(prepared), "--to", "llava", "--out", str(tmp_path / "y")]) == 1
    assert "no such image" in capfd.readouterr().err
    assert not (tmp_path / "y").exists()
