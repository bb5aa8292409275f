from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from cxrgen.core.errors import UsageError
from cxrgen.train.config import OptimConfig, make_config
from cxrgen.train.kernels import adamw, use_kernels
from cxrgen.train.preflight import check_run


class Model:
    """Records what is set on it."""

    attention = ""

    def set_attn_implementation(self, name: str) -> None:
        self.attention = name

    def forward(self) -> None: ...


def group() -> list[dict[str, Any]]:
    return [{"params": [torch.nn.Parameter(torch.ones(2))]}]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_each_falls_back_with_a_notice(capsys: pytest.CaptureFixture[str]) -> None:
    model = Model()
    use_kernels(model, OptimConfig(attn_implementation="flash_attention_2", use_liger_kernel=True, torch_compile=True))
    assert model.attention == "sdpa"
    assert "forward" not in vars(model)
    for name in ("adamw_torch_fused", "adamw_8bit"):
        assert type(adamw(name, group(), (0.9, 0.95))) is torch.optim.AdamW
    said = capsys.readouterr().err.splitlines()
    assert [line.split(";")[1].strip() for line in said] == [
        "sdpa takes its place",
        "it changes nothing",
        "it changes nothing",
        "adamw_torch takes its place",
        "adamw_torch takes its place",
    ]
    assert "--torch_compile: no GPU here" in said[2]


def test_with_gpu_and_packages_they_are_used(
    gpu: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("liger_kernel", "bitsandbytes", "flash_attn"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    calls: list[Any] = []
    liger, eight = ModuleType("liger_kernel.transformers"), ModuleType("bitsandbytes.optim")
    liger._apply_liger_kernel_to_instance = lambda **given: calls.append(given)  # type: ignore[attr-defined]
    eight.AdamW8bit = lambda groups, **given: calls.append(given)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers", liger)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", eight)
    monkeypatch.setattr(torch, "compile", lambda forward, dynamic: "compiled" if dynamic else "static")
    model: Any = Model()
    use_kernels(model, OptimConfig(attn_implementation="flash_attention_2", use_liger_kernel=True, torch_compile=True))
    adamw("adamw_8bit", group(), (0.9, 0.95))
    assert model.attention == "flash_attention_2"
    assert model.forward == "compiled"
    assert calls == [
        {"model": model, "cross_entropy": False, "fused_linear_cross_entropy": False},
        {"lr": 0.0, "betas": (0.9, 0.95)},
    ]
    sharded: Any = Model()
    use_kernels(sharded, OptimConfig(torch_compile=True, fsdp="full_shard"))
    assert "forward" not in vars(sharded)
    assert capsys.readouterr().err == "--torch_compile: not with --fsdp; the model is not compiled\n"


def test_names_are_checked_before_the_run() -> None:
    with pytest.raises(UsageError, match="did you mean 'adamw_torch'"):
        make_config(optim="adamw_torh")


def test_a_state_of_8_bits_is_not_saved(tmp_path: Path) -> None:
    values = {"data_path": str(tmp_path), "output_dir": str(tmp_path / "run"), "optim": "adamw_8bit"}
    with pytest.raises(UsageError, match="--save_strategy no"):
        check_run(make_config(values))
