"""Texts to numbers. A metric is one file that ends with a `Metric` record, and one line in `METRICS`.

Every metric is split in two so that confidence intervals cost nothing: `measure` turns each pair of texts into a row of
counts, `aggregate` turns a *sum* of rows into the metric's scores. The corpus value is `aggregate(counts.sum(0))`, the
value of study i is mostly `aggregate(counts[i])`, and a value without a patient is `aggregate` of one sum less another.

A name is a metric ("bleu"), a preset of a metric ("bleu.sacrebleu"), or a score that one of these gives
("bleu_2.sacrebleu", "prior_rate"). Files are imported when one of their metrics is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxrgen.core.errors import UsageError, unknown

Floats = NDArray[np.float64]
Better = Literal["higher", "lower", "nearer_to_1"]
Columns = tuple[int, int, int]  # of hits, false alarms and misses in a table of counts


@dataclass(frozen=True)
class Noted:
    """An error that a metric found in one study, to be shown beside its texts."""

    kind: str
    finding: str  # in the metric's own words, which may be those of a report
    urgent: bool = False


@dataclass(frozen=True)
class MetricResult:
    """Counts of shape (N studies, K) and the function from (..., K) sums to named scores of shape (...)."""

    counts: Floats
    aggregate: Callable[[Floats], dict[str, Floats]]
    signature: str  # all that another person needs to get the same number: preset, tokens, version
    lower_is_better: frozenset[str] = field(default_factory=frozenset)  # names of scores
    target_one: frozenset[str] = field(default_factory=frozenset)  # names of scores of which 1 is best
    f1: Mapping[str, tuple[Columns, ...]] = field(default_factory=dict)  # F1 of a finding, or the mean F1 of several
    of_study: Callable[[Floats], dict[str, Floats]] | None = None  # where a study alone is scored otherwise than a set
    noted: Sequence[Sequence[Noted]] = ()  # of each study, or nothing at all
    unscored: Callable[[Floats], dict[str, int]] | None = None  # from counts (N, K): studies without a value, by reason

    def per_study(self) -> dict[str, Floats]:
        """Each score of each study by itself, shape (N,)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return (self.of_study or self.aggregate)(self.counts)

    def better(self, score: str) -> Better:
        """Which values of a score are better."""
        return "lower" if score in self.lower_is_better else "nearer_to_1" if score in self.target_one else "higher"

    def is_single_finding(self, score: str) -> bool:
        """Whether a score is the F1 of one finding, which tables of findings show and the scoreboard does not."""
        return len(self.f1.get(score, ())) == 1


@dataclass(frozen=True)
class Option:
    """A flag of `cxrgen evaluate` whose value goes to a metric's `measure` as `keyword`.

    Metrics that share a flag hold the same `Option`. Without a `metavar` the flag is a switch. `requires` is another
    flag without which this one means nothing.
    """

    flag: str
    keyword: str
    help: str
    metavar: str | None = None
    type: Callable[[str], Any] = Path
    requires: str = ""


def never(given: Mapping[str, Any]) -> bool:
    """Whatever the options are: no."""
    return False


def always(given: Mapping[str, Any]) -> bool:
    """Whatever the options are: yes."""
    return True


def _nothing(given: Mapping[str, Any]) -> str:
    return ""


def _accepted(given: Mapping[str, Any]) -> None:
    return None


@dataclass(frozen=True)
class Metric:
    """What is known of a metric besides its numbers; `measure(hypotheses, references, **options)` makes those.

    A metric with presets is also measured with the keyword `preset`. One that `needs_truth` gets the keyword `truth`,
    the rows of the table of true findings. One with `parts` gets the keyword `settings`, the options of each part, and
    may get `measured`, the results of parts that were measured already. `by_pair` says, by the metric's options,
    whether the counts of a pair depend on that pair alone: then all sets of reports are measured in one call.
    """

    measure: Callable[..., MetricResult]
    group: Literal["clinical", "overlap", "style"]
    scores: tuple[str, ...] = ()  # beginnings of its scores' names, where these do not begin with the metric's name
    presets: Collection[str] = ()
    default_preset: str = ""  # its scores carry no suffix
    by_default: bool = False  # measured when no metric is named
    early: bool = False  # measured before others, which find its work done
    needs_truth: bool = False
    options: tuple[Option, ...] = ()
    asked_for: Callable[[Mapping[str, Any]], bool] = never  # by its options as given, without being named
    parts: tuple[str, ...] = ()  # metrics that it is made of
    weights: bool = False  # needs those of a model, and the time that takes
    by_pair: Callable[[Mapping[str, Any]], bool] = never
    several: Callable[..., MetricResult] | None = None  # `measure` for lists of references; see cxrgen.metrics.several
    lacks: Callable[[Mapping[str, Any]], str] = _nothing  # what it cannot run without, by its options, as one line
    check: Callable[[Mapping[str, Any]], None] = _accepted  # raises UsageError for its options, before files are read
    for_baselines: Callable[[Mapping[str, Any]], bool] = always  # whether baselines are measured too, by its options
    keeps: str = ""  # folder of the results in which it keeps what it computed, where no other is given as `cache`
    headline: Mapping[str, int] = field(default_factory=dict)  # places of its scores among those to look at first
    study_order: Mapping[str, int] = field(default_factory=dict)  # its scores that sort single studies; lowest first


METRICS = {  # the file, or "file:NAME" of the record where a file has several
    "bleu": "cxrgen.metrics.lexical.bleu",
    "rouge": "cxrgen.metrics.lexical.rouge",
    "cider": "cxrgen.metrics.lexical.cider",
    "meteor": "cxrgen.metrics.lexical.meteor",
    "rule": "cxrgen.metrics.clinical.rule_f1",
    "temporal": "cxrgen.metrics.clinical.temporal",
    "flips": "cxrgen.metrics.clinical.flips",
    "form": "cxrgen.metrics.lexical.text_stats",
    "findings": "cxrgen.metrics.clinical.finding_f1",
    "chexbert": "cxrgen.metrics.clinical.chexbert",
    "bertscore": "cxrgen.metrics.embedding.bertscore",
    "bertscore_minilm": "cxrgen.metrics.embedding.bertscore:MINILM",
    "bertscore_encoder": "cxrgen.metrics.embedding.bertscore:ENCODER",
    "radgraph": "cxrgen.metrics.clinical.radgraph",
    "radgraph_combined": "cxrgen.metrics.clinical.radgraph:COMBINED",
    "ratescore": "cxrgen.metrics.clinical.radeval:RATESCORE",
    "green": "cxrgen.metrics.clinical.radeval:GREEN",
    "srr": "cxrgen.metrics.clinical.radeval:SRR",
    "radcliq": "cxrgen.metrics.clinical.radcliq",
    "judge": "cxrgen.metrics.clinical.judge",
}


def load(name: str) -> Metric:
    """The record of a metric, or of the metric whose preset is named: "bleu" and "bleu.sacrebleu" give the same."""
    file, _, record = METRICS[name.partition(".")[0]].partition(":")
    metric: Metric = getattr(importlib.import_module(file), record or "METRIC")
    return metric


def load_all() -> dict[str, Metric]:
    """The records of all metrics by name."""
    return {name: load(name) for name in METRICS}


def metric_of(name: str) -> str:
    """The metric that gives the score `name`: "bleu_2.sacrebleu" -> "bleu.sacrebleu", "bleu" -> "bleu".

    A beginning of scores' names stands for them ("chexbert_f1"). Raises UsageError with the nearest name for what is
    neither metric, preset nor score.
    """
    stem, dot, preset = name.partition(".")
    metric = stem if stem in METRICS else _metric_with_score(stem)
    record = load(metric)
    if not dot or preset == record.default_preset:
        return metric
    if not record.presets:
        raise UsageError(f"unknown --metrics {name!r}; {metric} has no presets")
    if preset not in record.presets:
        raise unknown(f"preset of {metric}", preset, record.presets)
    return f"{metric}.{preset}"


def _metric_with_score(stem: str) -> str:
    begins = {begin: metric for metric, record in load_all().items() for begin in (metric, *record.scores)}
    fitting = [begin for begin in begins if stem == begin or stem.startswith(f"{begin}_")]
    if not fitting:
        raise unknown("--metrics", stem, METRICS)
    metric = begins[max(fitting, key=len)]
    scores: set[str] = set()
    for name in _with_presets(metric):
        scores |= {score.partition(".")[0] for score in scores_of(name)}
        if any(f"{score}_".startswith(f"{stem}_") for score in scores):
            return metric
    raise unknown(f"score of {metric}", stem, sorted(scores))


def _with_presets(metric: str) -> list[str]:
    return [metric, *(f"{metric}.{preset}" for preset in load(metric).presets)]


def scores_of(name: str) -> list[str]:
    """The names of the scores that a metric, or a preset of one, gives."""
    result = measure_nothing(name)
    with np.errstate(divide="ignore", invalid="ignore"):
        return list(result.aggregate(np.ones(result.counts.shape[1])))


def measure_nothing(name: str) -> MetricResult:
    """A metric's result for no studies; it needs no weights and knows how counts become scores."""
    return measure(name, [], [], **({"truth": []} if load(name).needs_truth else {}))


def measure(name: str, hypotheses: Sequence[str], references: Sequence[str], **options: Any) -> MetricResult:
    """Run the metric `name` on N pairs of texts; `options` are what some need besides: a truth, weights, settings."""
    preset = name.partition(".")[2]
    return load(name).measure(hypotheses, references, **options, **({"preset": preset} if preset else {}))


def measure_several(
    name: str, hypotheses: Sequence[str], references: Sequence[Sequence[str]], **options: Any
) -> MetricResult:
    """The same for N reports, each with one reference or more; UsageError where the metric has no definition for it."""
    preset, several = name.partition(".")[2], load(name).several
    if several is None:
        raise UsageError(
            f"{name} has no definition for several references; leave it out of --metrics, or give one a study"
        )
    return several(hypotheses, references, **options, **({"preset": preset} if preset else {}))


def mean_of_studies(scores: Mapping[str, Sequence[float] | Floats], signature: str, **fields: Any) -> MetricResult:
    """A metric whose value of a set is the mean over its studies; counts are (N, K + 1): the K scores and 1."""
    columns = [np.asarray(values, dtype=np.float64) for values in scores.values()]
    names = tuple(scores)

    def aggregate(sums: Floats) -> dict[str, Floats]:
        return {name: sums[..., column] / sums[..., -1] for column, name in enumerate(names)}

    counts = np.stack([*columns, np.ones(len(columns[0]))], axis=1)
    return MetricResult(counts, aggregate, signature, **fields)
