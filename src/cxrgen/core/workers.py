"""Worker processes that leave when their parent does.

A parent that is killed cannot tell its workers, and they would wait for it for ever, with their memory and their locks.
So each waits for its parent's end beside its work.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading


def start_worker() -> None:
    """Begin a process of a pool: it ends with its parent, and Ctrl-C is left to the parent, which says how to go on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def end_with_parent() -> None:
    """From now on this process ends at once when the process that started it has ended."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
