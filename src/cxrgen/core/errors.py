"""What goes wrong because of an input or a setting, as opposed to a fault of the program.

Every message is one line that names the place (file, row, id) and the way out. No message may hold report text: report
text can be a patient's, and messages end up in logs. The command line prints the message and leaves with `exit_code`.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(Exception):
    """An input cannot be used: missing file, wrong columns, damaged record.

    `detail` is what may hold a user's data (a cell, a column name, a path found on disk); it is shown on request only.
    """

    exit_code = 1

    def __init__(self, message: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail

    def shown(self, show_values: bool = False) -> str:
        """The message for the screen."""
        return f"{self} ({self.detail})" if show_values and self.detail else str(self)


class UsageError(InputError):
    """The command was called in a way that cannot mean anything: unknown option, contradiction."""

    exit_code = 2


class RejectError(InputError):
    """One input that cannot be used and is left out: `code` for counting, `hint` for the way out."""

    def __init__(self, code: str, hint: str, place: str = "") -> None:
        super().__init__(f"{place}: {code}: {hint}" if place else f"{code}: {hint}")
        self.code = code
        self.hint = hint


class TooManyRejects(InputError):
    """The work is done, but more inputs were left out than `--max-rejects` allows."""

    exit_code = 3


class Interrupted(InputError):
    """A training was asked to stop (SIGTERM) and has written a checkpoint; 143 is the shell's number for that."""

    exit_code = 143


def unknown(what: str, value: object, choices: Iterable[str]) -> UsageError:
    """A value outside a fixed list: "unknown --views 'al'; choose from all, lateral; did you mean 'all'?"."""
    names = list(choices)
    near = get_close_matches(str(value).lower(), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return UsageError(f"unknown {what} {str(value)!r}; choose from {', '.join(names)}{hint}")
