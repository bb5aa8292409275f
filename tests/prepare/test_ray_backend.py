from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrgen.cli import main

HAS_RAY = importlib.util.find_spec("ray") is not None


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed (the extra [ray])")
def test_ray_writes_the_same_bytes(course: Path, tmp_path: Path) -> None:
    (course / "images" / "0002-0002.png").write_bytes(b"")
    for engine in ("local", "ray"):
        words = ["--out", str(tmp_path / engine), "--engine", engine, "--workers", "2", "--max-rejects", "50%"]
        assert main(["prepare", str(course), *words]) == 0
    local, ray = (
        {path.relative_to(tmp_path / engine): path.read_bytes() for path in (tmp_path / engine).rglob("*.*")}
        for engine in ("local", "ray")
    )
    assert local == ray
    assert len(local) > 15


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed (the extra [ray])")
def test_a_worker_killed_half_way_on_two_nodes_changes_no_byte(tmp_path: Path) -> None:
    """The benchmark does the same with 100,000 images."""
    from benchmarks.ray_cluster import measure

    found = measure(tmp_path, images=400, size=64)
    assert found["nodes"] == 2
    assert found["images"] == 400
    assert found["killed_after"] is not None
    assert found["files_that_differ"] == 0


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed")
def test_without_ray_the_extra_is_named(course: Path, tmp_path: Path, prepare: Callable[..., tuple[int, str]]) -> None:
    code, said = prepare(course, "--out", tmp_path / "out", "--engine", "ray")
    assert code == 2
    assert 'pip install "cxrgen[ray]"' in said
