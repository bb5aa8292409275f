"""Inputs that were left out: their table, and the share of them that ends a run with exit code 3."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from cxrgen.core.errors import TooManyRejects
from cxrgen.core.files import write_csv
from cxrgen.core.records import Reject

REJECTS = "rejects.csv"
COLUMNS = ("row", "id", "code", "hint")


def write_rejects(path: Path, rejects: Iterable[Reject]) -> None:
    """Write the table of rejects, readable by its owner only: ids and file names can be a patient's."""
    write_csv(path, COLUMNS, [(reject.row, reject.id, reject.code, reject.hint) for reject in rejects], private=True)


def counted_codes(rejects: Sequence[Reject]) -> str:
    """How often reject code occurs: "image-missing 2, text-empty 1"."""
    counts = Counter(reject.code for reject in rejects)
    return ", ".join(f"{code} {count}" for code, count in sorted(counts.items()))


def check_share(left_out: int, total: int, limit: float, what: str, listed: Path | str) -> None:
    """Raise TooManyRejects when more than the share `limit` of `total` was left out; `what` names them: "studies"."""
    if left_out > limit * total:
        raise TooManyRejects(
            f"{left_out} of {total} {what} were left out, {left_out / max(1, total):.1%} (limit {limit:.1%}); "
            f"see {listed}, or raise --max-rejects"
        )


def share(text: str) -> float:
    """A share between 0 and 1 from "0.02" or "2%", for argparse's `type`."""
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"{text!r} is no share; write 0.02 or 2%, at most 1 or 100%")
    return value
