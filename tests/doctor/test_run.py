"""What the doctor says of packages and of every kind of checkpoint folder."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.model.made import TEXT, V1_CONFIG, VISION, filled, language_shapes, tower_shapes, write_folder

from cxrgen.cli import main
from cxrgen.llava_med.convert_layout import convert
from cxrgen.llava_med.tensor_names import PROJECTOR
from cxrgen.model.checkpoint import Checkpoint, write_checkpoint
from cxrgen.model.conversation import Format
from cxrgen.model.tiny import NewModel, new_model


def test_packages_are_listed_by_what_they_are_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert "core: prepare, evaluate" in told
    assert "[model]: merge, convert, train, generate, demo: usable" in told
    assert "GPU" in told


def test_what_is_missing_or_too_old_is_named_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ["numpy>=1.26", "no-such-thing>=2", 'torch<2.0,>=1.0; extra == "model"', 'ruff; extra == "dev"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: wanted)
    assert main(["doctor", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)[0]["findings"]
    assert [each["state"].split(" (")[0] for each in found] == ["lacks no-such-thing", "lacks torch <2.0"]
    assert found[1]["way_out"] == 'pip install "cxrgen[model]"'
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: ['no-such-thing; extra == "model"'])
    assert main(["doctor"]) == 0  # an extra may be absent


@pytest.mark.parametrize(
    ("requirement", "version", "met"),
    [
        ("numpy~=1.0", "1.26.4", True),
        ("numpy~=1.0", "2.1.0", False),  # ~=1.0 means >=1.0, ==1.*
        ("numpy~=2.1.0", "2.2.0", False),
        ("numpy>=1.26", "1.26rc1", False),
        ("numpy>=1.26,!=2.0", "2.0", False),
        ("numpy[x]<3", "2.0", True),
        ("numpy>=1.9", "1.10", True),
    ],
)
def test_versions_are_compared_by_the_packaging_standard(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], requirement: str, version: str, met: bool
) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: [requirement])
    known = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version if name == "numpy" else known(name))
    assert main(["doctor"]) == (0 if met else 1)
    printed = capsys.readouterr().out
    assert ("lacks numpy" in printed) is not met
    assert (f"(it is {version})" in printed) is not met


def told(path: Path, capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    assert main(["doctor", str(path)]) == code
    return capsys.readouterr().out


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """A folder of each kind, by its name."""
    language = {**filled(language_shapes(803))}
    projector = filled({f"{PROJECTOR}weight": (64, 1024), f"{PROJECTOR}bias": (64,)})
    tower = filled(tower_shapes())
    v15 = filled(language_shapes(800)) | {
        f"model.vision_tower.vision_tower.{name}": each for name, each in tower.items()
    }
    v15 |= filled({f"{PROJECTOR}0.weight": (64, 1024), f"{PROJECTOR}0.bias": (64,)})
    v15 |= filled({f"{PROJECTOR}2.weight": (64, 64), f"{PROJECTOR}2.bias": (64,)})
    small = {name: each / 1000 for name, each in language.items()}
    return {
        "v1": write_folder(tmp_path / "v1", language | projector, V1_CONFIG),
        "delta": write_folder(tmp_path / "delta", small | projector, {**V1_CONFIG, "model_type": "llama"}),
        "base": write_folder(tmp_path / "base", filled(language_shapes(800)), {**TEXT, "model_type": "llama"}),
        "v15": write_folder(tmp_path / "v15", v15, {**TEXT, "model_type": "llava_mistral", "num_key_value_heads": 4}),
        "tower": write_folder(tmp_path / "clip", tower, VISION, tokenizer=False),
    }


@pytest.mark.parametrize(
    ("name", "kind", "command"),
    [
        ("v1", "v1.0 or LLaVA checkpoint in the original's layout", "cxrgen convert"),
        ("delta", "differences (delta)", "cxrgen merge --base LLAMA --delta"),
        ("base", "plain language model", "cxrgen merge --base"),
        ("v15", "v1.5 checkpoint", "--to stock"),
        ("tower", "vision encoder (CLIP)", "--vision_tower"),
    ],
)
def test_each_kind_of_folder_is_recognised(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str], name: str, kind: str, command: str
) -> None:
    said = told(folders[name], capsys)
    assert kind in said.splitlines()[0]
    assert command in said


def test_a_stock_folder_and_what_it_may_lack(
    tmp_path: Path, folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    stock = tmp_path / "stock"
    convert(str(folders["v1"]), stock, "stock", str(folders["tower"]))
    said = told(stock, capsys)
    assert "stock LLaVA checkpoint" in said
    assert "template v0, 4 <im_patch> an image" in said
    assert "gives the ids that the weights know" in said
    assert f"cxrgen generate --model-name {stock}" in said
    shutil.copytree(stock, tmp_path / "bare")
    (tmp_path / "bare/cxrgen.json").unlink()
    assert "asked by its own chat template" in told(tmp_path / "bare", capsys)
    (tmp_path / "bare/chat_template.jinja").unlink()
    assert f"`cxrgen convert {tmp_path / 'bare'} OUT --to stock` writes one" in told(tmp_path / "bare", capsys, 1)
    shutil.copytree(stock, tmp_path / "cut")
    weights = tmp_path / "cut/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    assert "cut short or damaged" in told(tmp_path / "cut", capsys, 1)


def test_missing_tensors_and_files_are_named(
    tmp_path: Path, folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    fewer = {**filled(language_shapes(803)), **filled({f"{PROJECTOR}weight": (64, 1024), f"{PROJECTOR}bias": (64,)})}
    fewer.pop("model.layers.1.mlp.up_proj.weight")
    said = told(write_folder(tmp_path / "fewer", fewer, V1_CONFIG, tokenizer=False), capsys, 1)
    assert "model.layers.1.mlp.up_proj.weight and 0 more" in said
    assert "bring tokenizer.model" in said
    said = told(write_folder(tmp_path / "sizes", fewer, {**V1_CONFIG, "intermediate_size": 96}), capsys, 1)
    assert "tensors of another shape" in said


def test_a_projector_file_and_what_is_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(
        {f"{PROJECTOR}0.weight": torch.ones(64, 1024), f"{PROJECTOR}2.weight": torch.ones(64, 64)}, tmp_path / "a.bin"
    )
    assert "two layers (v1.5), [64, 1024]" in told(tmp_path / "a.bin", capsys)
    assert main(["doctor", str(tmp_path / "none")]) == 1
    assert "neither a checkpoint folder nor a projector file" in capsys.readouterr().err


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small model of random weights, with the package's own vision encoder."""
    sizes = NewModel(image_size=32, image_tokens=4, vocabulary=300, layers=1, hidden_size=32)
    write_checkpoint(tmp_path / "small", Checkpoint(*new_model(sizes, ["a <image>"], seed=0), Format(image_tokens=4)))
    return tmp_path / "small"


def test_a_small_model_of_our_own_is_whole(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = told(model, capsys)
    assert "stock LLaVA checkpoint" in said
    assert "cxrgen generate" in said
    assert "with transformers alone: `import cxrgen.model` first" in said


def test_what_the_doctor_says_opens_a_small_model(model: Path) -> None:
    program = (
        "import cxrgen.model\n"
        "from transformers import AutoModelForImageTextToText\n"
        f"print(type(AutoModelForImageTextToText.from_pretrained({str(model)!r})).__name__)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.strip() == "LlavaForConditionalGeneration", result.stderr


@pytest.mark.parametrize("content", ["[]", '{"x": 1}', '{"template": "v9"}', '{"image_tokens": "many"}', "{"])
def test_a_damaged_format_is_one_line_at_every_door(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    model, processor = new_model(NewModel(image_size=32, vocabulary=300), ["The heart is large."], seed=0)
    folder = tmp_path / "model"
    write_checkpoint(folder, Checkpoint(model, processor, Format(template="plain", image_tokens=8, aspect="black")))
    (folder / "cxrgen.json").write_text(content)
    assert "bring cxrgen.json again" in told(folder, capsys, 1)
    asked = tmp_path / "questions.json"
    asked.write_text("[]")
    words = ("--model-name", folder, "--question-file", asked, "--answers-file-pred", tmp_path / "pred.csv")
    assert main(["generate", *map(str, words)]) == 1
    words = ("--model_name_or_path", folder, "--data_path", asked, "--output_dir", tmp_path / "out")
    assert main(["train", *map(str, words)]) == 1
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("content", ["[]", "{}", '{"base_model_name_or_path": 5}', "{"])
def test_an_adapter_without_its_base(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    (tmp_path / "adapter_config.json").write_text(content)
    said = told(tmp_path, capsys, 1)
    assert "adapter (LoRA)" in said
    assert "base: not here" in said
