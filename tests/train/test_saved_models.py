"""What a run leaves behind opens again: every mode, embedding rows that the base lacks, texts alone, 16-bit bases."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.train.material import assert_close, assert_equal, small, torchrun, weights, write_conversations, write_llava
from tests.train.train_modes import MODES, SHARDING

from cxrgen.cli import main
from cxrgen.core.errors import InputError
from cxrgen.generate.vllm_adapter import part
from cxrgen.model.checkpoint import open_checkpoint
from cxrgen.train.pipeline import train


@pytest.fixture(scope="module")
def without_tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base whose embeddings end before <im_start> and <im_end>."""
    return write_llava(tmp_path_factory.mktemp("base") / "base", tokens=False)


def logits(folder: Path) -> torch.Tensor:
    checkpoint = open_checkpoint(folder)
    marks = checkpoint.tokenizer.convert_tokens_to_ids(["<im_start>", "<im_end>"])
    with torch.no_grad():
        return checkpoint.model(input_ids=torch.tensor([[1, *marks, 7]])).logits  # type: ignore[no-any-return]


def test_an_adapter_with_rows_that_its_base_lacks(without_tokens: Path, prepared: Path, tmp_path: Path) -> None:
    """It opens, is merged, and is trained on as an adapter and as a whole model."""
    run, merged = tmp_path / "run", tmp_path / "merged"
    settings = {"model_name_or_path": str(without_tokens), "train_modules": "lora", "max_steps": 2, "lora_rank": 2}
    train(small(prepared, run, **settings, mm_use_im_start_end=True, version="v1"))
    assert main(["export", str(run), "--merge-adapter", "--out", str(merged)]) == 0
    torch.testing.assert_close(logits(merged), logits(run), rtol=1e-4, atol=1e-5)
    for mode in ("lora", "projector"):
        again = tmp_path / mode
        train(small(prepared, again, model_name_or_path=str(run), train_modules=mode, max_steps=1))
        assert logits(again).shape == logits(run).shape
    with pytest.raises(InputError, match="merge"):
        part(run, tmp_path)


def test_texts_alone_are_saved_and_resumed(llava: Path, tmp_path: Path) -> None:
    """The projector has no gradient and so no optimiser state."""
    data = write_conversations(tmp_path / "data", 8)
    items = json.loads(data.read_text())
    for item in items:
        item.pop("image", None)
        item["conversations"][0]["value"] = "Write the report."
    data.write_text(json.dumps(items))
    whole, run = tmp_path / "whole", tmp_path / "run"
    settings = {"model_name_or_path": str(llava), "version": "v1", "max_steps": 4, "save_steps": 1}
    losses = train(small(data, whole, **settings))
    shutil.copytree(whole, run)
    for step in (3, 4):
        shutil.rmtree(run / f"checkpoint-{step}", ignore_errors=True)
    shutil.copytree(whole / "checkpoint-3", run / "checkpoint-3")
    assert train(small(data, run, **settings, resume=True)) == losses
    assert_equal(weights(run), weights(whole))
    open_checkpoint(run)


def test_what_stays_frozen_keeps_16_bits(llava: Path, prepared: Path, tmp_path: Path) -> None:
    """The trained projector is written in float32, all else as the base has it; a float32 base stays float32."""
    base, run, plain = tmp_path / "base", tmp_path / "run", tmp_path / "plain"
    shutil.copytree(llava, base)
    halved = {name: value.half() for name, value in weights(llava).items()}
    save_file(halved, base / "model.safetensors", {"format": "pt"})
    settings = {"train_modules": "projector", "mm_use_im_start_end": True, "version": "v1", "max_steps": 2}
    train(small(prepared, run, model_name_or_path=str(base), **settings))
    trained = {name for name in weights(run) if "projector" in name or "embed_tokens" in name}
    for name, value in load_file(run / "model.safetensors").items():
        assert value.dtype == (torch.float32 if name in trained else torch.float16), name
        assert name in trained or torch.equal(value, halved[name])
    model = open_checkpoint(run).model
    assert {each.dtype for each in model.parameters()} == {torch.float32}
    train(small(prepared, plain, model_name_or_path=str(llava), **settings))
    assert {value.dtype for value in weights(plain).values()} == {torch.float32}


@pytest.mark.slow
def test_every_mode_on_two_processes(without_tokens: Path, prepared: Path, tmp_path: Path) -> None:
    """Down to an opened model, which DDP and FSDP2 agree about; the sharded runs' checkpoints are exported too."""
    module = ("-m", "tests.train.train_modes", without_tokens, prepared, tmp_path)
    torchrun(*module)
    for mode in MODES:
        runs = [tmp_path / f"{mode}-{name}" for name in SHARDING]
        (ddp, fsdp) = (tensors(run) for run in runs)
        assert_close(ddp, fsdp, 1e-3)
        for run in runs:
            open_checkpoint(run)
            first, second = (load_file(run / f"checkpoint-{step}" / "trained.safetensors") for step in (1, 2))
            still = [name for name in first if "lora_A" not in name and torch.equal(first[name], second[name])]
            assert not still  # lora_A has no gradient yet, lora_B beginning at nought
        last = tmp_path / "last"
        assert main(["export", str(runs[1]), "--out", str(last), *(["--merge-adapter"] * ("merged" in mode))]) == 0
        assert_equal(tensors(last), tensors(runs[1]))
        shutil.rmtree(last)


def tensors(run: Path) -> dict[str, Any]:
    (file,) = run.glob("*model.safetensors")
    return load_file(file)
