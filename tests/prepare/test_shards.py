"""`export-data --to shards`: every usable study once, as WebDataset reads it, with the same bytes each time."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cxrgen.cli import main
from cxrgen.core.records import read_studies

Prepare = Callable[..., tuple[int, str]]


@pytest.fixture
def prepared(course: Path, tmp_path: Path, prepare: Prepare) -> Path:
    assert prepare(course, "--out", tmp_path / "prepared")[0] == 0
    return tmp_path / "prepared"


def exported(prepared: Path, name: str, *words: str) -> Path:
    out = prepared.parent / name
    assert main(["export-data", str(prepared), "--to", "shards", "--out", str(out), *words]) == 0
    return out


def records(shard: Path) -> list[dict[str, Any]]:
    with tarfile.open(shard) as tar:
        names = [name for name in tar.getnames() if name.endswith(".json")]
        return [json.loads(tar.extractfile(name).read()) for name in names]  # type: ignore[union-attr]


def test_every_study_with_a_report_is_in_one_shard(prepared: Path) -> None:
    out = exported(prepared, "shards", "--shard-studies", "2")
    listed = json.loads((out / "shards.json").read_text())["shards"]
    assert [(each["name"], each["studies"]) for each in listed] == [
        ("train-00000.tar", 2), ("train-00001.tar", 1), ("valid-00000.tar", 1),
    ]  # fmt: skip
    ids = sorted(each["study"]["study_id"] for shard in listed for each in records(out / shard["name"]))
    assert ids == ["0001", "0002", "0003", "0004"], "test studies have no report here"
    for shard in listed:
        file = out / shard["name"]
        assert (file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest()) == (shard["bytes"], shard["sha256"])
        assert file.stat().st_mode & 0o077 == 0
    assert (out / "recipe.json").read_bytes() == (prepared / "recipe.json").read_bytes()


def test_a_study_comes_with_its_images_under_one_key(prepared: Path) -> None:
    out = exported(prepared, "shards")
    of_id = {study.study_id: study for study in read_studies(prepared)}
    with tarfile.open(out / "train-00000.tar") as tar:
        for number, record in enumerate(records(out / "train-00000.tar")):
            study = of_id[record["study"]["study_id"]]
            assert record["study"]["report"] == study.report
            for place, (view, stored) in enumerate(zip(record["study"]["views"], study.views)):
                assert view["path"] == f"{number:06}.{place}.png"
                data = tar.extractfile(view["path"]).read()  # type: ignore[union-attr]
                assert data == (prepared / stored.path).read_bytes()
                Image.open(io.BytesIO(data)).verify()
        assert all(not (member.mtime or member.uid or member.uname) for member in tar)


def test_the_same_set_gives_the_same_bytes(prepared: Path) -> None:
    one, other = exported(prepared, "one"), exported(prepared, "other")
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_an_image_that_is_gone_and_no_study_at_all_are_refused(
    prepared: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    next((prepared / "images").glob("*/*.png")).unlink()
    assert main(["export-data", str(prepared), "--to", "shards", "--out", str(prepared.parent / "x")]) == 1
    assert "an image of the set is gone; prepare it again" in capfd.readouterr().err
    assert not (prepared.parent / "x").exists()
    assert main(["export-data", str(prepared), "--to", "shards", "--out", str(prepared), "--shard-studies", "0"]) == 2
