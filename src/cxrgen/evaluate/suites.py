"""Groups of scores: those to look at first, and the sum.

Which scores matter most, the metrics say themselves; here they are put in order.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

from cxrgen.metrics import load_all

SUM_OF = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "bertscore", "chexbert_similarity")


def headline(names: Iterable[str], at_most: int = 5) -> list[str]:
    """The most telling of `names`: clinical scores first, then overlap; always one of each where there is one."""
    places = {score: place for metric in load_all().values() for score, place in metric.headline.items()}
    ordered = sorted(places.keys() & set(names), key=lambda name: places[name])
    return ordered if len(ordered) <= at_most else ordered[: at_most - 2] + ordered[-2:]


def study_order(names: Collection[str]) -> dict[str, str]:
    """The score to sort single studies by, for each group of metrics that has one among `names`."""
    chosen: dict[str, str] = {}
    for group in ("clinical", "overlap"):
        metrics = [metric for metric in load_all().values() if metric.group == group]
        places = {score: place for metric in metrics for score, place in metric.study_order.items() if score in names}
        if places:
            chosen[group] = min(places, key=lambda score: places[score])
    return chosen


def sum_of(values: Mapping[str, float]) -> tuple[float | None, list[str]]:
    """The sum of `SUM_OF`, or None and the names that are missing: a sum without a part is another number."""
    missing = [name for name in SUM_OF if not math.isfinite(values.get(name, math.nan))]
    return (None if missing else math.fsum(values[name] for name in SUM_OF)), missing
