"""Quantiles as the card shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

_Number = TypeVar("_Number", int, float)
_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def quantiles(values: Sequence[_Number]) -> dict[str, _Number]:
    """ "5%" to "100%" (the largest) -> a value that occurs; empty without values."""
    ordered = sorted(values)
    if not ordered:
        return {}
    return {f"{100 * share:.0f}%": ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in _SHARES}
