"""ROUGE, the share of a reference's words that a report has in the same order, in the ways the field computes it.

Two programs are in use and differ in tokens and in how precision and recall are joined: pycocoevalcap (ROUGE-L, recall
weighs more) and rouge-score (ROUGE-1, -2 and -L, plain F1). The value of a set is the mean over studies in both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cxrgen.core.errors import unknown
from cxrgen.metrics import Floats, Metric, MetricResult, mean_of_studies
from cxrgen.metrics.lexical import tokenizers as words
from cxrgen.metrics.lexical.lcs import common_lengths
from cxrgen.metrics.lexical.ngrams import parts
from cxrgen.metrics.several import References, flattened, starts_of

_BETA = 1.2  # weighs recall over precision
Words = Sequence[str]


@dataclass(frozen=True)
class Preset:
    """`words` cuts a text; `joined` makes the score of common length, report length and reference length."""

    words: Callable[[str], Words]
    joined: Callable[[Floats, Floats, Floats], Floats]
    signature: str
    ngrams: tuple[int, ...] = ()  # also ROUGE-n of these orders
    empty_word: bool = False  # an empty text is one empty word to pycocoevalcap, so two empty ones score 1

    def with_empty_words(self, common: Floats, hyp: Floats, ref: Floats) -> tuple[Floats, Floats, Floats]:
        """What is common and both lengths, as the preset counts them for empty texts."""
        if not self.empty_word:
            return common, hyp, ref
        return np.where(hyp + ref == 0, 1.0, common), np.maximum(hyp, 1), np.maximum(ref, 1)


def weighted(common: Floats, hyp: Floats, ref: Floats) -> Floats:
    """pycocoevalcap's F with beta 1.2; 0 where nothing is common."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return _f(common / hyp, common / ref)


def _f(precision: Floats, recall: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)
    return np.where(precision > 0, value, 0.0)


def plain(common: Floats, hyp: Floats, ref: Floats) -> Floats:
    """rouge-score's F1; 0 where nothing is common."""
    return np.where(common > 0, 2 * common / np.maximum(hyp + ref, 1), 0.0)


PRESETS = {
    "coco-ptb": Preset(words.treebank_line, weighted, "coco|tokens:ptb|case:lower|beta:1.2", empty_word=True),
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
    chosen = _preset(preset)
    values = np.array([chosen.joined(*of) for of in _counted(chosen, hypotheses, references)])
    return mean_of_studies(dict(zip(_names(preset), values)), f"rouge|{chosen.signature}|level:mean of studies")


def measure_several(hypotheses: Sequence[str], references: References, preset: str = DEFAULT) -> MetricResult:
    """The same with one reference or more a study.

    rouge-score takes the best F1, pycocoevalcap the best precision and the best recall, be they of two references.
    """
    chosen, starts = _preset(preset), starts_of(references)

    def best(values: Floats) -> Floats:
        return np.asarray(np.maximum.reduceat(values, starts)) if starts else np.zeros(0)

    values = []
    for common, hyp, ref in _counted(chosen, *flattened(hypotheses, references)):
        if chosen.joined is weighted:
            values.append(_f(best(common / np.maximum(hyp, 1)), best(common / np.maximum(ref, 1))))
        else:
            values.append(best(chosen.joined(common, hyp, ref)))
    how = "best precision, best recall" if chosen.joined is weighted else "best"
    signature = f"rouge|{chosen.signature}|level:mean of studies|references:several, {how}"
    return mean_of_studies(dict(zip(_names(preset), values)), signature)


def _preset(name: str) -> Preset:
    if name not in PRESETS:
        raise unknown("preset of rouge", name, PRESETS)
    return PRESETS[name]


def _names(preset: str) -> list[str]:
    suffix = "" if preset == DEFAULT else f".{preset}"
    return [*(f"rouge_{order}{suffix}" for order in PRESETS[preset].ngrams), f"rouge_l{suffix}"]


def _counted(chosen: Preset, hypotheses: Sequence[str], references: Sequence[str]) -> Floats:
    """What is common and both lengths of each pair, (scores, 3, N): ROUGE-n of the preset's orders, then ROUGE-L."""
    counts = np.zeros((len(chosen.ngrams) + 1, 3, len(hypotheses)))
    for part in parts(chosen.words, hypotheses, references):
        for place, order in enumerate(map(part.order, chosen.ngrams)):
            counts[place, :, part.rows] = order.matches(), *order.totals()
        counts[-1, :, part.rows] = common_lengths(part.hyp, part.ref), part.hyp.lengths, part.ref.lengths
    counts[-1] = chosen.with_empty_words(*counts[-1])
    return counts


METRIC = Metric(
    measure,
    "overlap",
    several=measure_several,
    presets=PRESETS,
    default_preset=DEFAULT,
    by_default=True,
    headline={"rouge_l": 90},
    study_order={"rouge_l": 1},
)
