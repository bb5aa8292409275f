"""Training any class by its own chat template: whole runs, what they leave behind, and what is refused before them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.tiny_models import gemma3, qwen2_5_vl

from cxrgen.core.errors import UsageError
from cxrgen.model.checkpoint import open_checkpoint
from cxrgen.train.config import TrainConfig, make_config
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


def test_a_run_without_further_flags(gemma: Path, prepared: Path, tmp_path: Path) -> None:
    losses = train(run_of(gemma, prepared, tmp_path / "run"))
    assert losses[-1] < losses[0]
    checkpoint = open_checkpoint(tmp_path / "run")
    assert type(checkpoint.model).__name__ == "Gemma3ForConditionalGeneration"
    assert checkpoint.format.template == "chat"
    assert checkpoint.processor.chat_template == open_checkpoint(tmp_path / "run").processor.chat_template
    assert (tmp_path / "run" / "chat_template.jinja").read_text() == (gemma / "chat_template.jinja").read_text()


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
