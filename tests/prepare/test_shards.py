"""`export-data --to shards`: every usable study once, readable as WebDataset or Parquet, the same bytes each time."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from cxrgen.cli import main
from cxrgen.core.records import read_studies

Prepare = Callable[..., tuple[int, str]]


@pytest.fixture
def prepared(course: Path, tmp_path: Path, prepare: Prepare) -> Path:
    assert prepare(course, "--out", tmp_path / "prepared")[0] == 0
    return tmp_path / "prepared"


@pytest.fixture(params=["tar", "parquet"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def exported(prepared: Path, name: str, kind: str, *words: str) -> Path:
    out = prepared.parent / name
    words = ("--to", "shards", "--shard-format", kind, "--out", str(out), *words)
    assert main(["export-data", str(prepared), *words]) == 0
    return out


def members(shard: Path) -> dict[str, bytes]:
    """What lies in a shard, by name."""
    if shard.suffix == ".tar":
        with tarfile.open(shard) as tar:
            return {name: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]
    found: dict[str, bytes] = {}
    for number, row in enumerate(pq.read_table(shard).to_pylist()):
        found[f"{number:06}.json"] = row["json"].encode()
        found |= {image["path"]: image["bytes"] for image in row["images"]}
    return found


def records(shard: Path) -> list[dict[str, Any]]:
    return [json.loads(data) for name, data in members(shard).items() if name.endswith(".json")]


def test_every_study_with_a_report_is_in_one_shard(prepared: Path, kind: str) -> None:
    out = exported(prepared, "shards", kind, "--shard-studies", "2")
    listed = json.loads((out / "shards.json").read_text())["shards"]
    assert [(each["name"], each["studies"]) for each in listed] == [
        (f"train-00000.{kind}", 2), (f"train-00001.{kind}", 1), (f"valid-00000.{kind}", 1),
    ]  # fmt: skip
    ids = sorted(each["study"]["study_id"] for shard in listed for each in records(out / shard["name"]))
    assert ids == ["0001", "0002", "0003", "0004"], "test studies have no report here"
    for shard in listed:
        file = out / shard["name"]
        assert (file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest()) == (shard["bytes"], shard["sha256"])
        assert file.stat().st_mode & 0o077 == 0
    assert (out / "recipe.json").read_bytes() == (prepared / "recipe.json").read_bytes()


def test_a_study_comes_with_its_images_under_one_key(prepared: Path, kind: str) -> None:
    shard = exported(prepared, "shards", kind) / f"train-00000.{kind}"
    of_id = {study.study_id: study for study in read_studies(prepared)}
    found = members(shard)
    for number, record in enumerate(records(shard)):
        study = of_id[record["study"]["study_id"]]
        assert record["study"]["report"] == study.report
        for place, (view, stored) in enumerate(zip(record["study"]["views"], study.views)):
            assert view["path"] == f"{number:06}.{place}.png"
            assert found[view["path"]] == (prepared / stored.path).read_bytes()
            Image.open(io.BytesIO(found[view["path"]])).verify()


def test_a_tar_names_no_owner_and_no_time(prepared: Path) -> None:
    with tarfile.open(exported(prepared, "shards", "tar") / "train-00000.tar") as tar:
        assert all(not (member.mtime or member.uid or member.uname) for member in tar)


def test_a_parquet_shard_is_read_a_study_at_a_time(prepared: Path) -> None:
    file = pq.ParquetFile(exported(prepared, "shards", "parquet") / "train-00000.parquet")
    assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == [1, 1, 1]
    assert not file.metadata.row_group(0).column(0).is_stats_set, "no report stands in the footer"


def test_both_kinds_hold_the_same(prepared: Path) -> None:
    tar, parquet = (exported(prepared, kind, kind) / f"train-00000.{kind}" for kind in ("tar", "parquet"))
    assert members(tar) == members(parquet)


def test_the_same_set_gives_the_same_bytes(prepared: Path, kind: str) -> None:
    one, other = exported(prepared, "one", kind), exported(prepared, "other", kind)
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_an_image_that_is_gone_and_no_study_at_all_are_refused(
    prepared: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    next((prepared / "images").glob("*/*.png")).unlink()
    words = ["--to", "shards", "--shard-format", kind, "--out", str(prepared.parent / "x")]
    assert main(["export-data", str(prepared), *words]) == 1
    assert "cannot be read (No such file or directory); prepare the set again" in capfd.readouterr().err
    assert not (prepared.parent / "x").exists()
    assert main(["export-data", str(prepared), "--to", "shards", "--out", str(prepared), "--shard-studies", "0"]) == 2
    assert main(["export-data", str(prepared), "--to", "shards", "--out", "x", "--context", "none"]) == 2
    assert "give --context to `cxrgen train`" in capfd.readouterr().err
