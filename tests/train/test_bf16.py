"""With --bf16 what is frozen lies in bfloat16: the same numbers as autocast's, half the memory, nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.forked import cxrgen
from tests.train.material import assert_equal, small, weights

from cxrgen.train import stages
from cxrgen.train.config import TrainableConfig
from cxrgen.train.pipeline import train
from cxrgen.train.trainable import hold_in_bf16, set_trainable


@pytest.fixture
def in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast to bfloat16 also where the processor has to imitate it."""
    monkeypatch.setattr(stages, "_has_bf16", lambda: True)


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
@pytest.mark.parametrize("mode", ["projector", "lora"])
def test_no_number_changes(
    llava: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    settings = {"model_name_or_path": str(llava), "version": "v0", "train_modules": mode, "max_steps": 3, "bf16": True}
    settings |= {"mm_use_im_start_end": True, "eval_strategy": "steps", "eval_steps": 2, "eval_studies": 2}
    held = train(small(prepared, tmp_path / "held", **settings, eval_max_new_tokens=4))
    monkeypatch.setattr(stages, "hold_in_bf16", lambda model: None)
    assert train(small(prepared, tmp_path / "whole", **settings, eval_max_new_tokens=4)) == held
    name = "adapter_model.safetensors" if mode == "lora" else "model.safetensors"
    assert_equal(load_file(tmp_path / "held" / name), load_file(tmp_path / "whole" / name))


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

    monkeypatch.setattr(stages, "hold_in_bf16", never)
    settings = {"model_name_or_path": str(llava), "version": "v1", "train_modules": "projector", "max_steps": 1}
    train(small(prepared, tmp_path / "run", **settings))
    train(small(prepared, tmp_path / "new", max_steps=1, bf16=True))  # a new model cannot be opened anew


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
