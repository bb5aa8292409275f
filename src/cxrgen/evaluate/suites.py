"""Groups of scores: those to look at first, the sums that rankings use, and the columns of public leaderboards.

Which scores matter most, the metrics say themselves; here they are put in order. A sum is defined by the program whose
values it adds, so its parts are a list of scores, and a sum without a part is another number and is not given. A
leaderboard's row is given without the columns whose weights are not here.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cxrgen.metrics import load, load_all, metric_of

_CHEXBERT_AND_BERTSCORE = ("bertscore", "chexbert_similarity")
SUMS = {
    "sum": (*(f"bleu_{order}.cxr-report-metric" for order in (1, 2, 3, 4)), *_CHEXBERT_AND_BERTSCORE),
    "sum.coco-ptb": (*(f"bleu_{order}" for order in (1, 2, 3, 4)), *_CHEXBERT_AND_BERTSCORE),
}
BOARDS = {  # a leaderboard's columns, as it heads them, and their scores
    "rexrank": {
        "BLEU-2": "bleu_2.cxr-report-metric",
        "BERTScore": "bertscore",
        "SembScore": "chexbert_similarity",
        "RadGraph": "radgraph_combined",
        "1/RadCliQ-v1": "radcliq_v1_inverse",
        "RaTEScore": "ratescore",
        "GREEN": "green",
    }
}


@dataclass(frozen=True)
class Total:
    """The value of a sum, or None and the names of the parts that are missing; and the same sum of each baseline."""

    value: float | None
    missing: list[str]
    signature: str
    baselines: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Board:
    """A leaderboard's row: the value of each column, or None; why some are missing; the same row of each baseline."""

    values: Mapping[str, float | None]
    missing: Mapping[str, str]
    baselines: Mapping[str, Mapping[str, float | None]]


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
    """The names with the parts in place of each sum or board; `sum` stands for all sums, which share costly parts."""
    parts = {"sum": tuple(part for parts in SUMS.values() for part in parts), "sum.coco-ptb": SUMS["sum.coco-ptb"]}
    parts |= {board: tuple(columns.values()) for board, columns in BOARDS.items()}
    return [part for name in names for part in parts.get(name, (name,))]


def with_sums(metrics: Collection[str]) -> list[str]:
    """The metrics, and what a sum lacks besides where they hold all its parts that need weights."""
    chosen = list(metrics)
    for parts in SUMS.values():
        needed = list(dict.fromkeys(metric_of(part) for part in parts))
        costly = [metric for metric in needed if load(metric).weights]
        if all(metric in chosen for metric in costly):
            chosen += [metric for metric in needed if metric not in chosen]
    return chosen


def boards_lack(names: Iterable[str], settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The metrics that only boards among `names` ask for and that cannot run, with what they lack."""
    named = list(names)
    asked = {metric_of(part) for name in named if name in BOARDS for part in BOARDS[name].values()}
    asked -= {metric_of(part) for part in expanded(name for name in named if name not in BOARDS)}
    found = {metric: load(metric).lacks(settings.get(metric, {})) for metric in sorted(asked)}
    return {metric: why for metric, why in found.items() if why}


def board(
    name: str,
    values: Mapping[str, float],
    baselines: Mapping[str, Mapping[str, float]],
    lacking: Mapping[str, str],
) -> Board:
    """A leaderboard's row of a set of values; `lacking` are the metrics that cannot run, with what they lack."""
    columns = BOARDS[name]
    metrics = {column: metric_of(score) for column, score in columns.items()}
    missing = {column: lacking[metric] for column, metric in metrics.items() if metric in lacking}
    rows = {baseline: _row(columns, own) for baseline, own in baselines.items()}
    return Board(_row(columns, values), missing, rows)


def _row(columns: Mapping[str, str], values: Mapping[str, float]) -> dict[str, float | None]:
    found = {column: values.get(score, math.nan) for column, score in columns.items()}
    return {column: value if math.isfinite(value) else None for column, value in found.items()}


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
