"""ROUGE, the share of a reference's words that a report has in the same order, in the ways the field computes it.

Two programs are in use and differ in tokens and in how precision and recall are joined: pycocoevalcap (ROUGE-L, recall
weighs more) and rouge-score (ROUGE-1, -2 and -L, plain F1). The value of a set is the mean over studies in both. The
longest common subsequence is found with one machine-integer row per report (each bit a token of the other text), which
is some thirty times faster than the usual table and gives the same lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cxrgen.core.errors import unknown
from cxrgen.metrics import Floats, Metric, MetricResult, mean_of_studies
from cxrgen.metrics.lexical import tokenizers as words
from cxrgen.metrics.lexical.ngrams import orders
from cxrgen.metrics.lexical.ptb import cached_tokens

_BETA = 1.2  # weighs recall over precision
Words = Sequence[str]


@dataclass(frozen=True)
class Preset:
    """`words` cuts a text; `joined` makes the score of common length, report length and reference length."""

    words: Callable[[str], Words]
    joined: Callable[[Floats, Floats, Floats], Floats]
    signature: str
    ngrams: tuple[int, ...] = ()  # also ROUGE-n of these orders


def weighted(common: Floats, hyp: Floats, ref: Floats) -> Floats:
    """pycocoevalcap's F with beta 1.2; 0 where nothing is common."""
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = common / hyp, common / ref
        value = (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)
    return np.where(common > 0, value, 0.0)


def plain(common: Floats, hyp: Floats, ref: Floats) -> Floats:
    """rouge-score's F1; 0 where nothing is common."""
    return np.where(common > 0, 2 * common / np.maximum(hyp + ref, 1), 0.0)


def _one_word_at_least(cut: Callable[[str], Words]) -> Callable[[str], Words]:
    """An empty text is one empty word to pycocoevalcap, so two empty ones score 1."""
    return lambda text: cut(text) or ("",)


PRESETS = {
    "coco-ptb": Preset(_one_word_at_least(cached_tokens), weighted, "coco|tokens:ptb|case:lower|beta:1.2"),
    "coco-raw": Preset(lambda text: text.split(" "), weighted, "coco|tokens:single blanks|case:kept|beta:1.2"),
    "r2gen": Preset(words.cleaned_mimic, weighted, "coco|tokens:r2gen-mimic cleaning, uncut|case:lower|beta:1.2"),
    "r2gen-iu": Preset(words.cleaned_iu, weighted, "coco|tokens:r2gen-iu cleaning, uncut|case:lower|beta:1.2"),
    "rouge-score": Preset(words.rouge_score, plain, "rouge-score|tokens:a-z0-9|case:lower|stemmer:no|f1", (1, 2)),
    "radeval": Preset(words.rouge_score_stems, plain, "rouge-score|tokens:a-z0-9|case:lower|stemmer:porter|f1", (1, 2)),
}
DEFAULT = "coco-ptb"


def measure(hypotheses: Sequence[str], references: Sequence[str], preset: str = DEFAULT) -> MetricResult:
    """ROUGE of N pairs of texts by a preset; counts are (N, K + 1): the pair's K values and 1.

    `rouge_l`, and with rouge-score's presets `rouge_1` and `rouge_2`. Raises UsageError for an unknown preset.
    """
    if preset not in PRESETS:
        raise unknown("preset of rouge", preset, PRESETS)
    chosen = PRESETS[preset]
    suffix = "" if preset == DEFAULT else f".{preset}"
    hyps, refs = ([chosen.words(text) for text in texts] for texts in (hypotheses, references))
    scores: dict[str, Floats] = {}
    for number, order in enumerate(orders(hyps, refs, max(chosen.ngrams, default=0)), 1):
        scores[f"rouge_{number}{suffix}"] = chosen.joined(order.matches(), *order.totals())
    common = np.array([common_length(hyp, ref) for hyp, ref in zip(hyps, refs)], dtype=np.float64)
    lengths = (np.array([len(text) for text in side], dtype=np.float64) for side in (hyps, refs))
    scores[f"rouge_l{suffix}"] = chosen.joined(common, *lengths)
    return mean_of_studies(scores, f"rouge|{chosen.signature}|level:mean of studies")


def common_length(one: Words, other: Words) -> int:
    """Length of the longest common subsequence, bit-parallel (Hyyro 2004)."""
    places: dict[str, int] = {}
    for place, token in enumerate(one):
        places[token] = places.get(token, 0) | 1 << place
    full = (1 << len(one)) - 1
    row = full
    for token in other:
        matched = row & places.get(token, 0)
        row = ((row + matched) | (row - matched)) & full
    return len(one) - row.bit_count()


METRIC = Metric(
    measure,
    "overlap",
    presets=PRESETS,
    default_preset=DEFAULT,
    by_default=True,
    headline={"rouge_l": 90},
    study_order={"rouge_l": 1},
)
