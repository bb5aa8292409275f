from __future__ import annotations

from pathlib import Path

import pytest

from cxrgen.cli import main
from cxrgen.train.flags import recipe_config
from cxrgen.train.recipes_command import recipe_texts

NAMES = (
    *("llava-med-original", "llava-med-v1.5-lora", "medgemma-4b-lora", "qwen3-vl-8b-full", "rad-dino-llama"),
    *("small", "tiny"),
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
