"""A run that a device cannot hold is refused before weights are read; device memory is given here, not measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.train.material import small, write_seven_billion

from cxrgen.core.errors import UsageError
from cxrgen.train import memory
from cxrgen.train.config import TrainConfig, make_config
from cxrgen.train.memory import Sizes, check_memory, collective_timeout, model_sizes
from cxrgen.train.pipeline import train

DEVICE = torch.device("cpu")


def sizes_of(config: TrainConfig) -> Sizes | None:
    return model_sizes(config.model, config.trainable, config.optim)


@pytest.fixture(scope="module")
def seven_billion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_seven_billion(tmp_path_factory.mktemp("llava-7b"))


def run_of(folder: Path, mode: str, **changes: object) -> TrainConfig:
    return make_config(model_name_or_path=str(folder), train_modules=mode, bf16=True, **changes)


def refusal(config: TrainConfig, processes: int, gigabytes: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(memory, "device_memory", lambda device: gigabytes * 10**9)
    try:
        check_memory(config.trainable, config.optim, sizes_of(config), processes, DEVICE)
    except UsageError as error:
        return str(error)
    return ""


def test_seven_billion_parameters(seven_billion: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """16 bytes a trained parameter, 20 with DDP's copy of the gradients; frozen ones 2, the vision encoder's."""
    sizes = sizes_of(run_of(seven_billion, "projector+llm"))
    assert sizes is not None
    assert round(sizes.trained / 1e9, 2) == 6.76
    assert round(sizes.frozen / 1e9, 2) == 0.30
    default = run_of(seven_billion, "projector+llm")
    alone, eight = refusal(default, 1, 80, monkeypatch), refusal(default, 8, 80, monkeypatch)
    assert "109 GB on each device at least" in alone
    assert "it has 80 GB" in alone
    assert "--fsdp full_shard on 2 devices, or --train_modules lora (14 GB)" in alone
    assert "136 GB on each" in eight
    assert "--fsdp full_shard (14 GB on each of 8)" in eight  # (16 x 6.76 + 2 x 0.30) / 8
    assert "14 GB on each device" in refusal(run_of(seven_billion, "lora"), 1, 12, monkeypatch)
    assert "--train_modules qlora" in refusal(run_of(seven_billion, "lora"), 1, 12, monkeypatch)
    assert refusal(run_of(seven_billion, "lora"), 1, 24, monkeypatch) == ""
    for fitting, processes in (
        (run_of(seven_billion, "projector+llm", fsdp="full_shard"), 8),
        (run_of(seven_billion, "lora"), 1),
        (run_of(seven_billion, "qlora"), 1),
        (run_of(seven_billion, "projector+llm", optim="adamw_8bit"), 1),
    ):
        assert refusal(fitting, processes, 80, monkeypatch) == ""
    assert refusal(run_of(seven_billion, "projector+llm", fsdp="full_shard"), 64, 12, monkeypatch) == ""  # never whole


def test_a_refused_run_reads_no_weights(seven_billion: Path, prepared: Path, tmp_path: Path) -> None:
    """The folder has none: opening it would be another error."""
    settings = {"model_name_or_path": str(seven_billion), "output_dir": str(tmp_path / "run")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "device_memory", lambda device: 80 * 10**9)
        with pytest.raises(UsageError, match="--fsdp full_shard on 2 devices"):
            train(make_config(data_path=str(prepared), **settings))


def test_what_fits_runs(llava: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "device_memory", lambda device: 80 * 10**9)
    assert len(train(small(prepared, tmp_path / "run", model_name_or_path=str(llava), max_steps=1))) == 1


def test_the_others_wait_for_the_longest_save(seven_billion: Path) -> None:
    """81 GB at 200 MB/s are 405 seconds; `--ddp_timeout` is not shortened."""
    config = run_of(seven_billion, "projector+llm", ddp_timeout=60)
    assert collective_timeout(config.ddp_timeout, sizes_of(config)) > 405
    assert collective_timeout(config.ddp_timeout, Sizes(1000, 1000)) == collective_timeout(60, None) == 60
