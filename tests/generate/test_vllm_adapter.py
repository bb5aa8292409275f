"""An adapter in parts is the adapter: what vLLM would read, put together by other means, computes the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tests.generate.conftest import make_clip_checkpoint
from transformers import AutoModelForImageTextToText, AutoProcessor

from cxrgen.cli import main
from cxrgen.core.errors import InputError
from cxrgen.generate.resume import checkpoint_digest
from cxrgen.generate.vllm_adapter import part
from cxrgen.model.checkpoint import open_checkpoint, save_all_but_weights, write_checkpoint
from cxrgen.model.locate import base_of
from cxrgen.train.config import TrainableConfig
from cxrgen.train.trainable import set_trainable

ROWS = (7, 9)  # tokens whose embeddings are trained along


def write_adapter(folder: Path) -> Path:
    """`folder`/adapter over `folder`/base, every trained tensor far from where it began."""
    write_checkpoint(folder / "base", make_clip_checkpoint())
    checkpoint = open_checkpoint(folder / "base")
    set_trainable(checkpoint.model, TrainableConfig("lora", lora_rank=4, lora_alpha=8), ROWS)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in checkpoint.model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    checkpoint.model.save_pretrained(folder / "adapter")
    save_all_but_weights(folder / "adapter", checkpoint)
    return folder / "adapter"


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(tmp_path_factory.mktemp("lora"))


def read_as_vllm(folder: Path) -> dict[str, torch.Tensor]:
    """All files in the order of their names, each tensor under the name of its parameter, the last one counting."""
    state: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors"), key=lambda path: path.name):
        for name, tensor in load_file(file).items():
            for old, new in (("language_model.model.", "model.language_model."), ("language_model.lm_head", "lm_head")):
                name = new + name.removeprefix(old) if name.startswith(old) else name
            if name.startswith(("vision_tower.", "multi_modal_projector.")):
                name = f"model.{name}"
            state[name] = tensor
    return state


def test_the_parts_compute_what_the_adapter_computes(adapter: Path, tmp_path: Path) -> None:
    parts = part(adapter, tmp_path)
    assert parts.rank == 4
    (tmp_path / "together").mkdir()
    shutil.copyfile(parts.base / "config.json", tmp_path / "together" / "config.json")
    save_file(read_as_vllm(parts.base), tmp_path / "together" / "model.safetensors", {"format": "pt"})
    below = AutoModelForImageTextToText.from_pretrained(tmp_path / "together", dtype=torch.float32)
    put_together = PeftModel.from_pretrained(below, parts.low_rank).eval()
    expected, base = open_checkpoint(adapter).model.eval(), open_checkpoint(adapter.parent / "base").model.eval()
    image = expected.config.image_token_id
    ids = torch.tensor([[*ROWS, *[image] * 16, 11, 12]])
    images = torch.rand(1, 3, 56, 56)
    with torch.no_grad():
        logits = [each(input_ids=ids, pixel_values=images).logits for each in (put_together, expected, base)]
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(logits[1], logits[2], atol=0.1)


def test_low_rank_matrices_stand_alone_and_the_base_is_linked(adapter: Path, tmp_path: Path) -> None:
    parts = part(adapter, tmp_path)
    assert all(".lora_" in name for name in load_file(parts.low_rank / "adapter_model.safetensors"))
    config = json.loads((parts.low_rank / "adapter_config.json").read_text())
    assert (config["r"], config["modules_to_save"], config["trainable_token_indices"]) == (4, None, None)
    links = {path.name for path in parts.base.iterdir() if path.is_symlink()}
    assert {path.name for path in parts.base.iterdir()} - links == {"trained.safetensors"}
    trained = load_file(parts.base / "trained.safetensors")
    assert {name.split(".")[-2] for name in trained} == {"linear_1", "linear_2", "embed_tokens"}
    assert AutoProcessor.from_pretrained(parts.base, local_files_only=True).tokenizer.eos_token


def test_a_base_that_is_gone_is_named(adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(adapter, tmp_path / "adapter")
    config = json.loads((adapter / "adapter_config.json").read_text())
    (tmp_path / "adapter" / "adapter_config.json").write_text(
        json.dumps({**config, "base_model_name_or_path": str(tmp_path / "gone")})
    )
    with pytest.raises(InputError, match="gone"):
        base_of(tmp_path / "adapter")
    assert base_of(adapter.parent / "base") is None


def test_the_command_writes_with_the_adapter_and_knows_its_base(adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "q.json").write_text(json.dumps([{"id": "1", "conversations": [{"from": "human", "value": "Why?"}]}]))
    reports = set()
    for model in (adapter, adapter.parent / "base"):
        given = ("--model-name", model, "--question-file", tmp_path / "q.json", "--max-new-tokens", 20)
        assert main(["generate", *map(str, given), "--answers-file-pred", str(tmp_path / "pred.csv")]) == 0
        reports.add((tmp_path / "pred.csv").read_bytes())
    assert len(reports) == 2
    before = checkpoint_digest(adapter)
    settings = adapter.parent / "base" / "generation_config.json"
    settings.write_text(settings.read_text() + "\n")
    assert checkpoint_digest(adapter) != before
