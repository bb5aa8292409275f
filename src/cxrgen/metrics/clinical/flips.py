"""Laterality and negation errors, which n-gram metrics and BERTScore miss.

"Small left effusion" for "small right effusion" keeps nearly all words and BERTScore .99; so does dropping "no". Both
are counted here with the rule labels, only where the two texts state the same finding clearly enough to contradict
each other, so a flip is a contradiction and not an omission.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxrgen.metrics import Floats, Metric, MetricResult
from cxrgen.metrics.clinical.labels import ABSENT, PRESENT, rule_label_table, side_table
from cxrgen.text.chexpert import OBSERVATIONS

_NO_FINDING = OBSERVATIONS.index("No Finding")


def measure(hypotheses: Sequence[str], references: Sequence[str]) -> MetricResult:
    """`side_flips` and `negation_flips` of N pairs; counts are (N, 4): flips and comparable findings of each kind.

    Comparable for the side: both texts have the finding, each on one side only. For the negation: both state present or
    absent, neither is uncertain. A value is flips by comparable findings over the set; NaN where nothing is comparable.
    """
    hyp, ref = side_table(hypotheses), side_table(references)
    comparable = (hyp > 0) & (ref > 0)
    columns = [(comparable & (hyp != ref)).sum(axis=1), comparable.sum(axis=1)]
    hyp, ref = rule_label_table(hypotheses), rule_label_table(references)
    comparable = np.isin(hyp, (PRESENT, ABSENT)) & np.isin(ref, (PRESENT, ABSENT))
    comparable[:, _NO_FINDING] = False
    columns += [(comparable & (hyp != ref)).sum(axis=1), comparable.sum(axis=1)]
    names = frozenset({"side_flips", "negation_flips"})
    counts = np.stack(columns, axis=1).astype(np.float64)
    return MetricResult(counts, _rates, "flips|labels:cxrgen-rules-3|level:corpus, of comparable findings", names)


def _rates(sums: Floats) -> dict[str, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return {"side_flips": sums[..., 0] / sums[..., 1], "negation_flips": sums[..., 2] / sums[..., 3]}


METRIC = Metric(measure, "clinical", scores=("side_flips", "negation_flips"), by_default=True)
