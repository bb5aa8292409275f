"""N-gram drafts for speculative decoding: tokens that a report is likely to go on with, read off the training reports.

Reports repeat each other. The last few written tokens are looked up among the training reports, the longest match
first, and the token that followed there most often is proposed. The model then checks several tokens in one call, which
costs little more than one token does while few rows are being written: a small batch waits for the weights to come from
memory, not for arithmetic. With many rows the arithmetic counts, so fewer tokens are proposed, and then none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

_LONGEST, _SHORTEST = 5, 2  # tokens that are looked up
MOST_REPORTS = 20_000  # more make the table large and the proposals no better
MOST_ROWS = 8  # written at a time; with more, speculation costs more than it saves
_CHECKED = 8  # tokens checked in a call, over all rows


class NgramTable:
    """The token after every run of 2 to 5 tokens in the training reports, counted when a run is first looked up."""

    def __init__(self, reports: Iterable[Sequence[int]]) -> None:
        self.following: dict[tuple[int, ...], list[int]] = {}  # what came after a run, each time
        self.likeliest: dict[tuple[int, ...], int] = {}
        for report in reports:
            for end in range(_SHORTEST, len(report)):
                for size in range(_SHORTEST, min(_LONGEST, end) + 1):
                    self.following.setdefault(tuple(report[end - size : end]), []).append(report[end])

    def propose(self, answer: Sequence[int], most: int) -> list[int]:
        """Up to `most` tokens that may follow `answer`."""
        written = list(answer[-_LONGEST:])
        proposed: list[int] = []
        while len(proposed) < most:
            runs = (tuple(written[-size:]) for size in range(min(_LONGEST, len(written)), _SHORTEST - 1, -1))
            run = next((run for run in runs if run in self.following), None)
            if run is None:
                break
            if run not in self.likeliest:
                counts = Counter(self.following[run])
                # Of equally frequent tokens the smallest, so that the order of the reports does not matter.
                self.likeliest[run] = min(counts, key=lambda token: (-counts[token], token))
            proposed.append(self.likeliest[run])
            written.append(self.likeliest[run])
        return proposed


def tokens_to_propose(active: int) -> int:
    """How many tokens are proposed for each of `active` rows."""
    return _CHECKED // active - 1 if active < MOST_ROWS else 0
