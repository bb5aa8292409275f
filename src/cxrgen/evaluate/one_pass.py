"""Each metric over all sets of reports: the system's and the baselines'.

What is costly is done once. A metric whose counts depend on a pair of texts alone gets the pairs of all sets in one
call, study by study, so that a model is loaded once and a reference is read once however many baselines stand beside
it; the counts are then dealt out to the sets. Other metrics are called for each set. A metric that is made of others
gets their results.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cxrgen.metrics import MetricResult, load, measure, measure_several

Settings = Mapping[str, Mapping[str, Any]]  # name of a metric: what its `measure` is called with
Results = dict[str, dict[str, MetricResult]]  # by set and metric
SYSTEM = ""  # the name of the set that the others are baselines of


def measure_sets(
    metrics: Sequence[str],
    sets: Mapping[str, Sequence[str]],
    references: Sequence[str],
    settings: Settings | None = None,
    truth: Sequence[Mapping[str, str]] | None = None,
    without_weights: Collection[str] = (),
    further: Sequence[Sequence[str]] = (),
) -> Results:
    """The results of `metrics` for each of `sets`, N reports each; those with weights not for `without_weights`.

    `further` are the references of each study besides its first, where any study has some.
    """
    several = [(first, *others) for first, others in zip(references, further)]
    how: Callable[..., MetricResult] = measure_several if several else measure
    wanted: Sequence[Any] = several or references
    found: Results = {name: {} for name in sets}
    for metric in _parts_first(metrics):
        record, keywords = load(metric), called_with(metric, settings, truth)
        chosen = {name: texts for name, texts in sets.items() if not (record.weights and name in without_weights)}
        if SYSTEM in chosen and not record.for_baselines(keywords):
            chosen = {SYSTEM: chosen[SYSTEM]}
        if len(chosen) > 1 and record.by_pair(keywords):
            for name, result in _together(how, metric, chosen, wanted, keywords).items():
                found[name][metric] = result
            continue
        for name, texts in chosen.items():
            parts = {"measured": found[name]} if record.parts else {}
            with np.errstate(divide="ignore", invalid="ignore"):
                found[name][metric] = how(metric, texts, wanted, **keywords, **parts)
    return {name: {metric: of[metric] for metric in metrics if metric in of} for name, of in found.items()}


def _parts_first(metrics: Sequence[str]) -> list[str]:
    """The metrics and what they are made of, a metric behind its parts; those whose work others need come early."""
    early_first = sorted(metrics, key=lambda metric: not load(metric).early)
    ordered = [name for metric in early_first for name in (*load(metric).parts, metric)]
    return list(dict.fromkeys(ordered))


def _together(
    how: Callable[..., MetricResult],
    metric: str,
    sets: Mapping[str, Sequence[str]],
    references: Sequence[Any],
    keywords: Mapping[str, Any],
) -> dict[str, MetricResult]:
    """One call for the pairs of all sets, and each set's share of its counts."""
    texts = [text for of_study in zip(*sets.values()) for text in of_study]
    whole = how(metric, texts, [of for of in references for _ in sets], **keywords)
    count = len(sets)
    return {
        name: replace(whole, counts=whole.counts[place::count], noted=whole.noted[place::count])
        for place, name in enumerate(sets)
    }


def called_with(
    name: str, settings: Settings | None = None, truth: Sequence[Mapping[str, str]] | None = None
) -> dict[str, Any]:
    """The keywords that the metric `name` is measured with besides the texts."""
    keywords = dict((settings or {}).get(name, {}))
    return {**keywords, "truth": truth} if load(name).needs_truth else keywords
