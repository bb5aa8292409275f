"""Laterality and negation errors, which n-gram metrics and BERTScore miss.

"Small left effusion" for "small right effusion" keeps nearly all words and BERTScore .99; so does dropping "no". Both
are counted here with the rule labels, only where the two texts state the same finding clearly enough to contradict
each other, so a flip is a contradiction and not an omission.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from cxrgen.metrics import Floats, Metric, MetricResult
from cxrgen.metrics.clinical.labels import rule_label
from cxrgen.text.rule_labels import statements

_LEFT = re.compile(r"\b(?:left(?:-sided)?|lingula\w*)\b")
_RIGHT = re.compile(r"\bright(?:-sided)?\b|\bmiddle lobe\b")
_BOTH = re.compile(r"\bbilateral\w*|\bbibasilar\b|\bboth\b|\bbi\w*basal\b")
_UNSIDED = ("No Finding", "Cardiomegaly", "Enlarged Cardiomediastinum", "Support Devices")


def measure(hypotheses: Sequence[str], references: Sequence[str]) -> MetricResult:
    """`side_flips` and `negation_flips` of N pairs; counts are (N, 4): flips and comparable findings of each kind.

    Comparable for the side: both texts have the finding, each on one side only. For the negation: both state present or
    absent, neither is uncertain. A value is flips by comparable findings over the set; NaN where nothing is comparable.
    """
    rows = [(*_side_flips(hyp, ref), *_negation_flips(hyp, ref)) for hyp, ref in zip(hypotheses, references)]
    counts = np.array(rows, dtype=np.float64).reshape(len(rows), 4)
    names = frozenset({"side_flips", "negation_flips"})
    return MetricResult(counts, _rates, "flips|labels:cxrgen-rules-3|level:corpus, of comparable findings", names)


@lru_cache(1 << 15)
def sides(report: str) -> Mapping[str, str]:
    """The findings of a report that it states as present on one side only: "left" or "right"."""
    sides_of: dict[str, set[str]] = {}
    for sentence, stated in statements(report):
        names = [name for name, value in stated if value == 1 and name not in _UNSIDED]
        for name in names:
            sides_of.setdefault(name, set()).update(_sides_named(sentence))
    return {name: next(iter(named)) for name, named in sides_of.items() if len(named) == 1}


@lru_cache(1 << 15)
def _sides_named(sentence: str) -> frozenset[str]:
    if _BOTH.search(sentence):
        return frozenset(("left", "right"))
    return frozenset(side for side, words in (("left", _LEFT), ("right", _RIGHT)) if words.search(sentence))


def _side_flips(hyp: str, ref: str) -> tuple[int, int]:
    one, other = sides(hyp), sides(ref)
    both = one.keys() & other.keys()
    return sum(one[name] != other[name] for name in both), len(both)


def _negation_flips(hyp: str, ref: str) -> tuple[int, int]:
    one, other = rule_label(hyp), rule_label(ref)
    both = [name for name in one.keys() & other.keys() if name != "No Finding" and -1 not in (one[name], other[name])]
    return sum(one[name] != other[name] for name in both), len(both)


def _rates(sums: Floats) -> dict[str, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return {"side_flips": sums[..., 0] / sums[..., 1], "negation_flips": sums[..., 2] / sums[..., 3]}


METRIC = Metric(measure, "clinical", scores=("side_flips", "negation_flips"), by_default=True)
