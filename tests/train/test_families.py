"""Training any class by its own chat template: whole runs, what they leave behind, and what is refused before them."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.forked import cxrgen
from tests.tiny_models import TINY_MODELS, gemma3, llava, qwen2_5_vl
from tests.train.material import assert_close, assert_equal, weights, write_conversations

from cxrgen.core.errors import UsageError
from cxrgen.model.checkpoint import open_by_chat_template, open_checkpoint
from cxrgen.model.families import family_of
from cxrgen.train import pipeline, stages, start_model
from cxrgen.train.config import TrainConfig, make_config
from cxrgen.train.data import read_sft_data
from cxrgen.train.pipeline import train


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gemma3(tmp_path_factory.mktemp("gemma") / "gemma")


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return qwen2_5_vl(tmp_path_factory.mktemp("qwen") / "qwen")


def run_of(model: Path, data: Path, out: Path, **changes: Any) -> TrainConfig:
    settings = {"model_name_or_path": str(model), "data_path": str(data), "output_dir": str(out), "threads": 1}
    steps = {"max_steps": 3, "learning_rate": 1e-3, "per_device_train_batch_size": 4, "save_steps": 1}
    return make_config({**settings, **steps, **changes})


def losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_a_run_without_further_flags(gemma: Path, prepared: Path, tmp_path: Path) -> None:
    losses = train(run_of(gemma, prepared, tmp_path / "run"))
    assert losses[-1] < losses[0]
    checkpoint = open_checkpoint(tmp_path / "run")
    assert type(checkpoint.model).__name__ == "Gemma3ForConditionalGeneration"
    assert checkpoint.format.template == "chat"
    assert checkpoint.processor.chat_template == open_checkpoint(tmp_path / "run").processor.chat_template
    assert (tmp_path / "run" / "chat_template.jinja").read_text() == (gemma / "chat_template.jinja").read_text()


def test_llava_takes_its_own_template_when_asked_to(prepared: Path, tmp_path: Path) -> None:
    model = llava(tmp_path / "llava")
    train(run_of(model, prepared, tmp_path / "own", version="chat", max_steps=2))
    assert open_checkpoint(tmp_path / "own").format.template == "chat"
    train(run_of(model, prepared, tmp_path / "med", max_steps=2))
    assert open_checkpoint(tmp_path / "med").format.template == "v0"


def test_reading_ahead_changes_nothing(gemma: Path, prepared: Path, tmp_path: Path) -> None:
    losses = train(run_of(gemma, prepared, tmp_path / "one", max_steps=2))
    assert train(run_of(gemma, prepared, tmp_path / "two", max_steps=2, dataloader_num_workers=2)) == losses


@pytest.mark.parametrize(
    "flags",
    [
        {"packing": True},
        {"cache_features": True},
        {"version": "v1"},
        {"mm_use_im_start_end": True},
        {"text_steps": 3},
        {"label_rule": "original"},
    ],
)
def test_what_only_llava_has_is_refused_before_the_run(
    flags: dict[str, Any], gemma: Path, prepared: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"--{next(iter(flags))} is for class llava; gemma3 goes by its own processor"):
        train(run_of(gemma, prepared, tmp_path / "run", **flags))
    assert not (tmp_path / "run").exists()


CLASSES = [name for name in TINY_MODELS if name != "smolvlm" or importlib.util.find_spec("num2words")]
CLASSES.remove("llava")  # which starts with LLaVA-Med's prompt


@pytest.fixture(params=[pytest.param(each, marks=[] if each == "qwen2_5_vl" else pytest.mark.slow) for each in CLASSES])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return TINY_MODELS[request.param](tmp_path / request.param)


def test_a_broken_run_goes_on_bit_by_bit(model: Path, prepared: Path, tmp_path: Path) -> None:
    settings = {"train_modules": "full", "save_total_limit": 9}
    train(run_of(model, prepared, tmp_path / "whole", **settings))
    shutil.copytree(tmp_path / "whole", tmp_path / "broken")
    for later in ("checkpoint-2", "checkpoint-3"):
        shutil.rmtree(tmp_path / "broken" / later)
    train(run_of(model, prepared, tmp_path / "broken", **settings, resume=True))
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")
    assert_equal(weights(tmp_path / "broken"), weights(tmp_path / "whole"))


@pytest.mark.slow
def test_adapters_of_any_kind_are_opened_as_they_were_trained(model: Path, prepared: Path, tmp_path: Path) -> None:
    """Rank-stabilised, by direction and length, layers computed again; validated on the way; merged or not."""
    settings: dict[str, Any] = {"train_modules": "lora", "lora_rank": 2, "use_rslora": True, "use_dora": True}
    settings |= {"gradient_checkpointing": True, "learning_rate": 1e-2, "lr_scheduler_type": "constant"}
    settings |= {"save_strategy": "no", "max_steps": 2}
    evaluated = {"eval_strategy": "steps", "eval_steps": 2, "eval_studies": 2, "eval_max_new_tokens": 4}
    train(run_of(model, prepared, tmp_path / "apart", **settings, **evaluated))
    train(run_of(model, prepared, tmp_path / "merged", **settings, merge_adapter=True))
    config = json.loads((tmp_path / "apart" / "adapter_config.json").read_text())
    assert (config["use_rslora"], config["use_dora"], config["r"]) == (True, True, 2)
    apart, merged = (open_checkpoint(tmp_path / name) for name in ("apart", "merged"))
    data = read_sft_data(make_config(data_path=str(prepared)).data)
    family = family_of(apart)
    batch = family.collator(prepared)([family.encode(each[0], prepared) for each in data.variants[:2]])
    inputs = {name: value for name, value in batch.items() if name not in ("ids", "labels")}
    with torch.no_grad():
        start = open_by_chat_template(model).model(**inputs).logits
        one, other = (each.model(**inputs).logits for each in (apart, merged))
    assert (one - other).abs().max() < 1e-4 < (one - start).abs().max()


def test_frozen_weights_in_bf16_change_no_number(
    model: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "_has_bf16", lambda: True)
    settings = {"train_modules": "projector", "max_steps": 2, "bf16": True}
    held = train(run_of(model, prepared, tmp_path / "held", **settings))
    for part in (pipeline, start_model):
        monkeypatch.setattr(part, "frozen_in_bf16", lambda config: False)
    assert train(run_of(model, prepared, tmp_path / "whole", **settings)) == held
    assert_equal(weights(tmp_path / "held"), weights(tmp_path / "whole"))
    assert {value.dtype for value in weights(tmp_path / "held").values()} == {torch.float32}


def command(model: Path, data: Path, out: Path, *more: object) -> tuple[object, ...]:
    return (
        *("train", "--model_name_or_path", model, "--data_path", data, "--output_dir", out, "--train_modules", "full"),
        *("--global_batch_size", 4, "--per_device_train_batch_size", 2, "--learning_rate", 1e-3, "--max_steps", 3),
        *("--save_steps", 1, "--save_total_limit", 9, "--max_grad_norm", 1e9, *more),
    )


def first_gradients(out: Path) -> dict[str, torch.Tensor]:
    moments = load_file(out / "checkpoint-1" / "optimizer.safetensors")
    return {name: value for name, value in moments.items() if name.endswith("/exp_avg")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sharding"),
    [("gemma3", ("--fsdp", "full_shard"))],  # qwen3_vl: below, without sharding
)
def test_two_processes_are_one(name: str, sharding: tuple[str, ...], prepared: Path, tmp_path: Path) -> None:
    model = TINY_MODELS[name](tmp_path / name)
    cxrgen(*command(model, prepared, tmp_path / "one"))
    cxrgen(*command(model, prepared, tmp_path / "two", *sharding), processes=2)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert_close(first_gradients(tmp_path / "two"), first_gradients(tmp_path / "one"), 2e-5)


@pytest.mark.slow
def test_text_only_batches_on_one_of_two_processes(qwen: Path, tmp_path: Path) -> None:
    data = write_conversations(tmp_path / "data", 6)
    more = ("--max_rejects", 0.5, "--image_folder", tmp_path / "data" / "images", "--per_device_train_batch_size", 1)
    cxrgen(*command(qwen, data, tmp_path / "one", *more))
    cxrgen(*command(qwen, data, tmp_path / "two", *more, "--fsdp", "full_shard"), processes=2)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
