"""`--streaming`: what a run over shards sees, with any number of processes and after a resume; damaged shards."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tests.forked import cxrgen
from tests.tiny_models import gemma3
from tests.train.material import (
    Crash,
    assert_close,
    assert_equal,
    at_step,
    crash,
    opened,
    small,
    weights,
    write_prepared,
)

from cxrgen.cli import main
from cxrgen.core.errors import InputError, TooManyRejects, UsageError
from cxrgen.core.files import sha256_file
from cxrgen.core.records import read_studies, write_studies
from cxrgen.train.config import DataConfig
from cxrgen.train.data import SamplerConfig
from cxrgen.train.pipeline import train
from cxrgen.train.preflight import check_run
from cxrgen.train.shards import read_shards
from cxrgen.train.streaming import Stream


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prepared(tmp_path_factory.mktemp("sharded") / "prepared")


def export(prepared: Path, kind: str, shard_studies: int = 1000) -> Path:
    """The set as shards of a kind, beside it."""
    out = prepared.parent / kind
    words = ["--shard-format", kind, "--shard-studies", str(shard_studies), "--out", str(out)]
    assert main(["export-data", str(prepared), "--to", "shards", *words]) == 0
    return out


@pytest.fixture(scope="module", params=["tar", "parquet"])
def shards(request: pytest.FixtureRequest, prepared: Path) -> Path:
    return export(prepared, request.param, 5)


@pytest.fixture(scope="module")
def checkpoint(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return opened(small(prepared, tmp_path_factory.mktemp("run"), vocabulary=320))


def stream_of(checkpoint: Any, shards: Path, scratch: Path, **more: Any) -> Stream:
    return Stream(checkpoint, DataConfig(data_path=str(shards), streaming=True, **more), scratch)


def seen(stream: Stream, sampler: SamplerConfig, micro: int, *where: int) -> list[list[str]]:
    batches = islice(stream.micro_batches(sampler, *where), micro)
    return [[sample.id for sample in batch] for batch in batches]


# --- what is shown ---


def test_an_epoch_shows_every_study_once(checkpoint: Any, shards: Path, tmp_path: Path) -> None:
    stream = stream_of(checkpoint, shards, tmp_path, streaming_window=8)
    steps = seen(stream, SamplerConfig(4, seed=1), 12)
    first, second = (Counter(name for step in half for name in step) for half in (steps[:6], steps[6:]))
    assert set(first) == set(second) == {f"{number:04}" for number in range(24)}
    assert set(first.values()) == set(second.values()) == {1}
    assert steps[:6] != steps[6:]
    assert steps != seen(stream_of(checkpoint, shards, tmp_path, streaming_window=8), SamplerConfig(4, seed=2), 12)


@pytest.mark.parametrize("first", [0, 1, 5, 6, 10])
def test_a_resumed_run_sees_what_the_unbroken_one_saw(
    checkpoint: Any, shards: Path, tmp_path: Path, first: int
) -> None:
    """In the middle of a window, at its end, and in the second epoch; windows of two steps, then of one."""
    for window in (8, 3):
        sampler = SamplerConfig(4, seed=1, view_dropout=0.5)
        whole = seen(stream_of(checkpoint, shards, tmp_path / "a", streaming_window=window), sampler, 14)
        rest = seen(stream_of(checkpoint, shards, tmp_path / "b", streaming_window=window), sampler, 4, 0, 1, first)
        assert rest == whole[first : first + 4]


def test_two_processes_see_the_batches_of_one(checkpoint: Any, shards: Path, tmp_path: Path) -> None:
    alone = seen(stream_of(checkpoint, shards, tmp_path / "a", streaming_window=8), SamplerConfig(4, 2, 1), 24)
    halves = [
        seen(
            stream_of(checkpoint, shards, tmp_path / str(rank), streaming_window=8), SamplerConfig(4, 1, 1), 12, rank, 2
        )
        for rank in range(2)
    ]
    assert [piece for pair in zip(*halves) for piece in pair] == alone


def test_only_images_of_the_present_windows_are_unpacked(checkpoint: Any, shards: Path, tmp_path: Path) -> None:
    stream = stream_of(checkpoint, shards, tmp_path, streaming_window=4)
    for count, batch in enumerate(islice(stream.micro_batches(SamplerConfig(4, seed=1)), 30)):
        assert all((tmp_path / image).is_file() for sample in batch for image in sample.images)
        assert len(list(tmp_path.iterdir())) <= 3, count


def test_both_kinds_show_the_studies_of_the_folder(checkpoint: Any, tmp_path: Path) -> None:
    """The same batches of the same images; their bytes, and so their pixels, are the prepared set's."""
    prepared = write_prepared(tmp_path / "prepared", train=6, valid=0)
    stored = {
        study.study_id: [(prepared / view.path).read_bytes() for view in study.views]
        for study in read_studies(prepared)
    }
    shown = {}
    for kind in ("tar", "parquet"):
        stream = stream_of(checkpoint, export(prepared, kind, 4), tmp_path / "scratch" / kind)
        samples = [sample for batch in islice(stream.micro_batches(SamplerConfig(2, seed=1)), 3) for sample in batch]
        shown[kind] = [
            (each.id, each.input_ids, [(stream.scratch / name).read_bytes() for name in each.images])
            for each in samples
        ]
    assert shown["tar"] == shown["parquet"]
    assert {name: images for name, _, images in shown["parquet"]} == stored


# --- shards that cannot be used ---


@pytest.fixture
def copied(shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shards, tmp_path / "copied"))


def test_a_shard_that_is_cut_or_missing_is_named_before_training(copied: Path) -> None:
    shard = next(copied.glob("train-00001.*"))
    content = shard.read_bytes()
    shard.write_bytes(content[:-512])
    with pytest.raises(InputError, match=rf"{shard.name}: missing, or not as long as shards\.json says"):
        read_shards(copied, "train")
    for damaged in (bytes(len(content)), b"\xff" * len(content), content[512:] + content[:512]):
        shard.write_bytes(damaged)
        with pytest.raises(InputError, match=rf"{shard.name}: (no whole|an empty) .*; copy or export it again"):
            read_shards(copied, "train")
    shard.unlink()
    with pytest.raises(InputError, match="no shard of split test"):
        read_shards(copied, "test")
    (copied / "shards.json").write_text("{}")
    with pytest.raises(InputError, match="not of this version's form"):
        read_shards(copied, "train")


def test_a_record_that_changed_is_found_when_it_is_read(checkpoint: Any, copied: Path, tmp_path: Path) -> None:
    for shard in copied.glob("train-*"):
        shard.write_bytes(shard.read_bytes().replace(b'"study_id"', b'"study_ix"'))
    with pytest.raises(InputError, match=r"train-0000\d\.\w+: .*; (copy or )?export (it|the shard) again"):
        seen(stream_of(checkpoint, copied, tmp_path / "scratch"), SamplerConfig(4), 1)


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_an_image_that_changed_is_found_when_it_is_read(checkpoint: Any, tmp_path: Path, kind: str) -> None:
    prepared = write_prepared(tmp_path / "prepared", train=4, valid=0)
    studies = read_studies(prepared)
    with_hashes = [
        replace(
            study,
            views=tuple(replace(view, sha256=sha256_file(prepared / view.path)) for view in study.views),
        )
        for study in studies
    ]
    write_studies(prepared / "studies.parquet", with_hashes)
    shard = export(prepared, kind) / f"train-00000.{kind}"
    assert seen(stream_of(checkpoint, shard.parent, tmp_path / "good"), SamplerConfig(4), 1)
    shard.write_bytes(shard.read_bytes().replace(b"IDAT", b"IDAX"))
    with pytest.raises(InputError, match=rf"{shard.name}: (the image \d+\.0\.png has changed|no whole Parquet file)"):
        seen(stream_of(checkpoint, shard.parent, tmp_path / "bad"), SamplerConfig(4), 1)


def test_studies_that_do_not_fit_are_counted_against_the_limit(checkpoint: Any, shards: Path, tmp_path: Path) -> None:
    short = replace(checkpoint, format=replace(checkpoint.format, max_length=24))
    with pytest.raises((TooManyRejects, InputError), match=r"cannot be used|left out"):
        seen(stream_of(short, shards, tmp_path, long="drop"), SamplerConfig(4), 6)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "a folder of shards; add --streaming"),
        ({"streaming": True, "tower_steps": 2, "warmup_labels": "rule"}, "--tower_steps needs the whole set"),
        ({"streaming": True, "text_steps": 2, "cache_features": True}, "--text_steps, --cache_features need the whole"),
        ({"streaming": True, "context": "prior-images"}, "prior-images needs the whole set"),
        ({"streaming": True, "eval_strategy": "steps"}, "needs --eval_data_path"),
    ],
)
def test_what_needs_the_whole_set_is_refused(settings: dict[str, Any], said: str, shards: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        check_run(small(shards, tmp_path / "run", **settings))


def test_a_prepared_folder_is_not_streamed(shards: Path, prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cxrgen export-data PREPARED --to shards"):
        check_run(small(prepared, tmp_path / "run", streaming=True))
    assert main(["plan", "--data_path", str(shards), "--streaming"]) == 2


# --- runs ---

SETTINGS: dict[str, Any] = {"streaming": True, "streaming_window": 8, "view_dropout": 0.5}


@pytest.fixture(scope="module")
def unbroken(shards: Path, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    valid = {"eval_strategy": "steps", "eval_steps": 4, "eval_data_path": str(prepared)}
    train(small(shards, out, **SETTINGS, **valid, eval_studies=2, eval_reports=False))
    return out


def test_a_run_over_shards_learns_and_leaves_no_image_behind(unbroken: Path) -> None:
    losses = [json.loads(line).get("loss") for line in (unbroken / "log.jsonl").read_text().splitlines()]
    steps = [loss for loss in losses if loss is not None]
    assert len(steps) == 8
    assert steps[-1] < steps[0]
    assert not list(unbroken.glob(".images*"))
    assert json.loads((unbroken / "training.json").read_text())["counts"]["samples"] == 24


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_run_goes_on_bit_by_bit(
    unbroken: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    with monkeypatch.context() as patched:
        at_step(patched, 5, crash)
        with pytest.raises(Crash):
            train(small(shards, tmp_path / "run", **SETTINGS))
    assert not list((tmp_path / "run").glob(".images*"))
    train(small(shards, tmp_path / "run", **SETTINGS, resume=True, dataloader_num_workers=workers))
    assert_equal(weights(tmp_path / "run"), weights(unbroken))


def test_a_checkpoint_of_such_a_run_becomes_a_model(unbroken: Path, tmp_path: Path) -> None:
    assert main(["export", str(unbroken), "--step", "last", "--out", str(tmp_path / "model")]) == 0
    assert_equal(weights(tmp_path / "model"), weights(unbroken))


def test_a_model_with_its_own_processor_gets_images_when_its_samples_are_made(shards: Path, tmp_path: Path) -> None:
    """Its tokens depend on the sizes of images, so a window's images are unpacked before."""
    model = gemma3(tmp_path / "gemma")
    losses = train(small(shards, tmp_path / "run", **SETTINGS, model_name_or_path=str(model), max_steps=3))
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_two_processes_train_what_one_does(unbroken: Path, tmp_path: Path) -> None:
    words = ["train", unbroken / "recipe.yaml", "--output_dir", tmp_path / "run", "--eval_strategy", "no"]
    words += ["--per_device_train_batch_size", 2]
    cxrgen(*words, processes=2)
    assert_close(weights(tmp_path / "run"), weights(unbroken), within=1e-3)
