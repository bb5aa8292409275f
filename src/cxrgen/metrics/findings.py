"""Reports against a table of true findings: what a report claims, checked with what is there.

Only synthetic studies have such a table, so this is the one score that no wording can please: the text is parsed back
to findings and compared with the table the films were drawn from. The reference reports are not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cxrgen.errors import InputError
from cxrgen.metrics import Floats, Measured
from cxrgen.phantom.findings import COLUMNS, NAMES, as_row
from cxrgen.phantom.parser import parse

_SIDES = [name for name in NAMES if f"{name}_side" in COLUMNS]
_LOBES = [name for name in NAMES if f"{name}_lobe" in COLUMNS]
_PLACES = ("side", "lobe", "depth")
_FIRST_PLACE = 3 * len(
    NAMES
)  # counts: hits, false alarms, misses of each finding, then right and counted of each place


def measure(
    hypotheses: Sequence[str], references: Sequence[str], truth: Sequence[Mapping[str, str]] | None = None
) -> Measured:
    """Finding scores of N texts against the N rows of findings.csv in `truth`; counts are (N, 3 x findings + 6).

    A side or lobe is counted where the finding is there and was reported; leaving it out is wrong. Depth (middle lobe
    or lingula against lower lobe, which a frontal film alone cannot tell) is counted where neither is an upper lobe.
    Raises InputError without `truth`, for another number of rows, or a row without a finding's column.
    """
    if truth is None:
        raise InputError("finding scores need the table of true findings; give it with --truth findings.csv")
    if len(truth) != len(hypotheses):
        raise InputError(f"{len(truth)} rows of true findings for {len(hypotheses)} reports; there must be one each")
    known = {text: as_row(parse(text)) for text in set(hypotheses)}
    rows = [_row(known[text], _checked(row, number)) for number, (text, row) in enumerate(zip(hypotheses, truth), 1)]
    counts = np.array(rows, dtype=np.float64).reshape(len(rows), _FIRST_PLACE + 2 * len(_PLACES))
    return Measured(counts, _values, f"findings|parser:phantom|findings:{','.join(NAMES)}|findings nobody has:left out")


def _checked(row: Mapping[str, str], number: int) -> Mapping[str, str]:
    missing = [column for column in COLUMNS if column not in row]
    if missing:
        raise InputError(f"true findings, row {number}: no column {missing[0]!r}; use findings.csv of `cxrgen phantom`")
    return row


def _row(said: Mapping[str, str], there: Mapping[str, str]) -> list[int]:
    pairs = [(said[name] == "1", there[name] == "1") for name in NAMES]
    counts = (
        [int(a and b) for a, b in pairs] + [int(a and not b) for a, b in pairs] + [int(b and not a) for a, b in pairs]
    )
    hits = [name for name, (a, b) in zip(NAMES, pairs) if a and b]
    sides = [said[f"{name}_side"] == there[f"{name}_side"] for name in hits if name in _SIDES]
    lobes = [(said[f"{name}_lobe"], there[f"{name}_lobe"]) for name in hits if name in _LOBES]
    depths = [(_is_lower(a), _is_lower(b)) for a, b in lobes]
    deep = [a == b for a, b in depths if a is not None and b is not None]
    for right in (sides, [a == b for a, b in lobes], deep):
        counts += [sum(right), len(right)]
    return counts


def _is_lower(lobe: str) -> bool | None:
    """True for a lower lobe, False for the middle lobe or lingula, None for an upper lobe or no known lobe."""
    return None if not lobe or "upper" in lobe or lobe == "unknown" else "lower" in lobe


def _values(sums: Floats) -> dict[str, Floats]:
    hits, alarms, misses = np.moveaxis(sums[..., :_FIRST_PLACE].reshape(*sums.shape[:-1], 3, len(NAMES)), -2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        each = 2 * hits / (2 * hits + alarms + misses)
        seen = np.isfinite(each)
        values = {"finding_f1_macro": np.where(seen, each, 0).sum(-1) / seen.sum(-1)}
        values |= {f"finding_f1_{name}": each[..., column] for column, name in enumerate(NAMES)}
        for number, place in enumerate(_PLACES):
            right, counted = (sums[..., _FIRST_PLACE + 2 * number + part] for part in (0, 1))
            values[f"finding_{place}_accuracy"] = right / counted
    return values
