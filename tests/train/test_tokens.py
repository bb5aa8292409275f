"""Tokens of a set kept on disk: the same samples, made once, made again where anything they depend on differs."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from tests.train.material import small, write_conversations

from cxrgen.train import token_files
from cxrgen.train.config import DataConfig
from cxrgen.train.data import encode_data, read_sft_data
from cxrgen.train.distributed import init_processes
from cxrgen.train.init_model import init_model
from cxrgen.train.pipeline import train
from cxrgen.train.token_files import encode_once


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []

    def counted(checkpoint: Any, variants: Any, long: str, folder: Path) -> Any:
        calls.append(len(variants))
        return encode_data(checkpoint, variants, long, folder)

    monkeypatch.setattr(token_files, "encode_data", counted)
    return calls


def kept(cache: Path) -> list[Path]:
    return sorted((cache / "tokens").iterdir())


def test_what_is_read_is_what_was_made(llava: Path, prepared: Path, tmp_path: Path, encoded: list[int]) -> None:
    settings = {"model_name_or_path": str(llava), "version": "v1", "max_steps": 3, "view_dropout": 0.5}
    settings |= {"shared_cache": str(tmp_path / "cache"), "model_max_length": 182, "max_rejects": 0.5}
    first = train(small(prepared, tmp_path / "first", **settings))
    (file,) = kept(tmp_path / "cache")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert train(small(prepared, tmp_path / "second", **settings)) == first
    assert encoded == [24]
    assert train(small(prepared, tmp_path / "plain", **{**settings, "shared_cache": ""})) == first
    rejects = [(tmp_path / name / "rejects.csv").read_bytes() for name in ("first", "second", "plain")]
    assert rejects[0] == rejects[1] == rejects[2]
    for change in ({"model_max_length": 178}, {"context": "none", "views": "frontal"}):
        encoded.clear()
        train(small(prepared, tmp_path / "other", **{**settings, **change}, overwrite_output_dir=True))
        assert encoded == [24], change


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_file_is_made_again(
    llava: Path, prepared: Path, tmp_path: Path, encoded: list[int], damage: str
) -> None:
    settings = {"model_name_or_path": str(llava), "version": "v1", "max_steps": 2}
    settings |= {"shared_cache": str(tmp_path / "cache")}
    first = train(small(prepared, tmp_path / "first", **settings))
    (file,) = kept(tmp_path / "cache")
    content = file.read_bytes()
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
    file.write_bytes({"cut": content[:-9], "changed": changed, "empty": b""}[damage])
    assert train(small(prepared, tmp_path / "second", **settings)) == first
    assert encoded == [24, 24]
    assert file.read_bytes() == content


def test_items_of_one_id(llava: Path, tmp_path: Path) -> None:
    """A published file may give an id twice; each sample keeps its own image."""
    data = write_conversations(tmp_path / "data", 8)
    data.write_text(data.read_text().replace('"id": "2_F1"', '"id": "1_F1"'))
    config = DataConfig(str(data), image_folder=str(tmp_path / "data" / "images"))
    checkpoint = init_model(small(data, tmp_path, model_name_or_path=str(llava)).model, None, [])  # type: ignore[arg-type]
    made = read_sft_data(config)
    once = [encode_once(checkpoint, made, "cut", tmp_path / "cache", init_processes()) for _ in range(2)]
    expected = encode_data(checkpoint, made.variants, "cut", made.folder)
    assert once == [expected, expected]
    assert len(kept(tmp_path / "cache")) == 1
