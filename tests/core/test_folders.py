"""Folders are whole or not there, one run writes at a time, and a full disk is said before work starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cxrgen.core.errors import InputError
from cxrgen.core.folders import locked, new_folder, require_space


def test_a_new_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "below" / "out"
    with pytest.raises(ZeroDivisionError), new_folder(target) as folder:
        (folder / f"half {1 / 0}").write_text("x")
    assert list(target.parent.iterdir()) == []
    with new_folder(target) as folder:
        (folder / "whole").write_text("x")
        assert not target.exists()
    assert [path.name for path in target.iterdir()] == ["whole"]
    with pytest.raises(InputError, match="is there already"), new_folder(target):
        pass


def test_a_replaced_folder_is_the_old_one_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("x")
    with pytest.raises(ZeroDivisionError), new_folder(target, replace=True) as folder:
        (folder / f"new {1 / 0}").write_text("x")
    assert [path.name for path in target.iterdir()] == ["old"]
    with new_folder(target, replace=True) as folder:
        (folder / "new").write_text("x")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_space_is_asked_of_the_disk_below_a_folder_to_come(tmp_path: Path) -> None:
    require_space(tmp_path / "a" / "b", 1)
    with pytest.raises(InputError, match=r"1000000000.0 GB are needed, .* are free"):
        require_space(tmp_path / "a" / "b", 1e18)


def test_two_runs_at_once(tmp_path: Path) -> None:
    """Another process is refused while this one holds the folder, and let in afterwards."""
    code = (
        "import sys; from pathlib import Path; from cxrgen.core.folders import locked\n"
        "with locked(Path(sys.argv[1]), 'give another --out'): print('in')"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    with locked(tmp_path / "out"):
        other = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "another run is writing there; give another --out" in other.stderr
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "in\n"
