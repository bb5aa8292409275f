"""Groups of scores: those to look at first, and the sums that rankings use.

Which scores matter most, the metrics say themselves; here they are put in order. A sum is defined by the program whose
values it adds, so its parts are a list of scores, and a sum without a part is another number and is not given.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from cxrgen.metrics import load, load_all, metric_of

_CHEXBERT_AND_BERTSCORE = ("bertscore", "chexbert_similarity")
SUMS = {
    "sum": (*(f"bleu_{order}.cxr-report-metric" for order in (1, 2, 3, 4)), *_CHEXBERT_AND_BERTSCORE),
    "sum.coco-ptb": (*(f"bleu_{order}" for order in (1, 2, 3, 4)), *_CHEXBERT_AND_BERTSCORE),
}


@dataclass(frozen=True)
class Total:
    """The value of a sum, or None and the names of the parts that are missing; and the same sum of each baseline."""

    value: float | None
    missing: list[str]
    signature: str
    baselines: Mapping[str, float | None] = field(default_factory=dict)


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


def expanded(names: Iterable[str]) -> list[str]:
    """The names with the parts in place of each sum; `sum` stands for all sums, which share the costly parts."""
    parts = {"sum": tuple(part for parts in SUMS.values() for part in parts), "sum.coco-ptb": SUMS["sum.coco-ptb"]}
    return [part for name in names for part in parts.get(name, (name,))]


def with_sums(metrics: Collection[str]) -> list[str]:
    """The metrics, and what a sum lacks besides where they hold all its parts that need weights."""
    chosen = list(metrics)
    for parts in SUMS.values():
        needed = list(dict.fromkeys(metric_of(part) for part in parts))
        costly = [metric for metric in needed if load(metric).options]
        if all(metric in chosen for metric in costly):
            chosen += [metric for metric in needed if metric not in chosen]
    return chosen


def totals(values: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]]) -> dict[str, Total]:
    """Every sum of a set of values, with the same sum of each baseline's values."""
    found = {}
    for name, parts in SUMS.items():
        value, missing = _added(parts, values)
        of_baselines = {baseline: _added(parts, own)[0] for baseline, own in baselines.items()}
        found[name] = Total(value, missing, f"{name}|{' + '.join(parts)}|parts by their own signatures", of_baselines)
    return found


def _added(parts: Collection[str], values: Mapping[str, float]) -> tuple[float | None, list[str]]:
    missing = [part for part in parts if not math.isfinite(values.get(part, math.nan))]
    return (None if missing else math.fsum(values[part] for part in parts)), missing
