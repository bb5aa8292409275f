from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.forked import cxrgen
from tests.tiny_models import gemma3, llava, qwen3_vl
from transformers import Dinov2Config, Dinov2Model, LlamaConfig, LlamaForCausalLM
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from cxrgen.cli import main
from cxrgen.model.checkpoint import open_checkpoint
from cxrgen.model.tiny import learn_tokenizer
from cxrgen.train.flags import recipe_config
from cxrgen.train.recipes_command import recipe_texts

NAMES = (
    *("llava-med-original", "llava-med-v1.5-lora", "medgemma-4b-lora", "qwen3-vl-8b-full", "rad-dino-llama"),
    "tiny",
)


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_valid_and_says_how_to_start_it(name: str) -> None:
    lines = recipe_texts()[name].splitlines()
    assert lines[0].startswith("# ")
    assert lines[1].startswith("# Run: ")
    assert f"cxrgen train {name} " in lines[1].replace("&& ", "")
    assert recipe_config(Path(name)).checkpoint.output_dir == ""


def test_the_originals_settings_are_the_readmes() -> None:
    optim = recipe_config(Path("llava-med-original")).optim
    assert optim.per_device_train_batch_size * optim.gradient_accumulation_steps == 16
    assert (optim.learning_rate, optim.warmup_ratio, optim.lr_scheduler_type) == (2e-3, 0.03, "cosine")


def test_the_list_and_one_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert [line for line in listed.splitlines() if line and line[0] != " "] == list(NAMES)
    assert main(["recipes", "tiny"]) == 0
    assert capsys.readouterr().out == recipe_texts()["tiny"]
    assert main(["recipes", "tinny"]) == 2
    assert "did you mean 'tiny'" in capsys.readouterr().err
    assert main(["train", "medgema-4b-lora", "--data_path", "x", "--output_dir", "y"]) == 2
    assert "did you mean 'medgemma-4b-lora'" in capsys.readouterr().err


def joined(folder: Path) -> tuple[str, ...]:
    """A DINOv2 encoder and a Llama language model, both tiny, as flags."""
    torch.manual_seed(0)
    encoder, language = folder / "encoder", folder / "language"
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    Dinov2Model(Dinov2Config(**sizes, mlp_ratio=2)).save_pretrained(encoder)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(encoder)
    tokenizer = learn_tokenizer(["The heart is enlarged."], 280)
    tokenizer.save_pretrained(language)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(language)
    return "--vision_tower", str(encoder), "--language_model", str(language)


def start_of(name: str, folder: Path) -> tuple[str, ...]:
    """Tiny weights of the layout that a recipe is for, as flags."""
    if name == "rad-dino-llama":
        return joined(folder)
    made = {"medgemma-4b-lora": gemma3, "qwen3-vl-8b-full": qwen3_vl}.get(name, llava)(folder / "model")
    return "--model_name_or_path", str(made)


FEW = ("--max_steps", "2", "--global_batch_size", "2", "--per_device_train_batch_size", "1", "--eval_studies", "2")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[:5])
def test_two_steps_on_tiny_weights_of_the_same_layout(name: str, prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    where = ("--data_path", prepared, "--output_dir", out)
    cxrgen("train", name, *start_of(name, tmp_path), *where, *FEW, "--gradient_accumulation_steps", "1")
    assert (out / "recipe.yaml").is_file()
    opened = open_checkpoint(out)
    assert all(torch.isfinite(parameter).all() for parameter in opened.model.parameters())


@pytest.mark.slow
def test_adapters_over_a_joined_model(prepared: Path, tmp_path: Path) -> None:
    flags = (*joined(tmp_path), "--data_path", prepared, "--train_modules", "lora", *FEW)
    cxrgen("train", *flags, "--output_dir", tmp_path / "run", "--save_steps", "1", "--save_total_limit", "2")
    assert (tmp_path / "run" / "adapter_config.json").is_file()
    asked = ("--question-file", prepared, "--split", "valid", "--max-new-tokens", "3")
    cxrgen("generate", "--model-name", tmp_path / "run", *asked, "--answers-file-pred", tmp_path / "a.csv")
    cxrgen("export", tmp_path / "run", "--step", "last", "--merge-adapter", "--out", tmp_path / "merged")
    cxrgen("generate", "--model-name", tmp_path / "merged", *asked, "--answers-file-pred", tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()
    flags += ("--output_dir", tmp_path / "whole", "--merge_adapter", "--save_strategy", "no")
    cxrgen("train", *flags)
    assert not (tmp_path / "whole" / "adapter_config.json").exists()
