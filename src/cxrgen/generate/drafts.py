"""Tokens that a report is likely to go on with, read off the training reports.

Reports repeat each other. The last few written tokens are looked up among the training reports, the longest match
first, and what followed there most often is the draft. The model then checks several tokens in one call, which costs
little more than one token does while few rows are being written: a small batch waits for the weights to come from
memory, not for arithmetic. With many rows the arithmetic counts, so drafts become short and then stop.

All reports are looked up, or those of the nearest films (see `nearest`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

_LONGEST, _SHORTEST = 5, 2  # tokens that are looked up
MOST_REPORTS = 20_000  # more make the table large and the drafts no better
MOST_ROWS = 8  # written at a time; with more, drafts do not pay
_CHECKED = 8  # tokens checked in a call, over all rows
_BETWEEN = -1  # stands between two reports


class Drafts:
    """The next token after every run of 2 to 5 tokens in the training reports; runs are counted when first asked for.

    That makes a store of a few reports, for one study, as cheap as the whole one.
    """

    def __init__(self, reports: Iterable[Sequence[int]]) -> None:
        self.tokens: list[int] = []
        self.places: dict[tuple[int, ...], list[int]] = {}  # where two tokens were followed by a third
        self.next: dict[tuple[int, ...], int | None] = {}  # runs that were asked for
        for _, report in zip(range(MOST_REPORTS), reports):
            start = len(self.tokens)
            self.tokens += [*report, _BETWEEN]
            for place in range(start + _SHORTEST, len(self.tokens) - 1):
                self.places.setdefault((self.tokens[place - 2], self.tokens[place - 1]), []).append(place)

    def after(self, answer: Sequence[int], most: int) -> list[int]:
        """Up to `most` tokens that may follow `answer`."""
        written = list(answer[-_LONGEST:])
        draft: list[int] = []
        while len(draft) < most:
            run = tuple(written[-_LONGEST:])
            if run not in self.next:
                self.next[run] = self._counted(run)
            token = self.next[run]
            if token is None:
                break
            draft.append(token)
            written.append(token)
        return draft

    def _counted(self, run: tuple[int, ...]) -> int | None:
        """What follows the longest end of `run` that occurs, most often; of equally frequent tokens the smallest."""
        places = self.places.get(run[-_SHORTEST:])
        if places is None:
            return None
        for size in range(_SHORTEST + 1, len(run) + 1):
            longer = [place for place in places if self.tokens[place - size] == run[-size]]
            if not longer:
                break
            places = longer
        after = Counter(self.tokens[place] for place in places)
        return min(after, key=lambda token: (-after[token], token))


def drafted_tokens(active: int) -> int:
    """How many tokens are drafted for each of `active` rows."""
    return _CHECKED // active - 1 if active < MOST_ROWS else 0
