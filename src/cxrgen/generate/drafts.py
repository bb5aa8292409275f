"""Tokens that a report is likely to go on with, read off the training reports.

Reports repeat each other. The last few written tokens are looked up among all training reports, the longest match
first, and what followed there most often is the draft. The model then checks several tokens in one call, which costs
little more than one token does while few rows are being written: a small batch waits for the weights to come from
memory, not for arithmetic. With many rows the arithmetic counts, so drafts become short and then stop.

The reports of the nearest films draft a little better (`benchmarks/drafts.py`): 8 % fewer calls with one row, 2 % with
four. That is less than one call a report, and it costs a pass through the tower for every training film, of which there
are many times more than reports to write. So all reports are looked up, which needs no film.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

_LONGEST, _SHORTEST = 5, 2  # tokens that are looked up
_MOST_REPORTS = 20_000  # more make the table large and the drafts no better
MOST_ROWS = 8  # written at a time; with more, drafts do not pay
_CHECKED = 8  # tokens checked in a call, over all rows


class Drafts:
    """The next token after every run of 2 to 5 tokens in the training reports."""

    def __init__(self, reports: Iterable[Sequence[int]]) -> None:
        counts: dict[tuple[int, ...], Counter[int]] = {}
        for _, report in zip(range(_MOST_REPORTS), reports):
            for place in range(_SHORTEST, len(report)):
                for size in range(_SHORTEST, min(_LONGEST, place) + 1):
                    counts.setdefault(tuple(report[place - size : place]), Counter())[report[place]] += 1
        # Of equally frequent tokens the smallest, so that the order of the reports does not matter.
        self.next = {run: min(after, key=lambda token: (-after[token], token)) for run, after in counts.items()}

    def tokens(self, active: int) -> int:
        """How many tokens are drafted for each of `active` rows."""
        return _CHECKED // active - 1 if active < MOST_ROWS else 0

    def after(self, answer: Sequence[int], most: int) -> list[int]:
        """Up to `most` tokens that may follow `answer`."""
        written = list(answer[-_LONGEST:])
        draft: list[int] = []
        while len(draft) < most:
            runs = (tuple(written[-size:]) for size in range(min(_LONGEST, len(written)), _SHORTEST - 1, -1))
            token = next((self.next[run] for run in runs if run in self.next), None)
            if token is None:
                break
            draft.append(token)
            written.append(token)
        return draft
