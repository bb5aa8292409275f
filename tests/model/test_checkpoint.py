"""A checkpoint folder whose files do not belong together is refused in one line, before it writes nonsense."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.generate.conftest import make_checkpoint, make_clip_checkpoint

from cxrgen.cli import main
from cxrgen.core.errors import InputError
from cxrgen.model.checkpoint import BASE_FILE, open_checkpoint, save_all_but_weights, write_checkpoint
from cxrgen.train.config import TrainableConfig
from cxrgen.train.trainable import set_trainable

WEIGHTS, ADAPTER = "model.safetensors", "adapter_model.safetensors"
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "model"
    write_checkpoint(folder, make_clip_checkpoint())
    return folder


@pytest.fixture(scope="module")
def adapter(whole: Path) -> Path:
    """An adapter over `whole`, with trained rows and a whole projector."""
    checkpoint = open_checkpoint(whole)
    set_trainable(checkpoint.model, TrainableConfig("lora", lora_rank=4, lora_alpha=8), (5, 6))
    folder = whole.parent / "adapter"
    checkpoint.model.save_pretrained(folder)
    save_all_but_weights(folder, checkpoint)
    return folder


def changed(folder: Path, out: Path, file: str, change: Callable[[Tensors], Tensors]) -> Path:
    """A copy of a folder with other tensors in one file."""
    shutil.copytree(folder, out)
    save_file(change(load_file(folder / file)), out / file, {"format": "pt"})
    return out


def refused(folder: Path) -> str:
    """The message of the error, which must be one line."""
    with pytest.raises(InputError) as caught:
        open_checkpoint(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def replaced(name_part: str, value: float) -> Callable[[Tensors], Tensors]:
    def change(tensors: Tensors) -> Tensors:
        name = next(name for name in tensors if name_part in name)
        tensors[name].view(-1)[-1] = value
        return tensors

    return change


def without(name_part: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: each for name, each in tensors.items() if name_part not in name}


def test_a_whole_checkpoint_and_an_adapter_open(whole: Path, adapter: Path) -> None:
    assert open_checkpoint(whole).format.image_tokens == 16
    assert open_checkpoint(adapter).model is not None
    assert json.loads((adapter / BASE_FILE).read_text())["weights"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("layers.1.mlp.up_proj"), "layers.1.mlp.up_proj.weight missing from the weights"),
        (without("vision_tower"), "more missing from the weights"),
        (lambda tensors: {f"x.{name}": each for name, each in tensors.items()}, "missing from the weights"),
        (lambda tensors: {**tensors, "x.weight": torch.ones(2)}, "x.weight in the weights but not in the model"),
        (
            lambda tensors: {name: each[:-1].clone() if "lm_head" in name else each for name, each in tensors.items()},
            "lm_head.weight of another shape",
        ),
        (
            lambda tensors: {name: each.int() if "lm_head" in name else each for name, each in tensors.items()},
            "lm_head.weight has type I32",
        ),
        (replaced("up_proj", float("nan")), "up_proj.weight holds NaN or infinity"),
        (replaced("vision_tower", float("inf")), "holds NaN or infinity"),
    ],
)
def test_every_tensor_is_accounted_for(
    whole: Path, tmp_path: Path, change: Callable[[Tensors], Tensors], message: str
) -> None:
    assert message in refused(changed(whole, tmp_path / "model", WEIGHTS, change))


def test_a_statistic_that_is_no_number_is_refused(tmp_path: Path) -> None:
    checkpoint = make_checkpoint()
    checkpoint.model.model.vision_tower.stem[2].running_var[0] = float("nan")
    write_checkpoint(tmp_path / "model", checkpoint)
    assert "running_var holds NaN or infinity" in refused(tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("layers.1."), "missing from the weights"),
        (without("multi_modal_projector"), "missing from the weights"),
        (without("token_adapter"), "missing from the weights"),
        (lambda tensors: {f"x.{name}": each for name, each in tensors.items()}, "missing from the weights"),
        (replaced("lora_B", float("nan")), "holds NaN or infinity"),
    ],
)
def test_every_tensor_of_an_adapter_is_accounted_for(
    adapter: Path, tmp_path: Path, change: Callable[[Tensors], Tensors], message: str
) -> None:
    assert message in refused(changed(adapter, tmp_path / "adapter", ADAPTER, change))


def over(adapter: Path, base: Path, out: Path) -> Path:
    shutil.copytree(adapter, out)
    config = json.loads((out / "adapter_config.json").read_text())
    (out / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(base)}))
    return out


def test_an_adapter_opens_over_its_own_base_only(whole: Path, adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "copy")
    open_checkpoint(over(adapter, tmp_path / "copy", tmp_path / "moved"))
    other = changed(whole, tmp_path / "other", WEIGHTS, replaced("up_proj", 0.5))
    assert "was trained over other weights" in refused(over(adapter, other, tmp_path / "wrong"))
    part = changed(whole, tmp_path / "part", WEIGHTS, without("layers.1.mlp"))
    old = over(adapter, part, tmp_path / "old")
    (old / BASE_FILE).unlink()  # as older versions wrote adapters
    assert "missing from the weights" in refused(old)


def damaged(data: bytes) -> dict[str, bytes]:
    return {
        "empty": b"",
        "cut in the header": data[:100],
        "cut in the tensors": data[: len(data) // 2],
        "one byte short": data[:-1],
        "longer": data + b"abc",
        "zeros": bytes(len(data)),
        "header of length 0": (0).to_bytes(8, "little") + data[8:],
        "header beyond the file": (2**60).to_bytes(8, "little") + data[8:],
        "garbled header": data[:8] + b"\xff" * 20 + data[28:],
        "no JSON": data[:8] + b"{" * 20 + data[28:],
        "unknown type": data.replace(b'"F32"', b'"Q32"', 1),
        "another shape": data.replace(b'"shape":[', b'"shape":[9', 1),
        "overlapping": data.replace(b'"data_offsets":[0,', b'"data_offsets":[4,', 1),
        "a web page": b"<html>404</html>",
        "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    }


@pytest.mark.parametrize("kind", damaged(b""))
def test_damaged_weights_are_one_line(whole: Path, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    (folder / WEIGHTS).write_bytes(damaged((folder / WEIGHTS).read_bytes())[kind])
    assert str(folder / WEIGHTS) in refused(folder)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"weight_map": {"a": "../model.safetensors"}}, "not a file of this folder"),
        ({"weight_map": {"a": "/etc/passwd"}}, "not a file of this folder"),
        ({"weight_map": {"a": "absent.safetensors"}}, "no such shard"),
        ({"weight_map": {"a": 5}}, "no weight_map"),
        ({}, "no weight_map"),
        ([], "no weight_map"),
    ],
)
def test_an_index_names_files_of_its_folder(whole: Path, tmp_path: Path, index: object, message: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    (folder / WEIGHTS).rename(folder / "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert message in refused(folder)


def set_value(folder: Path, file: str, key: str, value: object) -> None:
    content: dict[str, Any] = json.loads((folder / file).read_text())
    part = content
    *above, name = key.split(".")
    for each in above:
        part = part[each]
    part[name] = value
    (folder / file).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("config.json", "text_config.num_hidden_layers", 10**6),
        ("config.json", "text_config.num_hidden_layers", -1),
        ("config.json", "text_config.num_attention_heads", 0),
        ("config.json", "text_config.num_attention_heads", 3),
        ("config.json", "text_config.num_key_value_heads", 3),
        ("config.json", "text_config.hidden_size", "large"),
        ("config.json", "text_config.hidden_size", float("nan")),
        ("config.json", "text_config.hidden_size", 10**9),
        ("config.json", "text_config.vocab_size", 0),
        ("config.json", "text_config", []),
        ("config.json", "vision_config.image_size", 10**8),
        ("config.json", "vision_config.patch_size", 0),
        ("config.json", "vision_feature_select_strategy", "full"),
        ("config.json", "model_type", "unheard-of"),
        ("cxrgen.json", "image_tokens", 0),
        ("cxrgen.json", "image_tokens", 10**8),
        ("cxrgen.json", "image_tokens", 15),
        ("cxrgen.json", "max_length", 0),
        ("cxrgen.json", "aspect", "round"),
        ("cxrgen.json", "views", "both"),
        ("cxrgen.json", "prompt", "rhyme"),
        ("cxrgen.json", "image_token", ""),
    ],
)
def test_values_that_cannot_be_are_one_line_before_weights_are_read(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, key: str, value: object
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    set_value(folder, file, key, value)
    monkeypatch.setattr("cxrgen.model.checkpoint._open_model", lambda *_, **__: pytest.fail("weights are read"))
    assert str(folder) in refused(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("siglip-strategy-default", "drops a class token"),
        ("llava-next", "no chat template"),
    ],
)
def test_stock_folders_whose_counts_disagree_are_refused_before_training(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    folder = shared / "faults" / "39-stock-llava-whose-counts-disagree" / name
    data = tmp_path / "data.json"
    turns = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "It is clear."}]
    data.write_text(json.dumps([{"id": "1", "conversations": turns}]))
    words = ("--model_name_or_path", folder, "--data_path", data, "--output_dir", tmp_path / "out")
    assert main(["train", *map(str, words)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
