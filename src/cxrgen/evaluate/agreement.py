"""How far scores agree with radiologists, as `cxrgen meta --out` wrote it: shown beside each score's name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrgen.core.errors import InputError
from cxrgen.core.tables import read_json


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b of one score over `n` reports, with its 95 % interval; None where it is undefined."""

    score: str
    tau: float | None
    ci95: tuple[float, float] | None
    n: int


def read_agreement(path: Path) -> dict[str, Agreement]:
    """The agreement of each score that has one; raises InputError for a file that `cxrgen meta --out` did not write."""
    content = read_json(path)
    rows = content.get("agreement") if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise InputError(f"{path}: not what `cxrgen meta TABLE DIR --out FILE` writes")
    found = [_row(path, row) for row in rows]
    return {row.score: row for row in found if row.tau is not None}


def _row(path: Path, row: Any) -> Agreement:
    cells: Mapping[str, Any] = row if isinstance(row, Mapping) else {}
    score, tau, ends, n = (cells.get(name) for name in ("score", "tau", "ci95", "n"))
    pair = ends if isinstance(ends, list) and len(ends) == 2 else []
    numbers = [tau, *pair]
    fits = numbers == [None] or all(isinstance(value, (int, float)) and math.isfinite(value) for value in numbers)
    if not (isinstance(score, str) and isinstance(n, int) and fits):
        raise InputError(f"{path}: not what `cxrgen meta TABLE DIR --out FILE` writes")
    return Agreement(score, tau, (float(pair[0]), float(pair[1])) if pair else None, n)
