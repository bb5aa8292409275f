"""The option `--weight_positive`, read before torch is imported."""

from __future__ import annotations

from cxrgen.core.errors import UsageError, unknown
from cxrgen.text.chexpert import OBSERVATIONS

_NOTHING_FOUND = "No Finding"


def read_weights(text: str) -> dict[str, float]:
    """Observation -> weight of sentences that state it. Raises UsageError for unknown names and useless weights."""
    names = {name.lower(): name for name in OBSERVATIONS if name != _NOTHING_FOUND}
    if "=" not in text:
        return dict.fromkeys(names.values(), _weight(text))
    found = {}
    for part in text.split(","):
        name, _, weight = (each.strip() for each in part.partition("="))
        if name.lower() not in names:
            raise unknown("finding of --weight_positive", name, names.values())
        found[names[name.lower()]] = _weight(weight)
    return found


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = 0.0
    if not 0 < weight <= 1000:
        raise UsageError(f"--weight_positive {text!r}: a number above 0 (at most 1000), or finding=number with commas")
    return weight
