"""With --bf16 what is frozen lies in bfloat16: the same numbers as autocast's, half the memory, nothing lost."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.forked import cxrgen
from tests.train.material import assert_equal, small, weights

from cxrgen.core.tables import read_json
from cxrgen.model.tower import ConvTower
from cxrgen.train import pipeline, stages
from cxrgen.train.config import TrainableConfig
from cxrgen.train.init_model import init_model
from cxrgen.train.pipeline import train
from cxrgen.train.trainable import hold_in_bf16, set_trainable


@pytest.fixture
def in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast to bfloat16 also where the processor has to imitate it."""
    monkeypatch.setattr(stages, "_has_bf16", lambda: True)


def halved(llava: Path, folder: Path) -> Path:
    """The same base with weights in float16."""
    shutil.copytree(llava, folder)
    halves = {name: value.half() for name, value in weights(llava).items()}
    save_file(halves, folder / "model.safetensors", {"format": "pt"})
    return folder


def opened(llava: Path) -> Any:
    from transformers import LlavaForConditionalGeneration

    return LlavaForConditionalGeneration.from_pretrained(llava)


@pytest.mark.parametrize("mode", ["projector", "projector+llm", "lora"])
def test_what_is_held_how(llava: Path, mode: str) -> None:
    model = opened(llava)
    set_trainable(model, TrainableConfig(mode, lora_rank=4))
    hold_in_bf16(model)
    for name, parameter in model.named_parameters():
        looked_up = any(word in name for word in ("embed_tokens", "position_embedding", "class_embedding"))
        matrix = parameter.ndim > 1 and not parameter.requires_grad and not looked_up
        assert parameter.dtype == (torch.bfloat16 if matrix else torch.float32), name


def test_a_matrix_that_is_also_the_embedding_stays(llava: Path) -> None:
    model = opened(llava)
    model.lm_head.weight = model.get_input_embeddings().weight
    set_trainable(model, TrainableConfig("projector"))
    hold_in_bf16(model)
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert model.lm_head.weight.dtype == torch.float32


@pytest.mark.usefixtures("in_bf16")
@pytest.mark.parametrize(
    ("mode", "stored"), [("projector", "F32"), ("lora", "F32"), ("projector", "F16"), ("lora", "F16")]
)
def test_no_number_changes(
    llava: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, stored: str
) -> None:
    """Also where frozen matrices are never read in more than the 16 bits that the base has."""
    base = halved(llava, tmp_path / "base") if stored == "F16" else llava
    settings = {"model_name_or_path": str(base), "version": "v0", "train_modules": mode, "max_steps": 3, "bf16": True}
    settings |= {"mm_use_im_start_end": True, "eval_strategy": "steps", "eval_steps": 2, "eval_studies": 2}
    held = train(small(prepared, tmp_path / "held", **settings, eval_max_new_tokens=4))
    monkeypatch.setattr(pipeline, "_frozen_in_bf16", lambda config: False)
    assert train(small(prepared, tmp_path / "whole", **settings, eval_max_new_tokens=4)) == held
    name = "adapter_model.safetensors" if mode == "lora" else "model.safetensors"
    assert_equal(load_file(tmp_path / "held" / name), load_file(tmp_path / "whole" / name))
    if mode == "projector":
        assert read_json(tmp_path / "held" / "config.json") == read_json(tmp_path / "whole" / "config.json")


@pytest.mark.parametrize("mode", ["projector", "projector+llm", "lora"])
def test_what_is_read_in_16_bits(llava: Path, prepared: Path, tmp_path: Path, mode: str) -> None:
    """Frozen matrices alone, before any of the model lies on a device; adapters begin in float32."""
    base = halved(llava, tmp_path / "base")
    config = small(prepared, tmp_path / "run", model_name_or_path=str(base), train_modules=mode, lora_rank=2)
    model = init_model(config.model, config.tiny, [], narrow=config.trainable).model
    kept = {name for name, each in model.named_parameters() if each.dtype == torch.float16}
    inside = ("vision_tower", "language_model.layers") if mode != "projector+llm" else ("vision_tower",)
    assert kept
    assert all(any(part in name for part in inside) and name.endswith("weight") for name in kept)
    assert {each.dtype for each in model.parameters()} == {torch.float16, torch.float32}
    set_trainable(model, config.trainable)
    assert {each.dtype for each in model.parameters() if each.requires_grad} == {torch.float32}
    assert {name for name, each in model.named_parameters() if each.dtype == torch.float16 and "lora" not in name}
    opened = init_model(config.model, config.tiny, []).model
    set_trainable(opened, config.trainable)
    whole = dict(opened.named_parameters())
    for name, each in model.named_parameters():
        assert "lora_A" in name or torch.equal(each.float(), whole[name]), name


@pytest.mark.usefixtures("in_bf16")
def test_the_frozen_weights_are_written_as_they_were(llava: Path, prepared: Path, tmp_path: Path) -> None:
    settings = {"model_name_or_path": str(llava), "version": "v1", "train_modules": "projector", "max_steps": 2}
    train(small(prepared, tmp_path / "run", **settings, bf16=True, cache_features=True))
    before, after = load_file(llava / "model.safetensors"), weights(tmp_path / "run")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "projector" in name}
    assert {value.dtype for value in after.values()} == {torch.float32}


def test_a_run_in_float32_holds_nothing_in_bf16(
    llava: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(model: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(pipeline, "hold_in_bf16", never)
    settings = {"model_name_or_path": str(llava), "version": "v1", "train_modules": "projector", "max_steps": 1}
    train(small(prepared, tmp_path / "run", **settings))
    train(small(prepared, tmp_path / "new", max_steps=1, bf16=True))  # a new model cannot be opened anew


@pytest.mark.parametrize("able", [True, False])
def test_the_encoder_s_warm_up_computes_in_bf16_where_the_hardware_has_it(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], able: bool
) -> None:
    """Products alone: weights stay in float32. Elsewhere it says no more than the main stage does."""
    seen = set()
    forward = ConvTower.forward

    def watched(self: ConvTower, pixel_values: torch.Tensor, **rest: object) -> Any:
        if self.training and len(pixel_values) > 1:  # a step of the warm-up; later the encoder is frozen
            seen.add(torch.is_autocast_enabled(pixel_values.device.type))
        return forward(self, pixel_values, **rest)

    monkeypatch.setattr(ConvTower, "forward", watched)
    monkeypatch.setattr(stages, "_has_bf16", lambda: able)
    settings = {"tower_steps": 2, "warmup_labels": "dataset", "encoder_stem": "dense", "cache_features": True}
    train(small(prepared, tmp_path / "run", **settings, max_steps=1, bf16=True))
    assert seen == {able}
    assert {each.dtype for name, each in weights(tmp_path / "run").items() if "tracked" not in name} == {torch.float32}
    assert capsys.readouterr().err.count("--bf16") == (0 if able else 1)


@pytest.mark.slow
@pytest.mark.parametrize("sharding", [(), ("--fsdp", "full_shard")], ids=["ddp", "fsdp"])
def test_two_processes(llava: Path, prepared: Path, tmp_path: Path, sharding: tuple[str, ...]) -> None:
    if not stages._has_bf16():
        pytest.skip("the processor has no bfloat16")
    words = ("train", "--model_name_or_path", llava, "--data_path", prepared, "--version", "v1", "--max_steps", 3)
    words += ("--train_modules", "projector", "--bf16", "--output_dir", tmp_path / "run", *sharding)
    cxrgen(*words, processes=2)
    before, after = load_file(llava / "model.safetensors"), weights(tmp_path / "run")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "projector" in name}
