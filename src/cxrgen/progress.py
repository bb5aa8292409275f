"""Progress on stderr: a bar with the time left on a terminal, a plain line every few seconds elsewhere.

Results go to stdout; nothing here ever prints report text.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")
_SECONDS_BETWEEN_LINES = 5.0


def say(message: str) -> None:
    """One line for the person who waits."""
    print(message, file=sys.stderr, flush=True)


def track(items: Iterable[T], stage: str, total: int) -> Iterator[T]:
    """Yield `items`, showing how many of `total` are done and the time left."""
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            yield from bar.track(items, total=total, description=stage)
        return
    start = last = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES and done < total:
            last = now
            say(f"{stage}: {done}/{total}, {(now - start) / done * (total - done):.0f} s left")
    say(f"{stage}: {done}/{total} done in {time.monotonic() - start:.1f} s")
