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
from cxrgen.core.records import read_studies
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


def test_what_cannot_be_exported(prepared: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
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
