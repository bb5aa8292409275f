"""BLEU-1 to BLEU-4 in the ways the field computes them, each equal to its reference program.

Papers say "BLEU-4" and mean one of at least five numbers, which can lie ten points apart on the same reports: tokens,
case, what happens at a zero count, and whether the set's counts are summed or studies' values averaged all differ. A
preset is one such combination; its name stands in the score's name (`bleu_4.sacrebleu`) and all of it in the signature.
`coco-ptb`, the default, has no suffix.

Four match counts, four totals, two lengths and a one per study are all that any of them needs, so the corpus value, a
study's own value and every bootstrap sample come from sums of the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from cxrgen.core.errors import unknown
from cxrgen.metrics import Floats, Metric, MetricResult, mean_of_studies
from cxrgen.metrics.lexical import tokenizers as words
from cxrgen.metrics.lexical.ngrams import ORDERS, Cut, match_counts
from cxrgen.metrics.lexical.several import bleu_counts
from cxrgen.metrics.lexical.token_table import token_table
from cxrgen.metrics.several import References

_ABOVE, _BELOW = 1e-15, 1e-9  # the COCO scorer's guards against 0/0; they show in values of short texts
_METHOD1 = 0.1  # fast-bleu and nltk's first smoothing: a zero count becomes this


@dataclass(frozen=True)
class Preset:
    """`words` cuts a text, `values` turns sums of the ten counts into BLEU-1..4 along a new last axis."""

    words: Cut
    values: Callable[[Floats], Floats]
    signature: str
    mean: bool = False  # the set's value is the mean of its studies' values
    study_values: Callable[[Floats], Floats] | None = None  # of a study alone, where it is scored otherwise than a set


def coco(sums: Floats) -> Floats:
    """pycocoevalcap: counts summed over the set, closest reference length, guards instead of smoothing."""
    matches, totals, length = sums[..., 0:4], sums[..., 4:8], sums[..., 8:9]
    precision = np.cumprod((matches + _ABOVE) / (totals + _BELOW), axis=-1)
    ratio = (totals[..., 0:1] + _ABOVE) / (length + _BELOW)
    penalty = np.exp(np.minimum(0.0, 1 - 1 / ratio))
    return np.asarray(penalty * precision ** (1 / np.array(ORDERS)))


def sacrebleu(sums: Floats, effective_order: bool = False) -> Floats:
    """sacrebleu: the k-th order without a match counts as 1/2^k of a match; orders that no text can have give 0.

    A sentence is scored over the orders that it can have (`effective_order`).
    """
    matches, totals, length = sums[..., 0:4], sums[..., 4:8], sums[..., 8:9]
    possible = totals > 0
    zero = possible & (matches == 0)
    smoothed = np.where(zero, 0.5 ** np.cumsum(zero, axis=-1), matches)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(possible, np.log(smoothed / totals), 0.0)
        penalty = np.exp(np.minimum(0.0, 1 - length / totals[..., 0:1]))
    summed = np.cumsum(logs, axis=-1)
    effective = np.cumsum(possible, axis=-1)
    value = penalty * np.exp(summed / np.maximum(effective, 1))
    whole = (effective > 0) if effective_order else (effective == np.array(ORDERS))
    return np.where((matches[..., 0:1] > 0) & whole, value, 0.0)


def method1(sums: Floats) -> Floats:
    """fast-bleu 0.0.90, also nltk's method1: a zero count is 0.1, a missing order has the total 1."""
    matches, totals, length = sums[..., 0:4], sums[..., 4:8], sums[..., 8:9]
    precision = np.where(matches > 0, matches, _METHOD1) / np.maximum(totals, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        penalty = np.exp(np.minimum(0.0, 1 - length / totals[..., 0:1]))
    value = penalty * np.exp(np.cumsum(np.log(precision), axis=-1) / np.array(ORDERS))
    return np.where(matches[..., 0:1] > 0, value, 0.0)


_COCO = "case:{case}|level:corpus|ref length:closest|smooth:1e-15/1e-9"
PRESETS = {
    "coco-ptb": Preset(words.treebank, coco, "tokens:ptb|" + _COCO.format(case="lower")),
    "coco-raw": Preset(words.blanks, coco, "tokens:white space|" + _COCO.format(case="kept")),
    "r2gen": Preset(words.cleaned_mimic, coco, "tokens:r2gen-mimic cleaning, uncut|" + _COCO.format(case="lower")),
    "r2gen-iu": Preset(words.cleaned_iu, coco, "tokens:r2gen-iu cleaning, uncut|" + _COCO.format(case="lower")),
    "radeval": Preset(words.blanks, coco, "tokens:white space|" + _COCO.format(case="kept")),
    "sacrebleu": Preset(
        words.mteval_13a,
        sacrebleu,
        "tokens:13a|case:kept|level:corpus, a study by effective order|smooth:exp|scale:0-1",
        study_values=partial(sacrebleu, effective_order=True),
    ),
    "cxr-report-metric": Preset(
        words.report_metric,
        method1,
        "tokens:lower, dot apart, single blanks|case:lower|level:mean of studies|smooth:method1",
        mean=True,
    ),
}
DEFAULT = "coco-ptb"


def measure(hypotheses: Sequence[str], references: Sequence[str], preset: str = DEFAULT) -> MetricResult:
    """BLEU of N pairs of texts by a preset.

    Counts are (N, 10): matches of orders 1-4, totals of orders 1-4, reference length, 1; or, where the set's value is
    the mean of its studies' values, (N, 5): the study's four values and 1. Raises UsageError for an unknown preset.
    """
    return _scored(preset, lambda cut: counted(cut, hypotheses, references))


def measure_several(hypotheses: Sequence[str], references: References, preset: str = DEFAULT) -> MetricResult:
    """The same with one reference or more a study: matches in any of them, and the length of the nearest."""
    scored = _scored(preset, lambda cut: bleu_counts(cut, hypotheses, references))
    return replace(scored, signature=f"{scored.signature}|references:several")


def _scored(preset: str, count: Callable[[Cut], Floats]) -> MetricResult:
    if preset not in PRESETS:
        raise unknown("preset of bleu", preset, PRESETS)
    chosen = PRESETS[preset]
    suffix = "" if preset == DEFAULT else f".{preset}"
    names = [f"bleu_{order}{suffix}" for order in ORDERS]
    signature = f"bleu|{preset}|{chosen.signature}"
    counts = count(chosen.words)
    if chosen.mean:
        return mean_of_studies(dict(zip(names, chosen.values(counts).T)), signature)

    aggregate = partial(_named, names=names, values=chosen.values)
    of_study = partial(_named, names=names, values=chosen.study_values) if chosen.study_values else None
    return MetricResult(counts, aggregate, signature, of_study=of_study)


def _named(sums: Floats, names: Sequence[str], values: Callable[[Floats], Floats]) -> dict[str, Floats]:
    scores = values(sums)
    return {name: scores[..., column] for column, name in enumerate(names)}


def counted(cut: Cut, hypotheses: Sequence[str], references: Sequence[str]) -> Floats:
    """Matches and totals of orders 1-4, reference length, 1: shape (N, 10), from N pairs of texts."""
    table = token_table(cut)
    hyp, ref = table.lengths(hypotheses), table.lengths(references)
    totals = np.maximum(hyp[:, None] + 1 - np.array(ORDERS), 0)
    matches = match_counts(cut, hypotheses, references)
    return np.column_stack([matches, totals, ref, np.ones(len(hypotheses))])


METRIC = Metric(
    measure,
    "overlap",
    several=measure_several,
    presets=PRESETS,
    default_preset=DEFAULT,
    by_default=True,
    headline={"bleu_4": 100},
    study_order={"bleu_4": 3},
)
