"""Features kept on disk: the same training, computed once and by content, never read where they are damaged."""

from __future__ import annotations

import shutil
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.forked import cxrgen
from tests.train.material import (
    Crash,
    assert_equal,
    at_step,
    crash,
    small,
    weights,
    write_image,
    write_prepared,
)
from tests.train.test_equality import losses

from cxrgen.core import folders
from cxrgen.core.errors import InputError
from cxrgen.model.features import tower_features
from cxrgen.train import feature_files
from cxrgen.train.pipeline import train

KEPT: dict[str, Any] = {"cache_features": True, "max_steps": 4}


def start(llava: Path) -> dict[str, Any]:
    return {"model_name_or_path": str(llava), "version": "v1"}


def files(cache: Path) -> list[Path]:
    return sorted(file for file in cache.glob("features/*/*/*") if file.is_file())


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images of each call of the vision encoder for kept features."""
    calls: list[int] = []

    def counted(model: Any, pixels: torch.Tensor) -> torch.Tensor:
        calls.append(len(pixels))
        return tower_features(model, pixels)

    monkeypatch.setattr(feature_files, "tower_features", counted)
    return calls


def test_the_same_training_within_float16(llava: Path, prepared: Path, tmp_path: Path) -> None:
    plain = train(small(prepared, tmp_path / "plain", **start(llava), max_steps=4))
    kept = train(small(prepared, tmp_path / "kept", **start(llava), **KEPT))
    assert kept == pytest.approx(plain, rel=1e-3)
    memory = train(small(prepared, tmp_path / "memory", **start(llava), **KEPT, features_in="memory"))
    assert memory == pytest.approx(plain, rel=1e-5)
    workers = train(small(prepared, tmp_path / "workers", **start(llava), **KEPT, dataloader_num_workers=2))
    assert workers == kept
    found = files(tmp_path / "kept" / "cache")
    assert len(found) == 36  # 24 studies, every second one with a lateral
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in found)
    assert {file.stat().st_size for file in found} == {16 + 2 * 4 * 16}


def test_other_runs_and_resumed_ones_read_them(
    llava: Path, prepared: Path, tmp_path: Path, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**start(llava), **KEPT, "shared_cache": str(tmp_path / "shared")}
    first = train(small(prepared, tmp_path / "first", **settings))
    assert sum(computed) == 36 + 1  # one image more, to see how large its features are
    computed.clear()
    copied = shutil.copytree(prepared, tmp_path / "elsewhere")
    assert train(small(copied, tmp_path / "second", **settings)) == first
    with monkeypatch.context() as patch:
        at_step(patch, 3, crash)
        with pytest.raises(Crash):
            train(small(prepared, tmp_path / "third", **settings))
    train(small(prepared, tmp_path / "third", **settings, resume=True))
    assert_equal(weights(tmp_path / "third"), weights(tmp_path / "first"))
    assert computed == []
    assert not (tmp_path / "first" / "cache").exists()


def test_what_features_depend_on(llava: Path, tmp_path: Path, computed: list[int]) -> None:
    """A changed image is computed again, a renamed one is not; another encoder or another rule has its own folder."""
    data = write_prepared(tmp_path / "set", 4, 0)
    settings = {**KEPT, "max_steps": 1, "shared_cache": str(tmp_path / "shared")}
    train(small(data, tmp_path / "1", **start(llava), **settings))
    computed.clear()
    write_image(data / "images" / "0001-lateral.png", 999)
    train(small(data, tmp_path / "2", **start(llava), **settings))
    assert computed == [1, 1]
    computed.clear()
    train(small(data, tmp_path / "3", **start(llava), **settings, image_aspect_ratio="black"))
    assert sum(computed) == 6 + 1
    base = shutil.copytree(llava, tmp_path / "base")
    tensors = weights(llava)
    name = next(name for name in tensors if "vision_tower" in name and name.endswith("layers.0.mlp.fc1.weight"))
    tensors[name] += 0.1
    save_file(tensors, base / "model.safetensors", {"format": "pt"})
    computed.clear()
    train(small(data, tmp_path / "4", **start(base), **settings))
    assert sum(computed) == 6 + 1
    assert len(list((tmp_path / "shared" / "features").iterdir())) == 3


def test_damaged_files_are_computed_again(llava: Path, prepared: Path, tmp_path: Path, computed: list[int]) -> None:
    settings = {**start(llava), **KEPT, "shared_cache": str(tmp_path / "shared")}
    first = train(small(prepared, tmp_path / "first", **settings))
    cut, changed, empty, other, removed = damaged = files(tmp_path / "shared")[3:8]
    content = changed.read_bytes()
    cut.write_bytes(cut.read_bytes()[:-7])
    changed.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    empty.write_bytes(b"")
    other.write_bytes(b"PK" + content[2:])
    removed.unlink()
    computed.clear()
    assert train(small(prepared, tmp_path / "second", **settings)) == pytest.approx(first, rel=1e-5)
    assert computed == [1, 5]
    assert all(feature_files._content(file) is not None for file in damaged)


def test_a_file_that_is_damaged_meanwhile_ends_the_run(
    llava: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"

    def damage() -> None:
        for file in files(run / "cache"):
            file.write_bytes(b"no features")

    settings = {**start(llava), **KEPT, "save_steps": 1}
    with monkeypatch.context() as patch:
        at_step(patch, 2, damage)
        with pytest.raises(InputError, match="damaged or removed since the run began"):
            train(small(prepared, run, **settings))
    resumed = train(small(prepared, run, **settings, resume=True))
    assert resumed == pytest.approx(train(small(prepared, tmp_path / "whole", **settings)), rel=1e-5)


def test_there_must_be_room(
    llava: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    with monkeypatch.context() as patch:
        patch.setattr(folders.shutil, "disk_usage", lambda path: usage)
        with pytest.raises(InputError, match="free on this disk"):
            train(small(prepared, tmp_path / "run", **start(llava), **KEPT))
    assert "vision features: 36 of 36 images to compute, 0.0 MB in" in capfd.readouterr().err
    assert files(tmp_path / "run" / "cache") == []


def test_values_that_float16_cannot_hold(
    llava: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_files, "tower_features", lambda model, pixels: 1e6 * tower_features(model, pixels))
    with pytest.raises(InputError, match="beyond what float16 holds; use --features_in memory"):
        train(small(prepared, tmp_path / "run", **start(llava), **KEPT))


def test_two_runs_at_once(llava: Path, prepared: Path, tmp_path: Path) -> None:
    """Two processes fill one cache at the same time; both train as a run alone does."""
    words = ("train", "--model_name_or_path", llava, "--data_path", prepared, "--version", "v1", "--max_steps", 3)
    words += ("--cache_features", "--shared_cache", tmp_path / "shared", "--per_device_train_batch_size", 4)
    runs = [tmp_path / name for name in ("one", "two")]
    threads = [threading.Thread(target=cxrgen, args=(*words, "--output_dir", run)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert losses(runs[0]) == losses(runs[1])
    assert len(files(tmp_path / "shared")) == 36
    assert not list((tmp_path / "shared").rglob("*.tmp"))


def test_a_cache_that_is_a_file(llava: Path, prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(InputError, match="cannot be made a folder"):
        train(small(prepared, tmp_path / "run", **start(llava), **KEPT, shared_cache=str(tmp_path / "cache")))


@pytest.mark.slow
def test_one_process_and_two(llava: Path, tmp_path: Path) -> None:
    """The same files to the byte, the same losses; each process computes one of two slices."""
    prepared = write_prepared(tmp_path / "set", 48, 0)
    words = ("train", "--model_name_or_path", llava, "--data_path", prepared, "--version", "v1", "--max_steps", 3)
    words += ("--cache_features", "--global_batch_size", 8, "--per_device_train_batch_size", 2)
    runs = {"one": 1, "two": 2}
    for name, processes in runs.items():
        cxrgen(*words, "--output_dir", tmp_path / name, processes=processes)
    one, two = (
        {file.relative_to(tmp_path / name): file.read_bytes() for file in files(tmp_path / name / "cache")}
        for name in runs
    )
    assert one == two
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
