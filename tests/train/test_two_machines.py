"""Two torchruns as on two machines: a process of one is killed, both are started again, and the result is equal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.forked import cxrgen
from tests.train.material import TORCHRUN, assert_equal, small, weights

from cxrgen.core.errors import InputError
from cxrgen.train.checkpoints import checkpoints
from cxrgen.train.distributed import Processes
from cxrgen.train.pipeline import train
from cxrgen.train.resume import resume_point

STEPS, SAVE = 80, 10


class OtherSees(Processes):
    """The first of two processes, the other of which sees no checkpoint."""

    def all_gather(self, value: Any) -> list[Any]:
        return [value, "no checkpoint"]


def test_machines_with_different_checkpoints_are_refused(prepared: Path, tmp_path: Path) -> None:
    config = small(prepared, tmp_path / "run", max_steps=2)
    train(config)
    resumed = small(prepared, tmp_path / "run", max_steps=2, resume=True)
    with pytest.raises(InputError, match="process 0 has checkpoint-2, process 1 no checkpoint; share the folder"):
        resume_point(resumed.checkpoint, {}, None, OtherSees(0, 2, torch.device("cpu")))  # type: ignore[arg-type]


def arguments(llava: Path, data: Path, out: Path) -> list[str]:
    words = ("-m", "cxrgen", "train", "--model_name_or_path", llava, "--data_path", data, "--output_dir", out)
    words += ("--version", "v1", "--max_steps", STEPS, "--save_steps", SAVE, "--per_device_train_batch_size", 2)
    return [str(word) for word in (*words, "--learning_rate", "1e-3", "--watchdog_seconds", 10, "--resume")]


def machines(words: list[str]) -> list[subprocess.Popen[str]]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    launch = [*TORCHRUN, "--nnodes=2", "--nproc_per_node=1", "--master_addr=127.0.0.1", f"--master_port={port}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    how: dict[str, Any] = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return [subprocess.Popen([*launch, f"--node_rank={rank}", *words], **how) for rank in range(2)]


def child_of(process: subprocess.Popen[str]) -> int:
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for torchrun's processes in /proc")
def test_a_killed_process_and_the_same_result(llava: Path, prepared: Path, tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    cxrgen(*arguments(llava, prepared, whole)[2:], processes=2)
    both = machines(arguments(llava, prepared, run))
    deadline = time.monotonic() + 120
    while not checkpoints(run) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child_of(both[1]), signal.SIGKILL)
    assert all(process.wait(timeout=60) != 0 for process in both)
    left = checkpoints(run)[-1][0]
    assert left < STEPS
    for process in (again := machines(arguments(llava, prepared, run))):
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        assert f"resuming after step {left}" in said or process is again[1]
    assert_equal(weights(run), weights(whole))
