"""Agreement of two reports on the 14 observations, read by the project's rule labels.

It stands in for CheXbert where its weights are absent, and its scores are named `rule_*`. The statements of two reports
are compared, not their wording: a report with its meaning reversed keeps its BLEU and loses its F1.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from cxrgen.metrics import Floats, Metric, MetricResult
from cxrgen.metrics.clinical.labels import (
    UNCERTAIN_RULES,
    USUAL_RULE,
    f1_columns,
    f1_counts,
    f1_values,
    label_cosine,
    rule_label_table,
    uncertain_rule,
)
from cxrgen.metrics.several import best_of, by_findings

PRESETS, DEFAULT = UNCERTAIN_RULES, USUAL_RULE


def measure(hypotheses: Sequence[str], references: Sequence[str], preset: str = DEFAULT) -> MetricResult:
    """Rule-label F1 of N pairs of texts; counts are (N, 44): the 42 of `f1_counts`, the label cosine, and 1.

    A preset other than the default counts uncertain labels otherwise and gives the F1 scores alone, by its own name.
    Raises UsageError for an unknown preset.
    """
    uncertain = uncertain_rule(preset, "rule")
    hyp, ref = rule_label_table(hypotheses), rule_label_table(references)
    cosine = label_cosine(hyp, ref)[:, None]
    counts = np.concatenate([f1_counts(hyp, ref, uncertain), cosine, np.ones_like(cosine)], axis=1)
    return MetricResult(
        counts,
        partial(_scores, preset=preset),
        f"rule|labels:cxrgen-rules-3|uncertain:{uncertain}|observations nobody has:left out",
        f1=f1_columns("rule_f1", "" if preset == DEFAULT else f".{preset}"),
    )


def _scores(sums: Floats, preset: str) -> dict[str, Floats]:
    f1 = f1_values(sums[..., :42], "rule_f1", empty="skip")
    if preset != DEFAULT:
        return {f"{name}.{preset}": value for name, value in f1.items()}
    return {**f1, "rule_similarity": sums[..., 42] / sums[..., 43]}


METRIC = Metric(
    measure,
    "clinical",
    several=best_of(measure, by_findings, "the fewest false alarms and misses"),
    presets=PRESETS,
    default_preset=DEFAULT,
    by_default=True,
    headline={"rule_f1_macro_14": 50, "rule_similarity": 60},
    study_order={"rule_similarity": 4},
)
