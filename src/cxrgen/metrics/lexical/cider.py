"""CIDEr-D, the cosine of two texts' n-grams where rare ones weigh more, as pycocoevalcap computes it.

How rare an n-gram is, is counted in the references being scored. So the value belongs to that set: it cannot be
compared with another set's or a subset's, and here, where most chests are normal, the weights mostly reward saying the
usual. Intervals keep the weights of the whole set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cxrgen.core.errors import unknown
from cxrgen.metrics import Floats, Metric, MetricResult, mean_of_studies
from cxrgen.metrics.lexical import tokenizers as words
from cxrgen.metrics.lexical.ngrams import Counted, orders

_ORDERS = 4
_SIGMA = 6.0  # how fast a difference in length costs
PRESETS: dict[str, tuple[Callable[[str], Sequence[str]], str]] = {
    "coco-ptb": (words.treebank, "tokens:ptb|case:lower"),
    "coco-raw": (words.blanks, "tokens:white space|case:kept"),
    "r2gen": (words.cleaned_mimic, "tokens:r2gen-mimic cleaning, uncut|case:lower"),
    "r2gen-iu": (words.cleaned_iu, "tokens:r2gen-iu cleaning, uncut|case:lower"),
}
DEFAULT = "coco-ptb"


def measure(hypotheses: Sequence[str], references: Sequence[str], preset: str = DEFAULT) -> MetricResult:
    """`cider` of N pairs of texts, 0 to 10; counts are (N, 2): the pair's value and 1.

    Raises UsageError for an unknown preset.
    """
    if preset not in PRESETS:
        raise unknown("preset of cider", preset, PRESETS)
    tokens, signature = PRESETS[preset]
    name = "cider" if preset == DEFAULT else f"cider.{preset}"
    values = cider_d([tokens(text) for text in hypotheses], [tokens(text) for text in references])
    signature = f"cider-d|{preset}|{signature}|n:4|sigma:6|idf:references of this set|level:mean of studies"
    return mean_of_studies({name: values}, signature)


def cider_d(hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> Floats:
    """The values of N pairs of token sequences, shape (N,)."""
    studies = len(hypotheses)
    value, longer = np.zeros(studies), np.zeros(studies)
    for number, order in enumerate(orders(hypotheses, references, _ORDERS), 1):
        documents = np.bincount(order.ref.ngram, minlength=order.kinds)
        rarity = np.log(max(1, studies)) - np.log(np.maximum(1, documents))
        hyp, ref = (side.times * rarity[side.ngram] for side in (order.hyp, order.ref))
        first, second = order.shared()
        products = np.minimum(hyp[first], ref[second]) * ref[second]
        shared = np.bincount(order.hyp.study[first], products, studies)
        lengths = _norms(order.hyp, hyp, studies) * _norms(order.ref, ref, studies)
        value += np.divide(shared, lengths, out=np.zeros(studies), where=lengths > 0)
        if number == 2:  # the original counts pairs of words to tell how long a text is
            totals = order.totals()
            longer = totals[0] - totals[1]
    return np.asarray(10 / _ORDERS * value * np.exp(-(longer**2) / (2 * _SIGMA**2)))


def _norms(side: Counted, weights: Floats, studies: int) -> Floats:
    return np.sqrt(np.bincount(side.study, weights**2, studies))


METRIC = Metric(measure, "overlap", presets=PRESETS, default_preset=DEFAULT, by_default=True)
