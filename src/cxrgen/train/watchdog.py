"""Ends a run of several processes when one of them no longer answers, and says which.

A stopped process, or one whose machine is gone, leaves the others waiting in a collective call for the process group's
whole timeout, and the error then names nobody. So a thread of each process counts up a key in the store of torchrun and
reads those of the others. A process that writes a checkpoint may hold the interpreter for long: it says so first, and
is not missed meanwhile.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from torch.distributed import DistError, PrefixStore, TCPStore  # type: ignore[attr-defined]

from cxrgen.train.distributed import Processes

_BEATS = 12  # heartbeats within the time after which a process is missed
_BUSY = "busy"


class Watchdog:
    """Heartbeats of this process, and an eye on those of the others; `seconds` 0 does nothing."""

    def __init__(self, processes: Processes, seconds: float) -> None:
        self._processes, self._seconds = processes, seconds
        self._stopped, self._busy = threading.Event(), False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Watchdog:
        if self._processes.count > 1 and self._seconds > 0:
            store = _own_store(self._seconds)
            store.set(_key(self._processes.rank), "0")
            self._processes.barrier()  # every key is there
            self._thread = threading.Thread(target=self._run, args=(store,), daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    @contextmanager
    def busy(self) -> Iterator[None]:
        """This process may be silent for long meanwhile."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def _run(self, store: PrefixStore) -> None:
        ranks = [rank for rank in range(self._processes.count) if rank != self._processes.rank]
        heard = {rank: (b"", time.monotonic()) for rank in ranks}
        beat, last_look = 0, time.monotonic()
        while not self._stopped.wait(self._seconds / _BEATS):
            beat += 1
            now = time.monotonic()
            if now - last_look > self._seconds / 2:  # this process was stopped itself: give the others time
                heard = {rank: (value, now) for rank, (value, _) in heard.items()}
            last_look = now
            try:
                store.set(_key(self._processes.rank), f"{_BUSY if self._busy else ''}{beat}")
                for rank in ranks:
                    value = store.get(_key(rank))
                    if value != heard[rank][0] or value.startswith(_BUSY.encode()):
                        heard[rank] = (value, now)
            except (RuntimeError, DistError):  # torchrun has ended, and ends this process too
                return
            silent = [rank for rank, (_, when) in heard.items() if now - when > self._seconds]
            if silent:
                _end(silent, self._processes, self._seconds)


def _own_store(seconds: float) -> PrefixStore:
    """A connection of its own to the store that the processes met at, so that no other call keeps it waiting."""
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(host, port, is_master=False, timeout=timedelta(seconds=seconds))
    return PrefixStore("cxrgen-watchdog", store)


def _key(rank: int) -> str:
    return f"heartbeat/{rank}"


def _end(silent: list[int], processes: Processes, seconds: float) -> None:
    """Ends this process at once; the main thread waits in a call that cannot be interrupted."""
    alive = [rank for rank in range(processes.count) if rank not in silent]
    if processes.rank == alive[0]:
        names = ", ".join(map(str, silent))
        print(
            f"cxrgen train: rank {names} has not answered for {seconds:g} s (stopped, or its machine is gone); the run "
            "ends, --resume continues from the last checkpoint",
            file=sys.stderr,
            flush=True,
        )
    os._exit(1)
