"""CIDEr-D, the cosine of two texts' n-grams where rare ones weigh more, as pycocoevalcap computes it.

How rare an n-gram is, is counted in the references being scored. So the value belongs to that set: it cannot be
compared with another set's or a subset's, and here, where most chests are normal, the weights mostly reward saying the
usual. Intervals keep the weights of the whole set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from cxrgen.core.errors import unknown
from cxrgen.metrics import Floats, Metric, MetricResult, mean_of_studies
from cxrgen.metrics.lexical import several
from cxrgen.metrics.lexical import tokenizers as words
from cxrgen.metrics.lexical.ngrams import Cut, Ngrams, Part, counted, distinct, parts, read_in_order, slices
from cxrgen.metrics.lexical.token_table import Ints, token_table
from cxrgen.metrics.several import References

_ORDERS = 4
_SIGMA = 6.0  # how fast a difference in length costs
PRESETS: dict[str, tuple[Cut, str]] = {
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
    return _scored(preset, lambda cut: cider_d(cut, hypotheses, references))


def measure_several(hypotheses: Sequence[str], references: References, preset: str = DEFAULT) -> MetricResult:
    """The same with one reference or more a study, the mean over them."""
    found = _scored(preset, lambda cut: several.cider_d(cut, hypotheses, references, _SIGMA))
    return replace(found, signature=f"{found.signature}|references:several, mean")


def _scored(preset: str, values: Callable[[Cut], Floats]) -> MetricResult:
    if preset not in PRESETS:
        raise unknown("preset of cider", preset, PRESETS)
    cut, signature = PRESETS[preset]
    name = "cider" if preset == DEFAULT else f"cider.{preset}"
    signature = f"cider-d|{preset}|{signature}|n:4|sigma:6|idf:references of this set|level:mean of studies"
    return mean_of_studies({name: values(cut)}, signature)


def cider_d(cut: Cut, hypotheses: Sequence[str], references: Sequence[str]) -> Floats:
    """The values of N pairs of texts, shape (N,)."""
    read_in_order(cut, hypotheses, references)
    documents = document_counts(cut, tuple(references))
    value = np.zeros(len(hypotheses))
    for part in parts(cut, hypotheses, references):
        value[part.rows] = _of_part(part, documents, math.log(len(references)))
    return value


def _of_part(part: Part, documents: DocumentCounts, log_studies: float) -> Floats:
    studies = len(part.hyp.lengths)
    value = np.zeros(studies)
    bigrams = documents.numbers_of(part.ngrams.bigrams)
    for number in range(1, _ORDERS + 1):
        order = part.order(number)
        logs = documents.logs_of(number, part.ngrams, order.ngram, bigrams)
        weights = order.times * (log_studies - logs)
        hyp, ref = weights[order.pairs], weights[order.pairs + 1]
        shared = np.bincount(order.study[order.pairs], np.minimum(hyp, ref) * ref, studies)
        hyp_length, ref_length = map(np.sqrt, order.summed(weights**2))
        lengths = hyp_length * ref_length
        value += np.divide(shared, lengths, out=np.zeros(studies), where=lengths > 0)
    # The original counts bigrams to tell how long a text is.
    longer = np.maximum(part.hyp.lengths, 1) - np.maximum(part.ref.lengths, 1)
    return np.asarray(10 / _ORDERS * value * np.exp(-(longer**2) / (2 * _SIGMA**2)))


@dataclass(frozen=True)
class DocumentCounts:
    """In how many references each of their n-grams occurs.

    By order, `keys` are n-grams as `Ngrams.packed` gives them, sorted. Those of orders 1 and 2 are numbers of tokens
    and positions in `bigrams`, so `logs` has one for each number from 0 on; the last is that of an n-gram that no
    reference has, which the original counts once.
    """

    bigrams: Ints  # packed and sorted
    keys: tuple[Ints | None, ...] = ()
    logs: tuple[Floats, ...] = ()  # of the counts

    def numbers_of(self, bigrams: Ints) -> Ints:
        """The positions of packed bigrams in `bigrams`, -1 for one that no reference has."""
        return _positions(self.bigrams, bigrams)

    def logs_of(self, order: int, ngrams: Ngrams, ngram: Ints, bigrams: Ints) -> Floats:
        """The logarithm of the count of each n-gram of some texts, whose bigrams have these numbers here."""
        table, logs = self.keys[order - 1], self.logs[order - 1]
        if table is None:
            keys, last = ngrams.packed(order, ngram, bigrams), len(logs) - 1
            return logs[np.where((keys >= 0) & (keys < last), keys, last)]
        few, places = distinct(ngram, ngrams.bits(order))  # the large table is searched for few and in its own order
        return logs[_positions(table, ngrams.packed(order, few, bigrams))][places]


@lru_cache(maxsize=1)  # the references are the same for every baseline
def document_counts(cut: Cut, references: tuple[str, ...]) -> DocumentCounts:
    """Count the n-grams of all references, some thousands at a time."""
    table = token_table(cut)
    chunks = list(slices([len(text) for text in references]))
    packed = [Ngrams(table.numbered(references[rows])).bigrams for rows in chunks]
    ordered = np.sort(np.concatenate([*packed, np.zeros(0, dtype=np.int64)]))
    bigrams = DocumentCounts(ordered[np.flatnonzero(np.diff(ordered, prepend=-1))])
    found: list[list[tuple[Ints, Ints]]] = [[] for _ in range(_ORDERS)]
    for rows in chunks:
        texts = table.numbered(references[rows])
        ngrams = Ngrams(texts)
        numbers = bigrams.numbers_of(ngrams.bigrams)
        for order, of_order in enumerate(found, 1):
            once = counted(*ngrams.of_order(order), len(texts.lengths)).ngram
            of_order.append(np.unique(ngrams.packed(order, once, numbers), return_counts=True))
    keys, counts = zip(*(_merged(of_order) for of_order in found))
    dense = [np.bincount(keys[order], counts[order]) for order in (0, 1)]
    logs = tuple(np.log(np.append(np.maximum(1, table), 1)) for table in (*dense, *counts[2:]))
    return DocumentCounts(bigrams.bigrams, (None, None, *keys[2:]), logs)


def _merged(counts: Sequence[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    """Keys with their counts, added up over the chunks."""
    if not counts:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    if len(counts) == 1:
        return counts[0]
    keys, inverse = np.unique(np.concatenate([keys for keys, _ in counts]), return_inverse=True)
    times = np.bincount(inverse, np.concatenate([times for _, times in counts]), len(keys))
    return keys, times.astype(np.int64)


def _positions(table: Ints, keys: Ints) -> Ints:
    """Where keys stand in a sorted table; -1 for those that do not."""
    if not len(table):
        return np.full(len(keys), -1, dtype=np.int64)
    positions = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    return np.where(table[positions] == keys, positions, -1)


METRIC = Metric(
    measure,
    "overlap",
    several=measure_several,
    presets=PRESETS,
    default_preset=DEFAULT,
    by_default=True,
    early=True,  # BLEU takes the matches of the n-grams that are counted here
)
