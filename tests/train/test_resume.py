"""A run that is broken off and goes on is the run that was never broken off, bit by bit."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.forked import cxrgen
from tests.train.material import Crash, assert_equal, at_step, crash, small, weights, write_prepared

from cxrgen.core.errors import InputError, Interrupted
from cxrgen.core.files import write_json
from cxrgen.core.folders import locked
from cxrgen.core.tables import read_json
from cxrgen.train import checkpoints as module
from cxrgen.train import pipeline
from cxrgen.train import run as command
from cxrgen.train.callbacks import RunCallback
from cxrgen.train.checkpoints import checkpoints
from cxrgen.train.pipeline import train


@pytest.fixture(scope="module")
def unbroken(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    train(small(prepared, out, tower_steps=2, warmup_labels="dataset", text_steps=1, view_dropout=0.5))
    return out


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("step", [1, 3, 6, 7])
def test_a_broken_run_goes_on_bit_by_bit(
    unbroken: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Steps 1 (no checkpoint yet) to 7 (second epoch), with both warm-ups and drawn views."""
    settings = {"tower_steps": 2, "warmup_labels": "dataset", "text_steps": 1, "view_dropout": 0.5}
    with monkeypatch.context() as patch:
        at_step(patch, step, crash)
        with pytest.raises(Crash):
            train(small(prepared, tmp_path / "run", **settings))
    train(small(prepared, tmp_path / "run", **settings, resume=True))
    assert losses(tmp_path / "run") == losses(unbroken)
    assert_equal(weights(tmp_path / "run"), weights(unbroken))


@pytest.mark.parametrize("stem", ["dense", "from before stems had names"])
def test_the_encoder_s_stem_is_that_of_the_broken_run(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stem: str
) -> None:
    settings: dict[str, object] = {"tower_steps": 2, "warmup_labels": "dataset", "max_steps": 4}
    settings |= {"encoder_stem": stem} if stem == "dense" else {}
    with monkeypatch.context() as patch:
        at_step(patch, 3, crash)
        with pytest.raises(Crash):
            train(small(prepared, tmp_path / "run", **settings))
    if stem != "dense":
        state = tmp_path / "run" / "checkpoint-2" / "state.json"
        content = read_json(state)
        del content["fingerprint"]["encoder_stem"]
        write_json(state, content)
    train(small(prepared, tmp_path / "run", **settings, resume=True))
    train(small(prepared, tmp_path / "unbroken", **settings))
    assert_equal(weights(tmp_path / "run"), weights(tmp_path / "unbroken"))
    kept = read_json(tmp_path / "run" / "config.json")["vision_config"]
    assert kept["stem"] == ("dense" if stem == "dense" else "strided")
    if stem == "dense":
        other = {**settings, "encoder_stem": "strided", "resume": True, "max_steps": 5}
        with pytest.raises(InputError, match="encoder_stem was 'dense', is 'strided'"):
            train(small(prepared, tmp_path / "run", **other))


def test_loader_workers_change_nothing(unbroken: Path, prepared: Path, tmp_path: Path) -> None:
    settings = {"tower_steps": 2, "warmup_labels": "dataset", "text_steps": 1, "view_dropout": 0.5}
    train(small(prepared, tmp_path / "run", **settings, dataloader_num_workers=2))
    assert losses(tmp_path / "run") == losses(unbroken)


@pytest.mark.slow
def test_kill_9_while_a_checkpoint_is_written(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    write = module.write_gathered

    def killed(path: Path, tensors: Any) -> None:
        write(path, tensors)
        if re.search(r"checkpoint-6\.\d+\.tmp/optimizer", str(path)):
            os.truncate(path, 1000)
            os.kill(os.getpid(), signal.SIGKILL)

    config = small(prepared, out, dataloader_num_workers=2, lora_dropout=0.0)
    with monkeypatch.context() as patch:
        patch.setattr(command, "resolve", lambda options: config)
        patch.setattr(module, "write_gathered", killed)
        cxrgen("train", code=-signal.SIGKILL)
    assert [step for step, _ in checkpoints(out)] == [2, 4]
    assert list(out.glob(".checkpoint-6.*.tmp"))
    train(small(prepared, out, lora_dropout=0.0, resume=True))
    train(small(prepared, tmp_path / "whole", lora_dropout=0.0))
    assert not list(out.glob(".checkpoint*"))
    assert losses(out) == losses(tmp_path / "whole")
    assert_equal(weights(out), weights(tmp_path / "whole"))


def test_sigterm_finishes_the_step_saves_and_leaves_with_143(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        at_step(patch, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted, match="after step 3") as caught:
            train(small(prepared, out))
    assert caught.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert [step for step, _ in checkpoints(out)] == [2, 3]
    train(small(prepared, out, resume=True))
    train(small(prepared, tmp_path / "whole"))
    assert_equal(weights(out), weights(tmp_path / "whole"))


def test_only_the_last_checkpoints_stay(unbroken: Path) -> None:
    assert [step for step, _ in checkpoints(unbroken)] == [6, 8]


def test_an_earlier_run_is_never_overwritten_by_accident(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        at_step(patch, 3, crash)
        with pytest.raises(Crash):
            train(small(prepared, out))
    with pytest.raises(InputError, match="holds checkpoint-2 of an earlier run; --resume continues from it"):
        train(small(prepared, out))
    with pytest.raises(InputError, match=r"learning_rate was 0\.01, is 0\.02"):
        train(small(prepared, out, learning_rate=0.02, resume=True))
    other = write_prepared(tmp_path / "other", train=25)
    with pytest.raises(InputError, match="data sha256 was"):
        train(small(other, out, resume=True))
    train(small(prepared, out, max_steps=2, overwrite_output_dir=True))
    assert len(losses(out)) == 2


def change(file: Path, byte: int = -1) -> None:
    """Another byte; size and time stay."""
    stat = file.stat()
    data = bytearray(file.read_bytes())
    data[byte] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("what", ["image", "lost image", "start", "start config", "no start"])
def test_no_run_continues_over_what_has_changed(tmp_path: Path, what: str) -> None:
    data, out = write_prepared(tmp_path / "data"), tmp_path / "run"
    settings = {"tower_steps": 1, "warmup_labels": "dataset", "max_steps": 2, "max_rejects": 0.5}
    train(small(data, out, **settings))
    image = data / "images" / "0003-lateral.png"
    message = r"the image of line \d+ in images\.sha256 changed since the run began; restore the files"
    if what == "image":
        change(image)
    elif what == "lost image":
        image.unlink()
        message = "changed since the run began"
    else:
        message = "start sha256 was"
        if what == "no start":
            shutil.rmtree(out / "start")
        else:
            change(out / "start" / ("config.json" if "config" in what else "model.safetensors"))
    with pytest.raises(InputError, match=message):
        train(small(data, out, **settings, resume=True))


def test_identity_is_content_and_no_name(llava: Path, prepared: Path, tmp_path: Path) -> None:
    """Copies of data and model elsewhere are the same run; other bytes in the same place are not."""
    model, data, out = tmp_path / "model", tmp_path / "data", tmp_path / "run"
    shutil.copytree(llava, model)
    settings = {"version": "v1", "train_modules": "projector", "max_steps": 2}
    train(small(prepared, out, **settings, model_name_or_path=str(model)))
    shutil.copytree(prepared, data)
    shutil.copytree(model, tmp_path / "copy")
    train(small(data, out, **settings, model_name_or_path=str(tmp_path / "copy"), resume=True))
    change(model / "tokenizer.json", byte=-3)
    with pytest.raises(InputError, match="model_name_or_path sha256 was"):
        train(small(data, out, **settings, model_name_or_path=str(model), resume=True))


def test_a_checkpoint_of_an_earlier_version_continues(prepared: Path, tmp_path: Path) -> None:
    """It has `told` and `more`, and no hashes of images."""
    out = tmp_path / "run"
    train(small(prepared, out, max_steps=2))
    file = out / "checkpoint-2" / "state.json"
    state = json.loads(file.read_text())
    told = {
        name: value for name, value in state.pop("fingerprint").items() if name not in ("images sha256", "start sha256")
    }
    file.write_text(json.dumps({**state, "told": told, "more": state.pop("remembered")}))
    (out / "images.sha256").unlink()
    train(small(prepared, out, max_steps=2, resume=True))
    told["seed"] = 7
    file.write_text(json.dumps({**state, "told": told, "more": {}}))
    with pytest.raises(InputError, match="seed was 7, is 42"):
        train(small(prepared, out, max_steps=2, resume=True))


def test_a_finished_run_without_checkpoints_stays_too(prepared: Path, tmp_path: Path) -> None:
    settings = {"max_steps": 1, "save_strategy": "no"}
    train(small(prepared, tmp_path / "run", **settings))
    for more in ({}, {"resume": True}):
        with pytest.raises(InputError, match="holds a finished run, without checkpoints"):
            train(small(prepared, tmp_path / "run", **settings, **more))
    train(small(prepared, tmp_path / "run", **settings, overwrite_output_dir=True))


def test_a_checkpoint_by_its_name(unbroken: Path, prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = {"tower_steps": 2, "warmup_labels": "dataset", "text_steps": 1, "view_dropout": 0.5}
    shutil.copytree(unbroken, out)
    assert [step for step, _ in checkpoints(out)] == [6, 8]
    for named, message in (
        (tmp_path, r"no checkpoint \(no state\.json there\)"),
        (out / "checkpoint-7", "no checkpoint"),
        (unbroken / "checkpoint-6", f"of another run; .* --output_dir {unbroken}"),
        (out / "checkpoint-6", "checkpoint-8 of .* comes after it"),
    ):
        with pytest.raises(InputError, match=message):
            train(small(prepared, out, **settings, resume=str(named)))
    (out / "log.jsonl").write_text("".join((out / "log.jsonl").read_text().splitlines(keepends=True)[:7]))
    train(small(prepared, out, **settings, resume=str(out / "checkpoint-6"), overwrite_output_dir=True))
    assert losses(out) == losses(unbroken)
    assert_equal(weights(out), weights(unbroken))


def test_a_damaged_checkpoint_is_named(prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(small(prepared, out, max_steps=4))
    file = out / "checkpoint-4" / "trained.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"checkpoint-4/trained\.safetensors: damaged .* remove checkpoint-4"):
        train(small(prepared, out, max_steps=4, resume=True))


def test_a_fork_does_not_hold_the_folder(tmp_path: Path) -> None:
    """A loader worker may outlive a killed run by seconds; --resume does not wait for it."""
    ready, tell = os.pipe()
    with locked(tmp_path / "run"):
        worker = os.fork()
        if not worker:
            os.write(tell, b"!")
            time.sleep(60)
            os._exit(0)
        os.read(ready, 1)
    try:
        with locked(tmp_path / "run"):
            assert os.waitpid(worker, os.WNOHANG) == (0, 0)
    finally:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)


def test_two_runs_on_one_folder(prepared: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "run"), pytest.raises(InputError, match="another run is writing there"):
        train(small(prepared, tmp_path / "run"))


def limited(function: Callable[..., Any], size: int) -> Callable[..., Any]:
    """The function on a disk that is full: a limit on file size fails a write in the same way."""

    def inner(*given: Any, **named: Any) -> Any:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        return function(*given, **named)

    return inner


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [("write_recipe", 100), ("train_on_images", 100), ("save_model", 20_000), ("save_model", 1_500)],
)
def test_no_room_is_one_line_wherever_it_is_met(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: int
) -> None:
    """The recipe, the log, the weights, the tokenizer."""
    config = small(prepared, tmp_path / "run", max_steps=2, save_strategy="no")
    monkeypatch.setattr(command, "resolve", lambda options: config)
    monkeypatch.setattr(pipeline, name, limited(getattr(pipeline, name), size))
    result = cxrgen("train", code=1)
    assert "Traceback" not in result.stderr
    assert "cannot be written" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.slow
def test_a_full_disk_leaves_the_checkpoint_before(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, full = RunCallback._save, limited(RunCallback._save, 20_000)
    config = small(prepared, tmp_path / "run")
    monkeypatch.setattr(command, "resolve", lambda options: config)
    monkeypatch.setattr(RunCallback, "_save", lambda self, state: (full if state.step == 4 else save)(self, state))
    result = cxrgen("train", code=1)
    assert "checkpoint-4: cannot be written, checkpoint-2 stands" in result.stderr.splitlines()[-1]
    assert [path.name for path in (tmp_path / "run").glob("*checkpoint*")] == ["checkpoint-2"]


def test_a_loss_that_is_no_number_writes_no_checkpoint(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with pytest.raises(InputError, match=r"step \d: the (loss|gradient's norm) is .*this step's studies") as error:
        train(small(prepared, out, learning_rate=1e30, max_grad_norm=1e30, save_steps=1))
    assert re.search(r"00\d\d, 00\d\d", error.value.detail)
    assert all(step < 8 for step, _ in checkpoints(out))


def test_a_image_that_vanishes_stops_the_run_with_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_prepared(tmp_path / "data")
    image = next(iter((data / "images").glob("*")))

    def vanish() -> None:
        for path in (data / "images").glob("*"):
            path.rename(path.with_suffix(".away"))

    with monkeypatch.context() as patch:
        at_step(patch, 3, vanish)
        with pytest.raises(InputError, match=r"step 4: .*no such image"):
            train(small(data, tmp_path / "run"))
    assert [step for step, _ in checkpoints(tmp_path / "run")] == [2, 3]
    for path in (data / "images").glob("*"):
        path.rename(path.with_suffix(".png"))
    assert image.is_file()
    train(small(data, tmp_path / "run", resume=True))
    assert len(losses(tmp_path / "run")) == 8
