"""Two processes under torchrun, one of them stopped: the other ends the run within seconds and names it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.train.material import TORCHRUN, torchrun

SCRIPT = """
import os, sys, time
from pathlib import Path
from cxrgen.train.distributed import init_processes
from cxrgen.train.watchdog import Watchdog
seconds, folder, steps, busy = float(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
processes = init_processes()
with Watchdog(processes, seconds) as watchdog:
    (folder / f".{processes.rank}").write_text(str(os.getpid()))
    (folder / f".{processes.rank}").rename(folder / f"rank{processes.rank}")
    for step in range(steps):
        if processes.is_main and step == 1:
            with watchdog.busy():
                time.sleep(busy)
        processes.barrier()
        time.sleep(0.05)
processes.shutdown()
"""


def launch(folder: Path, *words: object) -> list[str]:
    script = folder / "two.py"
    script.write_text(SCRIPT)
    return [*TORCHRUN, "--standalone", "--nproc_per_node=2", str(script), *map(str, words)]


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [0, 1])
def test_a_stopped_rank_ends_the_run_and_is_named(tmp_path: Path, stopped: int) -> None:
    ranks, log = [tmp_path / "rank0", tmp_path / "rank1"], tmp_path / "log"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with open(log, "w") as errors:
        run = subprocess.Popen(launch(tmp_path, 5, tmp_path, 10_000, 0), stderr=errors, env=environment)
    try:
        while not all(rank.exists() for rank in ranks):
            assert run.poll() is None, log.read_text()
            time.sleep(0.1)
        pid = int(ranks[stopped].read_text())
        os.kill(pid, signal.SIGSTOP)
        deadline = time.monotonic() + 90
        while "has not answered" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert f"rank {stopped} has not answered for 5 s (stopped, or its machine is gone)" in log.read_text()
        os.kill(pid, signal.SIGKILL)  # torchrun does so itself, after 30 seconds
        assert run.wait(timeout=90) != 0
    finally:
        run.kill()


@pytest.mark.slow
def test_a_busy_rank_is_not_missed(tmp_path: Path) -> None:
    words = launch(tmp_path, 2, tmp_path, 3, 5)
    result = subprocess.run(words, capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_a_run_of_two_processes_ends_in_good_order(prepared: Path, tmp_path: Path) -> None:
    sizes = ("--image_size", 32, "--image_tokens", 2, "--vocabulary", 320, "--layers", 1, "--hidden_size", 32)
    words = ("-m", "cxrgen", "train", "--data_path", prepared, "--output_dir", tmp_path / "run", "--max_steps", 2)
    torchrun(*words, *sizes, "--heads", 2, "--watchdog_seconds", 20)
    assert (tmp_path / "run" / "training.json").is_file()
