"""Rows of counts on disk: found again, private, without texts, and never trusted when damaged."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest

from cxrgen.metrics import Floats
from cxrgen.metrics.row_cache import Item, kept_rows

PAIRS: list[Item] = [("lungs clear", "heart normal"), ("a", "bc"), ("ab", "c"), ("a", "bc")]


class Compute:
    """Rows of lengths; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Item] = []

    def __call__(self, items: list[Item]) -> Floats:
        self.asked += items
        return np.array([[len(one), len(other)] for one, other in items], dtype=np.float64)


def asked_for(folder: Path | None, signature: str = "metric|weights:1", pairs: list[Item] = PAIRS) -> list[Item]:
    compute = Compute()
    rows = kept_rows(pairs, compute, 2, signature, folder, at_once=2)
    assert rows.tolist() == [[len(one), len(other)] for one, other in pairs]
    return compute.asked


def test_each_pair_once_for_all_runs(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    assert asked_for(None) == asked_for(folder) == PAIRS[:3]
    assert asked_for(folder) == []
    assert asked_for(folder, pairs=[("new", "pair"), *PAIRS]) == [("new", "pair")]
    assert asked_for(folder, "metric|weights:2") == PAIRS[:3], "other weights are another key"


def test_files_are_private_and_hold_no_text(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    asked_for(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = list(folder.iterdir())
    assert len(files) == 2
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert not any(word in file.read_bytes() + file.name.encode() for word in (b"lungs", b"heart", b"normal"))


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "other"])
def test_damaged_rows_are_computed_again(tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked_for(tmp_path)
    file = max(tmp_path.iterdir(), key=lambda path: path.stat().st_size)  # the first two pairs
    content = bytearray(file.read_bytes())
    size = len(content) // 2
    if damage == "flipped":
        content[size - 10] ^= 1  # the last byte of a number
    elif damage == "cut":
        del content[size + 20 :]
    else:
        content = bytearray(b"" if damage == "empty" else b"not what was written here")
    file.write_bytes(content)
    expected = {"flipped": PAIRS[:1], "cut": PAIRS[1:2]}.get(damage, PAIRS[:2])
    assert asked_for(tmp_path) == expected
    assert ("damaged rows left out" in capsys.readouterr().err) == (damage != "empty")
    assert asked_for(tmp_path) == []


def test_a_run_that_stops_goes_on_where_it_was(tmp_path: Path) -> None:
    def stops(items: list[Item]) -> Floats:
        if ("ab", "c") in items:
            raise KeyboardInterrupt
        return Compute()(items)

    with pytest.raises(KeyboardInterrupt):
        kept_rows(PAIRS, stops, 2, "metric|weights:1", tmp_path, at_once=2)
    assert asked_for(tmp_path) == PAIRS[2:3]
