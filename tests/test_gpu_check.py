"""scripts/gpu_check.py with tiny sizes on the processor; a part that takes too long costs only itself."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "gpu_check.py"


@pytest.fixture(scope="module")
def gpu_check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_check", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_training_and_generation_in_miniature(gpu_check: ModuleType) -> None:
    found = gpu_check.PARTS["lora"][1](True)
    assert found["positions_per_second"] > 0
    assert found["planned_gb"] > 0
    assert found["loss"][1] < found["loss"][0]
    written = gpu_check.PARTS["generation"][1](True)
    assert set(written) == {"ours_1", "ours_2", "transformers_1", "transformers_2"}


def test_a_part_fails_alone(gpu_check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts: dict[str, Any] = {**gpu_check.PARTS, "lora": (0, gpu_check.PARTS["lora"][1])}
    monkeypatch.setattr(gpu_check, "PARTS", parts)
    monkeypatch.setattr("sys.argv", ["gpu_check", "--cpu", "--out", str(tmp_path), "--parts", "lora", "qlora"])
    assert gpu_check.main() == 1
    record = json.loads((tmp_path / "gpu_check.json").read_text())
    assert record["parts"]["lora"]["failed"] == "not done in 0 s"
    assert record["parts"]["qlora"]["skipped"] == "needs a GPU"
    assert "| lora | failed not done in 0 s |" in (tmp_path / "gpu_check.md").read_text()


@pytest.mark.parametrize("tiny", [True, False])
def test_the_plan_of_each_part(gpu_check: ModuleType, tiny: bool) -> None:
    """True sizes: 7 billion parameters, of which adapters train a hundredth."""
    plan = gpu_check.planned(gpu_check.sizes(tiny), "lora", 1, False, "adamw_torch")
    assert plan.trained < plan.parameters
    assert tiny or 7.0e9 < plan.parameters < 7.3e9
