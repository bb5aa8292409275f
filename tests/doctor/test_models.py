"""What the doctor says of models of any class, and that the page of models says the same."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from tests.tiny_models import TINY_MODELS, gemma3, qwen3_vl

from cxrgen.cli import main
from cxrgen.doctor.models import TRIED, models_table

DOCS = Path(__file__).parents[2] / "docs"


def told(path: Path, capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    assert main(["doctor", str(path)]) == code
    return capsys.readouterr().out


def test_class_parts_template_and_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = qwen3_vl(tmp_path / "qwen")
    said = told(folder, capsys)
    assert "image-text model of class Qwen3VLForConditionalGeneration" in said.splitlines()[0]
    assert "model.visual.merger, model.visual.deepstack_merger_list" in said
    assert "model.language_model" in said
    assert "the prompt is a prefix of the conversation" in said
    assert "--packing is refused" in said
    assert "`model.generate` in static batches" in said
    assert f"cxrgen train --model_name_or_path {folder} --data_path PREPARED" in said


def test_what_a_folder_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = gemma3(tmp_path / "gemma")
    shutil.copytree(folder, tmp_path / "silent")
    (tmp_path / "silent" / "chat_template.jinja").unlink()
    assert "has no chat template" in told(tmp_path / "silent", capsys, 1)
    (folder / "model.safetensors").unlink()
    assert "no *.safetensors" in told(folder, capsys, 1)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": "no-such-class"}))
    assert "cannot be opened" in told(other, capsys, 1)


def test_the_page_of_models_is_what_the_code_says(tmp_path: Path) -> None:
    assert models_table() in (DOCS / "models.md").read_text(encoding="utf-8")
    made = [name for name in TINY_MODELS if name != "smolvlm" or importlib.util.find_spec("num2words")]
    types = {
        json.loads((TINY_MODELS[name](tmp_path / name) / "config.json").read_text())["model_type"] for name in made
    }
    assert types | {"llava", "smolvlm"} == TRIED.keys()
