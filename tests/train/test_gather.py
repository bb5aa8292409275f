"""Whole tensors into a file, one at a time: the same content as safetensors' own writer, whatever the tensors are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.train.material import assert_equal

from cxrgen.core.errors import InputError
from cxrgen.train.distributed import Processes
from cxrgen.train.gather import gathered, write_gathered

TENSORS = {
    "matrix": torch.arange(12.0).reshape(3, 4).t(),
    "half": torch.ones(3, 2, dtype=torch.bfloat16),
    "scalar": torch.tensor(7.0),
    "count": torch.tensor(3),
    "nothing": torch.zeros(0, 4),
    "state": torch.arange(9, dtype=torch.uint8),
}


def test_the_file_is_that_of_safetensors(tmp_path: Path) -> None:
    write_gathered(tmp_path / "ours", TENSORS)
    save_file({name: each.contiguous() for name, each in TENSORS.items()}, tmp_path / "theirs")
    ours, theirs = load_file(tmp_path / "ours"), load_file(tmp_path / "theirs")
    assert_equal(ours, theirs)
    assert {name: each.dtype for name, each in ours.items()} == {name: each.dtype for name, each in theirs.items()}
    assert {name: each.shape for name, each in ours.items()} == {name: each.shape for name, each in theirs.items()}


def test_a_value_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bad: row 1 holds NaN"):
        write_gathered(tmp_path / "file", {"bad": torch.tensor([0.0, torch.nan])})


def test_only_the_first_process_keeps_them() -> None:
    device = torch.device("cpu")
    assert gathered(TENSORS, Processes(1, 2, device)) == {}
    assert_equal(gathered(TENSORS, Processes(0, 1, device)), TENSORS)
