"""Scores of N reports against N references: values, intervals, per-study values.

All metrics go through the same three lines: measure to counts, aggregate the sum, see what each patient does to it.
What a metric is, is the metrics' room's business; this file knows only counts and names.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrgen import metrics as registry
from cxrgen.errors import InputError, UsageError
from cxrgen.evaluate.intervals import intervals
from cxrgen.evaluate.statistics import Clusters, clusters
from cxrgen.metrics import Floats, Measured

# Measured when nothing is asked for; `findings` joins them when truth is given, and METEOR, being slow, must be asked.
WEIGHT_FREE = ("bleu", "rouge", "cider", "rule", "temporal", "flips", "form")
HEADLINE = (  # the scores to look at first, in this order
    "finding_f1_macro",
    "radgraph_partial",
    "chexbert_f1_macro_14",
    "chexbert_similarity",
    "rule_f1_macro_14",
    "rule_similarity",
    "radcliq_v1",
    "bertscore",
    "rouge_l",
    "bleu_4",
)
ARROWS = {"up": "↑", "down": "↓", "one": "→1"}
SUM_OF = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "bertscore", "chexbert_similarity")


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
    """One value over all studies. It is NaN where it is undefined, such as the F1 of a finding nobody has."""

    value: float
    interval: tuple[float, float] | None  # 95 %, between patients
    direction: str  # "up": higher is better; "down": lower is better; "one": the nearer to 1
    signature: str
    no_interval: str = ""  # why there is none
    against: Against | None = None  # the best baseline, where there is one


@dataclass(frozen=True)
class Scores:
    """All scores of one set of reports; `per_study[name]` has the N studies' own values in the order of `study_ids`."""

    study_ids: tuple[str, ...]
    metrics: dict[str, Score]
    per_study: dict[str, Floats]
    measured: dict[str, Measured]  # by metric module, for those who resample again
    groups: Clusters  # the studies' patients

    @property
    def n(self) -> int:
        return len(self.study_ids)

    @property
    def patients(self) -> int:
        return self.groups.count

    def signature(self) -> str:
        """What another person needs to get the same intervals."""
        return f"n:{self.n}|patients:{self.patients}|intervals:wilson,jackknife-t"


def evaluate(
    hypotheses: Sequence[str],
    references: Sequence[str],
    study_ids: Sequence[str],
    subjects: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    *,
    truth: Sequence[Mapping[str, str]] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> Scores:
    """Score N reports against N references, both in the order of `study_ids`.

    `subjects` are the N patients for the intervals; without them every study counts as its own patient. `metrics` are
    names as `cxrgen.metrics.metric_of` knows them, or `sum` for all that the sum is made of; None means those that need
    no weights, and `findings` when `truth`, the N rows of a table of true findings, is given. `settings` has what a
    metric is called with besides, by the metric's name: its weights, say. Raises InputError for no studies, differing
    lengths or an id that stands twice.
    """
    _check(hypotheses, references, study_ids, subjects, truth)
    names = chosen_metrics(metrics, truth is not None)
    groups = clusters(study_ids if subjects is None else subjects)
    scores: dict[str, Score] = {}
    per_study: dict[str, Floats] = {}
    measured: dict[str, Measured] = {}
    for name in names:
        extra = called_with(name, settings, truth)
        with np.errstate(divide="ignore", invalid="ignore"):
            result = measured[name] = registry.measure(name, hypotheses, references, **extra)
            values = result.aggregate(result.counts.sum(axis=0))
            per_study.update(result.aggregate(result.counts))
        ends = intervals(result, groups)
        for key, value in values.items():
            end = ends[key]
            scores[key] = Score(float(value), end.ends, direction(key, result), result.signature, end.why)
    return Scores(tuple(study_ids), scores, per_study, measured, groups)


def called_with(
    name: str,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    truth: Sequence[Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """What the metric `name` is called with besides the texts."""
    extra = dict((settings or {}).get(name, {}))
    if name == "findings":
        extra["truth"] = truth
    return extra


def chosen_metrics(metrics: Sequence[str] | None, has_truth: bool) -> list[str]:
    """The metrics to run, each once; raises UsageError for a name that is none, or findings without truth."""
    if metrics is None:
        return [*WEIGHT_FREE, *(["findings"] if has_truth else [])]
    asked = [part for name in metrics for part in (SUM_OF if name == "sum" else (name,))]
    names = list(dict.fromkeys(registry.metric_of(name) for name in asked))
    if "findings" in names and not has_truth:
        raise UsageError("the metric 'findings' compares with a table of true findings; give it with --truth")
    return names


def direction(name: str, measured: Measured) -> str:
    """Which way a metric's score gets better, as `Score.direction` says it."""
    return "down" if name in measured.down else "one" if name in measured.one else "up"


def loss(value: Floats | float, way: str) -> Floats:
    """How bad values of a direction are, in the score's own unit: the smaller the better."""
    return np.abs(np.asarray(value) - 1) if way == "one" else np.asarray(value) * (1 if way == "down" else -1)


def headline(names: Iterable[str], at_most: int = 5) -> list[str]:
    """The most telling of `names`: clinical scores first, then overlap; always with one of each where there is one."""
    having = [name for name in HEADLINE if name in set(names)]
    return having if len(having) <= at_most else having[: at_most - 2] + having[-2:]


def is_finer(name: str) -> bool:
    """Whether a score is of a single finding, which tables of findings show and scoreboards do not."""
    _, f1, rest = name.partition("_f1_")
    return bool(f1) and rest.split("_")[0] not in ("micro", "macro", "weighted")


def sum_score(scores: Mapping[str, Score]) -> tuple[float | None, list[str]]:
    """The sum of `SUM_OF`, or None and the names that are missing: a sum without a part is another number."""
    missing = [name for name in SUM_OF if name not in scores or not math.isfinite(scores[name].value)]
    return (None if missing else math.fsum(scores[name].value for name in SUM_OF)), missing


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
        twice = next(name for name, times in Counter(study_ids).items() if times > 1)
        raise InputError(f"study {twice!r} stands twice; each study is scored once")
