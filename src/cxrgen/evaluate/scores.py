"""Scores of N reports against N references: values, intervals, per-study values.

All metrics go through the same three lines: measure to counts, aggregate the sum, see what each patient does to it.
This file knows counts and names only; the metrics are in `cxrgen.metrics`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from cxrgen import metrics as metrics_of
from cxrgen.core.errors import InputError, UsageError
from cxrgen.core.progress import say
from cxrgen.evaluate import tabular
from cxrgen.evaluate.intervals import intervals
from cxrgen.evaluate.one_pass import measure_sets
from cxrgen.evaluate.statistics import Clusters, clusters
from cxrgen.evaluate.suites import Board, Total, board, expanded, totals
from cxrgen.html import number
from cxrgen.metrics import Better, Floats, MetricResult

ARROWS: dict[Better, str] = {"higher": "↑", "lower": "↓", "nearer_to_1": "→1"}


@dataclass(frozen=True)
class Against:
    """A score compared with the best baseline on the same studies: `difference` is its value less the baseline's.

    For scores that are best at 1 the difference is that of the distances from 1. `p` is of the paired test;
    `p_corrected` is corrected for the number of scores.
    """

    name: str
    difference: float
    interval: tuple[float, float] | None  # 95 %
    p: float
    p_corrected: float


@dataclass(frozen=True)
class Score:
    """One value over all studies. It is NaN where it is undefined, such as the F1 of a finding that no study has."""

    value: float
    interval: tuple[float, float] | None  # 95 %, between patients
    better: Better
    signature: str
    no_interval: str = ""  # why there is none
    against: Against | None = None  # the best baseline, where there is one
    single_finding: bool = False  # tables of findings show it, the scoreboard does not

    def __repr__(self) -> str:
        """One line: 0.811 (0.796 to 0.827), higher is better."""
        ends = f" ({number(self.interval[0])} to {number(self.interval[1])})" if self.interval else ""
        return f"{number(self.value)}{ends}, {self.better.replace('_', ' ')} is better"


@dataclass(frozen=True)
class Scores:
    """All scores of one set of reports."""

    study_ids: tuple[str, ...]
    metrics: dict[str, Score]
    measured: dict[str, MetricResult]  # by metric, for those who need other sums
    groups: Clusters  # the studies' patients

    @cached_property
    def per_study(self) -> dict[str, Floats]:
        """The N studies' own values by the score's name, in the order of `study_ids`."""
        return {name: values for result in self.measured.values() for name, values in result.per_study().items()}

    @property
    def n(self) -> int:
        return len(self.study_ids)

    @property
    def patients(self) -> int:
        return self.groups.count

    def values(self) -> dict[str, float]:
        return {name: score.value for name, score in self.metrics.items()}

    def __repr__(self) -> str:
        """One line a score, without those of single findings."""
        shown = [f"{name}: {score}" for name, score in self.metrics.items() if not score.single_finding]
        return "\n".join([f"scores of {self.n} studies of {self.patients} patients", *shown])

    def _rows(self) -> list[tuple[Any, ...]]:
        shown = {name: score for name, score in self.metrics.items() if not score.single_finding}
        return [(name, s.value, *(s.interval or (None, None)), s.better) for name, s in shown.items()]

    def _repr_html_(self) -> str:
        return tabular.rows_as_html(self._rows())

    def to_frame(self) -> Any:
        """A pandas data frame with a row a score: value, low and high end of the interval, better."""
        return tabular.rows_as_frame(self._rows(), ("score", "value", "low", "high", "better"))

    def per_study_frame(self) -> Any:
        """A pandas data frame with a row a study and a column a score."""
        columns = [np.broadcast_to(values, self.n).tolist() for values in self.per_study.values()]
        return tabular.rows_as_frame(zip(self.study_ids, *columns), ("study_id", *self.per_study))

    def plot(self) -> tabular.Drawing:
        """Values with their intervals; notebooks show it, `save(path)` writes it."""
        return tabular.rows_as_drawing(self._rows())

    def totals(self, baselines: Mapping[str, Scores]) -> dict[str, Total]:
        """The sums of scores that rankings use, beside those of the baselines."""
        return totals(self.values(), {name: of.values() for name, of in baselines.items()})

    def board(self, name: str, baselines: Mapping[str, Scores], lacking: Mapping[str, str]) -> Board:
        """The row of a leaderboard, beside those of the baselines; `lacking` says why metrics could not run."""
        return board(name, self.values(), {baseline: of.values() for baseline, of in baselines.items()}, lacking)

    def signature(self) -> str:
        """What another person needs to get the same intervals."""
        return f"n:{self.n}|patients:{self.patients}|intervals:wilson,jackknife-t"


def evaluate(
    hypotheses: tabular.Reports,
    references: tabular.Reports,
    study_ids: Sequence[str] | None = None,
    subjects: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    *,
    truth: Sequence[Mapping[str, str]] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> Scores:
    """Score N reports against N references, both in the order of `study_ids`.

    Both may instead be dicts (study id to report) or data frames (study_id, report, in the references also subject_id):
    rows are then matched by id, in the references' order. `subjects` are the N patients for the intervals; without them
    every study counts as its own patient. `metrics` are names as `cxrgen.metrics.metric_of` knows them, or `sum` for
    all that the sum is made of; None means those measured by default, with those against `truth`, the N rows of a table
    of true findings, where it is given. `settings` are the options of metrics by their names: weights, say. A reference
    may be several texts, in a list; metrics without a definition for that are then left out, or, where they are named,
    a UsageError. Raises InputError for no studies, differing lengths, a repeated id, or ids that do not match.
    """
    texts, given, ids, subjects = tabular.as_columns(hypotheses, references, study_ids, subjects)
    first, further = first_and_further(given)
    sets = {"": texts}
    return evaluate_sets(sets, first, ids, subjects, metrics, truth=truth, settings=settings, further=further)[""]


def evaluate_sets(
    sets: Mapping[str, Sequence[str]],
    references: Sequence[str],
    study_ids: Sequence[str],
    subjects: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    *,
    truth: Sequence[Mapping[str, str]] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    without_weights: Collection[str] = (),
    further: Sequence[Sequence[str]] = (),
) -> dict[str, Scores]:
    """Score several sets of N reports, by name, against the same references; see `evaluate`.

    Metrics that need weights are left out of the sets named in `without_weights`. `further` are the references of each
    study besides its first, where any study has some.
    """
    for hypotheses in sets.values():
        _check(hypotheses, references, study_ids, subjects, truth)
    names = chosen_metrics(metrics, truth is not None, bool(further))
    groups = clusters(study_ids if subjects is None else subjects)
    measured = measure_sets(names, sets, references, settings, truth, without_weights, further)
    return {name: _scored(of, tuple(study_ids), groups) for name, of in measured.items()}


def _scored(measured: dict[str, MetricResult], study_ids: tuple[str, ...], groups: Clusters) -> Scores:
    """Values and intervals of one set's results."""
    scores: dict[str, Score] = {}
    for result in measured.values():
        with np.errstate(divide="ignore", invalid="ignore"):
            values = result.aggregate(result.counts.sum(axis=0))
        ends = intervals(result, groups)
        for key, value in values.items():
            end, single = ends[key], result.is_single_finding(key)
            better = result.better(key)
            scores[key] = Score(float(value), end.ends, better, result.signature, end.why, single_finding=single)
    return Scores(study_ids, scores, measured, groups)


def chosen_metrics(names: Sequence[str] | None, has_truth: bool, several: bool = False) -> list[str]:
    """The metrics to run, each once; raises UsageError for an unknown name, or one that needs truth without it.

    With `several` references those measured by default are the ones that have a definition for them.
    """
    if names is None:
        records = metrics_of.load_all().items()
        usual = {name: of for name, of in records if of.by_default and (has_truth or not of.needs_truth)}
        return [name for name, of in usual.items() if of.several or not several]
    chosen = list(dict.fromkeys(metrics_of.metric_of(name) for name in expanded(names)))
    for name in chosen:
        if metrics_of.load(name).needs_truth and not has_truth:
            raise UsageError(f"the metric {name!r} compares with a table of true findings; give it with --truth")
    return chosen


def with_several(metrics: Sequence[str], named: bool) -> list[str]:
    """Those of `metrics` that have a definition for several references; UsageError for another one that was `named`."""
    without = [name for name in metrics if metrics_of.load(name).several is None]
    if without and named:
        raise UsageError(
            f"{', '.join(without)}: no definition for several references of a study; leave it out of --metrics, "
            "or give references without the columns report_2 and so on"
        )
    for name in without:
        say(f"note: left out: {name}: it has no definition for several references")
    return [name for name in metrics if name not in without]


def first_and_further(references: Sequence[str | Sequence[str]]) -> tuple[list[str], list[tuple[str, ...]]]:
    """The first reference of each study, and those after it; no list of these where every study has one reference."""
    lists = [(of,) if isinstance(of, str) else tuple(of) for of in references]
    if not all(lists):
        raise InputError("a study has an empty list of references; it needs one at least")
    several = any(len(of) > 1 for of in lists)
    return [of[0] for of in lists], [of[1:] for of in lists] if several else []


def loss(value: Floats | float, better: Better) -> Floats:
    """How bad values are, in the score's own unit: the smaller the better."""
    if better == "nearer_to_1":
        return np.asarray(np.abs(np.asarray(value) - 1))
    return np.asarray(np.asarray(value) * (1 if better == "lower" else -1))


def _check(
    hypotheses: Sequence[str],
    references: Sequence[str],
    study_ids: Sequence[str],
    subjects: Sequence[str] | None,
    truth: Sequence[Mapping[str, str]] | None,
) -> None:
    if not study_ids:
        raise InputError("no studies to score")
    columns = {"hypotheses": hypotheses, "references": references, "subjects": subjects, "truth": truth}
    for name, column in columns.items():
        if column is not None and len(column) != len(study_ids):
            raise InputError(f"{len(column)} {name} for {len(study_ids)} study ids; there must be one each")
    if len(set(study_ids)) != len(study_ids):
        repeated = next(name for name, times in Counter(study_ids).items() if times > 1)
        raise InputError("a study is given twice; each study is scored once", detail=repr(repeated))
