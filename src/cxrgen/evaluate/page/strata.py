"""Scores of groups of studies: normal and abnormal, with and without a lateral image, first study and follow-up.

An average hides that normal chests are easy and many. Each group has intervals of its own; small groups are marked,
because neither their values nor their intervals are reliable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cxrgen.core.records import LATERAL, Study
from cxrgen.evaluate.intervals import intervals
from cxrgen.evaluate.scores import Scores
from cxrgen.evaluate.statistics import clusters
from cxrgen.evaluate.suites import headline
from cxrgen.html import Section, number, table
from cxrgen.metrics import MetricResult
from cxrgen.metrics.cards import plain_name

SMALL = 30  # studies
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


def _value_text(value: float, ends: tuple[float, float] | None) -> str:
    return f"{number(value)} [{number(ends[0])}, {number(ends[1])}]" if ends else f"{number(value)} (no interval)"
