"""Studies without a value: a metric may get no answer for some. They are counted and named, and never count as 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cxrgen.evaluate.scores import Scores

Unscored = dict[str, dict[str, Any]]  # by metric: studies by reason, and the same of "baselines" by their names


def unscored_in(scores: Scores, baselines: Mapping[str, Scores]) -> Unscored:
    """How many studies have no value, for every metric that can leave some without; zeros are there too."""
    found: Unscored = {metric: dict(reasons) for metric, reasons in _counted(scores).items()}
    for name, of in baselines.items():
        for metric, reasons in _counted(of).items():
            found[metric].setdefault("baselines", {})[name] = reasons
    return found


def _counted(scores: Scores) -> dict[str, dict[str, int]]:
    results = scores.measured.items()
    return {metric: result.unscored(result.counts) for metric, result in results if result.unscored is not None}


def unscored_remarks(found: Unscored) -> tuple[str, ...]:
    """A line for each set of reports with studies that have no value."""
    remarks = []
    for metric, of in found.items():
        baselines = of.get("baselines", {})
        sets = {"": {why: count for why, count in of.items() if why != "baselines"}, **baselines}
        for name, reasons in sets.items():
            named = ", ".join(f"{count} {why}" for why, count in reasons.items() if count)
            whose = f" of the baseline {name}" if name else ""
            if named:
                remarks.append(f"{metric}: studies{whose} without a score: {named}; run again to ask for these")
    return tuple(remarks)
