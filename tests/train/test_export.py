"""Checkpoints of a run as ready folders: by command, the best one by itself, and as what generation is given."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.forked import cxrgen
from tests.train.material import assert_equal, small

from cxrgen.cli import main
from cxrgen.core.errors import InputError
from cxrgen.model.checkpoint import open_checkpoint
from cxrgen.train.checkpoints import checkpoints
from cxrgen.train.pipeline import train

MODES: dict[str, dict[str, Any]] = {
    "new": {},
    "warmed up": {"tower_steps": 1, "warmup_labels": "dataset", "cache_features": True},
    "projector": {"train_modules": "projector", "version": "v0", "mm_use_im_start_end": True},
    "full": {"train_modules": "full", "version": "v1"},
    "lora": {"train_modules": "lora", "version": "v1"},
}


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: value for file in folder.glob("*model.safetensors") for name, value in load_file(file).items()}


@pytest.mark.parametrize("mode", MODES)
def test_the_last_checkpoint_exported_is_the_run_s_model(
    llava: Path, prepared: Path, tmp_path: Path, mode: str
) -> None:
    settings = dict(MODES[mode])
    if "train_modules" in settings:
        settings["model_name_or_path"] = str(llava)
    run, out = tmp_path / "run", tmp_path / "out"
    train(small(prepared, run, **settings, max_steps=4))
    assert main(["export", str(run), "--out", str(out)]) == 0
    assert_equal(tensors(out), tensors(run))
    assert open_checkpoint(out).format == open_checkpoint(run).format
    assert main(["export", str(run), "--step", "2", "--out", str(tmp_path / "two")]) == 0
    assert any(not torch.equal(value, tensors(out)[name]) for name, value in tensors(tmp_path / "two").items())


def test_an_adapter_is_merged_on_demand(llava: Path, prepared: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = {**MODES["lora"], "model_name_or_path": str(llava), "max_steps": 2}
    train(small(prepared, run, **settings))
    assert main(["export", str(run), "--merge-adapter", "--out", str(tmp_path / "merged")]) == 0
    assert not (tmp_path / "merged" / "adapter_config.json").exists()
    ids = torch.tensor([[1, 5, 6, 7]])
    with torch.no_grad():
        merged, adapted = (open_checkpoint(folder).model(input_ids=ids).logits for folder in (tmp_path / "merged", run))
    torch.testing.assert_close(merged, adapted, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_exported(
    llava: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, run = tmp_path / "model", tmp_path / "run"
    shutil.copytree(llava, model)
    settings = {**MODES["projector"], "model_name_or_path": str(model), "max_steps": 2}
    train(small(prepared, run, **settings))
    out = ("--out", str(tmp_path / "out"))
    for words, message in (
        ((str(tmp_path), *out), "no recipe.yaml, so this is no run"),
        ((str(run), "--step", "first", *out), "unknown --step 'first'; choose from best, last"),
        ((str(run), "--step", "7", *out), "no checkpoint-7; choose from 2"),
        ((str(run), "--step", "best", *out), "was not validated, so none is best; --step 2 is the last"),
        ((str(run), "--out", str(model)), "is there already"),
    ):
        assert main(["export", *words]) in (1, 2)
        assert message in capsys.readouterr().err.splitlines()[-1]
    (model / "config.json").write_text((model / "config.json").read_text() + " ")
    assert main(["export", str(run), *out]) == 1
    assert "the model that the run started from has changed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_early_stopping_hands_over_the_best(prepared: Path, tmp_path: Path) -> None:
    """A rate that diverges: its first validation is the best."""
    settings = {"max_steps": 30, "learning_rate": 3.0, "lr_scheduler_type": "constant", "warmup_ratio": 0.0}
    settings |= {"save_steps": 1, "early_stopping_patience": 2, "eval_reports": False, "eval_steps": 1}
    run = tmp_path / "run"
    train(small(prepared, run, **settings, eval_strategy="steps", eval_studies=4))
    state = json.loads((run / f"checkpoint-{checkpoints(run)[-1][0]}" / "state.json").read_text())
    best = state["remembered"]["best_step"]
    assert best < state["step"] < 30
    assert_equal(tensors(run / "best"), tensors(run))
    assert main(["export", str(run), "--step", str(best), "--out", str(tmp_path / "out")]) == 0
    assert_equal(tensors(tmp_path / "out"), tensors(run))


def test_adapters_are_trained_on_or_merged(llava: Path, prepared: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {**MODES["lora"], "model_name_or_path": str(llava), "max_steps": 2, "lora_rank": 4}
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    train(small(prepared, first, **settings))
    settings["model_name_or_path"] = str(first)
    losses = train(small(prepared, second, **{**settings, "learning_rate": 0.0, "lora_rank": 16, "lora_dropout": 0.0}))
    assert_equal(tensors(second), tensors(first))  # its own rank, its own weights
    merged = {**settings, "train_modules": "projector", "learning_rate": 0.0}
    assert train(small(prepared, third, **merged)) == pytest.approx(losses, rel=1e-3)
    assert not (third / "adapter_config.json").exists()


@pytest.mark.slow
def test_generation_takes_a_checkpoint_of_a_run(prepared: Path, tmp_path: Path) -> None:
    run, csv = tmp_path / "run", tmp_path / "pred.csv"
    train(small(prepared, run, max_steps=4))
    words = ("--question-file", prepared, "--split", "valid", "--max-new-tokens", 8, "--answers-file-pred", csv)
    cxrgen("generate", "--model-name", run / "checkpoint-4", *words)
    written = csv.read_bytes()
    csv.unlink()
    cxrgen("generate", "--model-name", run, *words)
    assert csv.read_bytes() == written
    (run / "recipe.yaml").unlink()
    shutil.rmtree(run / "checkpoint-4" / "model")
    result = cxrgen("generate", "--model-name", run / "checkpoint-4", *words, code=1)
    assert "no recipe.yaml, so this is no run" in result.stderr.splitlines()[-1]


def test_a_checkpoint_without_its_start_says_so(prepared: Path, tmp_path: Path) -> None:
    from cxrgen.train.export_checkpoint import export_checkpoint

    train(small(prepared, tmp_path / "run", max_steps=2))
    shutil.rmtree(tmp_path / "run" / "start")
    with pytest.raises(InputError, match=r"has changed \(start sha256 was"):
        export_checkpoint(tmp_path / "run", "last", tmp_path / "out")
