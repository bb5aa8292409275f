from __future__ import annotations

from pathlib import Path

import pytest
from tests.train.material import write_llava, write_prepared

from cxrgen.train.config import make_config
from cxrgen.train.pipeline import train


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prepared(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="session")
def writer(llava: Path, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that writes sentences of the training reports, and ends them."""
    out = tmp_path_factory.mktemp("writer") / "run"
    steps = {"max_steps": 80, "learning_rate": 1e-2, "per_device_train_batch_size": 12, "train_modules": "full"}
    settings = {"model_name_or_path": str(llava), "data_path": str(prepared), "output_dir": str(out), "threads": 1}
    train(make_config({**settings, **steps, "version": "v1", "save_strategy": "no"}))
    return out
