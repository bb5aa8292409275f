"""Progress on stderr: a bar with the time left on a terminal, a plain line every few seconds elsewhere.

Results go to stdout; nothing here ever prints report text.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
_SECONDS_BETWEEN_LINES = 5.0


def say(message: str) -> None:
    """One line for the person who waits; of several processes under torchrun only the first speaks."""
    if os.environ.get("RANK", "0") == "0":
        print(message, file=sys.stderr, flush=True)


def track(items: Iterable[T], stage: str, total: int, note: Callable[[], str] = str) -> Iterator[T]:
    """Yield `items`, showing how many of `total` are done, the time left, and what `note` says (a loss, say)."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(stage, total=total)
            for item in items:
                yield item
                bar.update(task, advance=1, description=f"{stage} {note()}".strip())
        return
    start = last = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES and done < total:
            last = now
            left = (now - start) / done * (total - done)
            say(f"{stage}: {done}/{total}, {left:.0f} s left {note()}".strip())
    say(f"{stage}: {done}/{total} done in {time.monotonic() - start:.1f} s {note()}".strip())
