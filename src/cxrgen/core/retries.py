"""When to ask a server again, and how long to wait: twice as long each time, or as long as the server says."""

from __future__ import annotations

import time
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass

RETRIED = (408, 425, 429, 500, 502, 503, 504)  # HTTP answers that another try may change


@dataclass(frozen=True)
class RetryPolicy:
    """Retry policy: tries without progress, seconds of the first wait (then doubled), seconds until a timeout."""

    tries: int = 6
    first_wait: float = 1.0
    longest_wait: float = 60.0
    timeout: float = 60.0
    sleep: Callable[[float], None] = time.sleep

    def wait(self, failures: int, asked_for: str | None = None) -> None:
        """Wait before another try; as long as the server asked for, where it did."""
        seconds = self.first_wait * 2 ** (failures - 1)
        if asked_for and asked_for.isdigit():
            seconds = max(seconds, float(asked_for))
        self.sleep(min(seconds, self.longest_wait))


def short(error: Exception) -> str:
    """What went wrong in a few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code}"
    reason = getattr(error, "reason", error)
    return str(reason) or type(error).__name__
