"""Scores of groups of studies: normal and abnormal, with and without a lateral image, first study and follow-up.

An average hides that normal chests are easy and many. Each group has intervals of its own; small groups are marked,
because neither their values nor their intervals are reliable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrgen.core.errors import UsageError
from cxrgen.core.records import LATERAL, Study
from cxrgen.evaluate.intervals import intervals
from cxrgen.evaluate.scores import Scores
from cxrgen.evaluate.statistics import clusters
from cxrgen.evaluate.suites import headline
from cxrgen.html import Section, number, table
from cxrgen.metrics import MetricResult
from cxrgen.metrics.cards import plain_name

SMALL = 30  # studies
_MOST = 12  # groups of one column
_OF_STUDIES = ("sex", "split", "source")
_KNOWN = ", ".join(_OF_STUDIES)
Mask = NDArray[np.bool_]


def groups(
    study_ids: Sequence[str], references: Sequence[str] | None, normal: Mask | None, studies: Mapping[str, Study]
) -> dict[str, Mask]:
    """Name to the mask of its studies, in pairs; a pair is left out where nothing is known or one group is empty."""
    known = [studies[name] for name in study_ids if name in studies]
    pairs: list[tuple[str, str, Mask]] = []
    if normal is not None:
        pairs.append(("normal", "abnormal", normal))
    if references is not None:
        lengths = np.array([len(text.split()) for text in references])
        pairs.append(("short reference", "long reference", lengths <= np.median(lengths)))
    if len(known) == len(study_ids):
        lateral = np.array([any(view.view == LATERAL for view in study.views) for study in known])
        first = np.array([study.prior_study_id is None for study in known])
        pairs += [("with lateral image", "without lateral image", lateral), ("first study", "follow-up", first)]
    result: dict[str, Mask] = {}
    for yes, no, mask in pairs:
        if mask.any() and not mask.all():
            result |= {yes: mask, no: ~mask}
    return result


def groups_by(
    names: Sequence[str], columns: Mapping[str, Sequence[str]], study_ids: Sequence[str], studies: Mapping[str, Study]
) -> dict[str, Mask]:
    """A group for each value of each named column, from the reference file or else from the prepared set.

    Raises UsageError for a column that neither has, and for one with too many values to be shown.
    """
    found: dict[str, Mask] = {}
    for name in names:
        values = columns.get(name)
        if values is None and name in _OF_STUDIES and studies:
            values = [getattr(studies[study], name) if study in studies else "" for study in study_ids]
        if values is None:
            raise UsageError(f"--by {name}: no such column in --gt or --by-table; of a prepared set {_KNOWN} are known")
        of = {value: np.array([own == value for own in values]) for value in sorted(set(values))}
        if len(of) > _MOST:
            raise UsageError(f"--by {name}: {len(of)} different values; a column with {_MOST} or fewer can be shown")
        found |= {f"{name}: {value or 'unknown'}": mask for value, mask in of.items()}
    return found


def strata(scores: Scores, subjects: Sequence[str], masks: Mapping[str, Mask]) -> Section | None:
    """The panel of the page: each group's headline scores with intervals; None when there is no group."""
    names = headline(scores.metrics)
    if not masks or not names:
        return None
    whole = [_value_text(scores.metrics[name].value, scores.metrics[name].interval) for name in names]
    rows = [["all", f"{scores.n:,}", *whole]]
    for group, mask in masks.items():
        found = values_by_group(scores.measured, subjects, mask)
        few = " (few)" if mask.sum() < SMALL else ""
        rows.append([group, f"{mask.sum():,}{few}", *(_value_text(*found[name]) for name in names)])
    return Section(
        "Groups of studies",
        [table(("studies", "n", *map(plain_name, names)), rows)],
        f"Values with 95 % intervals, each group on its own. Groups marked few have under {SMALL} studies: "
        "their intervals are the less reliable, because so few studies show neither rare cases nor their own spread; "
        "draw no conclusion from them alone. Normal means that the rule labels find nothing in the reference.",
    )


def values_by_group(
    measured_of: Mapping[str, MetricResult], subjects: Sequence[str], mask: Mask
) -> dict[str, tuple[float, tuple[float, float] | None]]:
    """Every score over the studies of one mask of shape (N,): value and interval."""
    cluster = clusters([subject for subject, kept in zip(subjects, mask) if kept])
    result = {}
    for measured in measured_of.values():
        part = replace(measured, counts=measured.counts[mask])
        with np.errstate(divide="ignore", invalid="ignore"):
            values, ends = part.aggregate(part.counts.sum(axis=0)), intervals(part, cluster)
        result.update({name: (float(value), ends[name].ends) for name, value in values.items()})
    return result


def of_group(scores: Scores, subjects: Sequence[str], mask: Mask) -> dict[str, Any]:
    """A group of studies in scores.json: how many, and the scores to look at first with their intervals."""
    found = values_by_group(scores.measured, subjects, mask)
    numbers = {
        name: {"value": value if math.isfinite(value) else None, "ci95": list(ends) if ends else None}
        for name, (value, ends) in ((name, found[name]) for name in headline(scores.metrics, len(scores.metrics)))
    }
    return {"n": int(mask.sum()), "metrics": numbers}


def _value_text(value: float, ends: tuple[float, float] | None) -> str:
    return f"{number(value)} [{number(ends[0])}, {number(ends[1])}]" if ends else f"{number(value)} (no interval)"
