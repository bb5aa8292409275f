"""Weights that one process reads and the others are sent: the same runs bit by bit, and nothing read elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.model.test_assemble import language
from tests.train.material import assert_equal, small, torchrun, weights, write_llava
from tests.train.start_runs import RUNS, SIDES
from torch import nn

from cxrgen.core.errors import InputError
from cxrgen.model.checkpoint import write_checkpoint
from cxrgen.train.distributed import Processes, _with_owners
from cxrgen.train.pipeline import train
from cxrgen.train.start_model import configured_model, start_model

__all__ = ["language"]
ROWS = {"mm_use_im_start_end": True, "version": "v1"}


@pytest.fixture(scope="module")
def models(language: Path, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What runs start from: without two tokens' rows, in float16, with one matrix for both ends, an adapter."""
    folder = tmp_path_factory.mktemp("models")
    base = write_llava(folder / "llava", tokens=False)
    write_llava(folder / "tied", tied=True)
    shutil.copytree(base, folder / "half")
    halved = {name: value.half() for name, value in weights(base).items()}
    save_file(halved, folder / "half" / "model.safetensors", {"format": "pt"})
    shutil.copytree(language, folder / "language")
    settings = {"model_name_or_path": str(base), "train_modules": "lora", "lora_rank": 2, "max_steps": 1}
    train(small(prepared, folder / "adapter", **settings, **ROWS, save_strategy="no"))
    return folder


@pytest.mark.parametrize("name", ["llava", "half", "tied", "adapter", "adapter written in", "language"])
def test_without_values_the_model_has_the_same_tensors(models: Path, prepared: Path, tmp_path: Path, name: str) -> None:
    start: dict[str, Any] = {"model_name_or_path": str(models / name.split()[0])}
    if name == "language":
        start = {"language_model": str(models / name)}
    mode = "lora" if name == "adapter" else "projector"
    config = small(prepared, tmp_path, **start, train_modules=mode, mm_use_im_start_end=name in ("llava", "half"))
    kinds = []
    for values in (True, False):
        model = configured_model(config, values=values).model
        assert values != any(each.is_meta for each in model.parameters())
        found = _with_owners(model)
        kinds.append([(tensor.shape, tensor.dtype, len(owners)) for tensor, owners in found])
    assert kinds[0] == kinds[1]
    assert any(owners == 2 for _, _, owners in kinds[0]) == (name in ("tied", "language"))


def test_an_error_of_the_reader_ends_all(models: Path, prepared: Path, tmp_path: Path) -> None:
    """The second process finds nothing wrong, for it reads no values."""
    broken = tmp_path / "broken"
    write_checkpoint(broken, configured_model(small(prepared, tmp_path, model_name_or_path=str(models / "llava"))))
    tensors = load_file(broken / "model.safetensors")
    next(iter(tensors.values())).view(-1)[0] = torch.nan
    save_file(tensors, broken / "model.safetensors", {"format": "pt"})
    config = small(prepared, tmp_path / "run", model_name_or_path=str(broken))

    class Second(Processes):
        def all_gather(self, value: Any) -> list[Any]:
            return [(None, InputError("of the first")), value]

    with pytest.raises(InputError, match="holds NaN or infinity"):
        start_model(config, [], tmp_path / "start", False, Processes(0, 1, torch.device("cpu")))
    with pytest.raises(InputError, match="of the first"):
        start_model(config, [], tmp_path / "start", False, Second(1, 2, torch.device("cpu")))


def test_tied_tensors_are_found_once() -> None:
    first, second = nn.Linear(2, 3), nn.Linear(2, 3)
    second.weight = first.weight
    found = _with_owners(nn.Sequential(first, second))
    assert [len(owners) for _, owners in found] == [2, 1, 1]


@pytest.mark.slow
def test_runs_are_equal_bit_by_bit(models: Path, prepared: Path, tmp_path: Path) -> None:
    torchrun("-m", "tests.train.start_runs", models, prepared, tmp_path)
    found = json.loads((tmp_path / "found.json").read_text())
    for name in RUNS:
        sent, read = (found[name][side] for side in SIDES)
        assert sent["losses"] == read["losses"], name
        assert (sent["readers"], read["readers"]) == ([True, False], [True, True]), name
        sides = [tmp_path / name / side for side in SIDES]
        files = [path.relative_to(sides[0]) for path in sides[0].rglob("*.safetensors") if "start" not in path.parts]
        assert len(files) >= 3  # the model, what was trained of it, the optimiser
        for file in files:
            assert_equal(*(load_file(side / file) for side in sides))
