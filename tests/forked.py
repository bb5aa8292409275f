"""Commands in processes of their own: forks of the test's process, which has imported torch already.

Importing it takes most of the time of a small run. Streams, limits, signals and environment are each process's own;
several processes find each other by the variables that torchrun would set.
"""

from __future__ import annotations

import functools
import io
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from cxrgen.cli import main

SECONDS = 300


def unchanged() -> None:
    """What a fork changes before its command, where it changes nothing."""


def cxrgen(*words: object, code: int | None = 0, processes: int = 1) -> subprocess.CompletedProcess[str]:
    """A command's exit code and what it printed; of several processes the first code that is not 0, and all output."""
    command = [str(word) for word in words]
    streams: list[int] = []
    children = []
    for variables in ranks(processes) if processes > 1 else [{}]:
        (from_out, out), (from_err, err) = os.pipe(), os.pipe()
        children.append(start(command, out, err, functools.partial(os.environ.update, variables)))
        os.close(out)
        os.close(err)
        streams += [from_out, from_err]
    with ThreadPoolExecutor(len(streams)) as pool:  # read at once, for a full pipe stops its writer
        texts = pool.map(read, streams)
        found = exit_code(children)
        printed = list(texts)
    said = "".join(printed[1::2])
    assert code is None or found == code, said
    return subprocess.CompletedProcess(command, found, "".join(printed[::2]), said)


def read(descriptor: int) -> str:
    with open(descriptor, encoding="utf-8") as file:
        return file.read()


def ranks(count: int) -> list[dict[str, str]]:
    """The environment of each of several processes on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def start(
    words: Sequence[str], out: int, err: int, change: Callable[[], object] = unchanged, encoding: str = "utf-8"
) -> int:
    """A command in a fork, after `change`, its streams being these descriptors; returns the fork's process number."""
    child = os.fork()
    if child:
        return child
    code = 97
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), encoding=encoding)
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), encoding=encoding, line_buffering=True)
        torch.set_num_threads(1)
        change()
        code = main(list(words))
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(code)


def exit_code(children: Sequence[int]) -> int:
    """The first exit code that is not 0; the other processes are ended then, as torchrun ends them."""
    left, found, deadline = set(children), 0, time.monotonic() + SECONDS
    while left:
        for child in list(left):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                left.remove(child)
                found = found or os.waitstatus_to_exitcode(status)
        if found or time.monotonic() > deadline:
            for child in left:
                os.kill(child, signal.SIGKILL)
            found = found or 99
        time.sleep(0.01)
    return found
