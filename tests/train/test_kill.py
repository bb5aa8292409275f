"""Real processes, really killed: `cxrgen train` under kill -9 at several moments, and under SIGTERM."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tests.train.material import assert_equal

from cxrgen.train.checkpoints import STATE, checkpoints

STEPS = 10  # six are an epoch
Moment = Callable[[Path], bool]


def command(model: Path, data: Path, out: Path) -> list[str]:
    """Adapters with dropout, images read by two workers, views drawn anew each epoch: all that draws lots."""
    words = ("train", "--model_name_or_path", model, "--data_path", data, "--output_dir", out, "--version", "v1")
    words += ("--train_modules", "lora", "--lora_dropout", 0.2, "--view_dropout", 0.5, "--dataloader_num_workers", 2)
    words += ("--per_device_train_batch_size", 4, "--max_steps", STEPS, "--learning_rate", 1e-2, "--save_steps", 3)
    return [sys.executable, "-m", "cxrgen", *map(str, words), "--threads", "1"]


def steps_done(out: Path) -> int:
    log = out / "log.jsonl"
    return log.read_text().count("\n") if log.is_file() else 0


def what_was_learnt(out: Path) -> list[list[float]]:
    """Each step's numbers: equal ones need the same samples in the same order, the same lots and the same weights."""
    names = ("step", "loss", "gradient_norm", "learning_rate", "supervised", "tokens")
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [[line[name] for name in names] for line in lines]


def sent(words: list[str], out: Path, moment: Moment, what: signal.Signals, tries: int = 5) -> int:
    """Run a command and send it a signal at a moment; returns its exit code.

    On a busy machine a short moment can pass unseen. Then the folder is put back as it was, and the command runs again.
    """
    before = out.with_name(f"{out.name} before")
    shutil.rmtree(before, ignore_errors=True)
    if out.exists():
        shutil.copytree(out, before)
    for _ in range(tries):
        code = sent_once(words, out, moment, what)
        if code:
            return code
        shutil.rmtree(out)
        if before.exists():
            shutil.copytree(before, out)
    raise AssertionError(f"in {tries} runs the moment was never seen")


def sent_once(words: list[str], out: Path, moment: Moment, what: signal.Signals) -> int:
    """The process stands still while it is looked whether the moment is still there; 0 where it never was."""
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        deadline = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < deadline:
            if moment(out):
                process.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
                if moment(out):
                    process.send_signal(what)
                    process.send_signal(signal.SIGCONT)
                    break
                process.send_signal(signal.SIGCONT)
            time.sleep(0.001)
        _, said = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode in (0, -what, 128 + what), said
    return process.returncode


def after_step(step: int) -> Moment:
    return lambda out: steps_done(out) == step


def while_writing(step: int) -> Moment:
    """Its files are being written, and the one that makes them a checkpoint is not there yet."""

    def moment(out: Path) -> bool:
        folders = list(out.glob(f".checkpoint-{step}.*.tmp"))
        with contextlib.suppress(FileNotFoundError):  # it has just become a checkpoint
            return any(any(folder.iterdir()) and not (folder / STATE).exists() for folder in folders)
        return False

    return moment


@pytest.mark.slow
def test_kill_9_at_any_moment_changes_nothing(llava: Path, prepared: Path, tmp_path: Path) -> None:
    subprocess.run(command(llava, prepared, tmp_path / "whole"), check=True, capture_output=True)
    out = tmp_path / "run"
    words = command(llava, prepared, out)
    moments = (
        (after_step(2), []),  # before any checkpoint
        (while_writing(6), [3]),  # at an epoch's end
        (after_step(5), [3]),  # between checkpoints, in the second try
        (after_step(8), [3, 6]),  # in the second epoch
    )
    for moment, left in moments:
        assert sent(words, out, moment, signal.SIGKILL) == -signal.SIGKILL
        assert [step for step, _ in checkpoints(out)] == left
        words = [*command(llava, prepared, out), "--resume"]
    subprocess.run(words, check=True, capture_output=True)
    assert what_was_learnt(out) == what_was_learnt(tmp_path / "whole")
    name = "adapter_model.safetensors"
    assert_equal(load_file(out / name), load_file(tmp_path / "whole" / name))


@pytest.mark.slow
def test_sigterm_leaves_with_143(llava: Path, prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert sent(command(llava, prepared, out), out, after_step(4), signal.SIGTERM) == 143
    assert steps_done(out) in (4, 5)  # the step under way is finished
    assert checkpoints(out)[-1][0] == steps_done(out)
