"""Agreement of two reports on the 14 observations, read by the project's rule labels.

A stand-in for CheXbert that needs no weights; its names say so. What the two reports state is compared, not how they
say it: a report with the sense turned round keeps its BLEU and loses its F1.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from cxrgen.metrics import Floats, Measured
from cxrgen.metrics.labels import (
    UNCERTAIN_RULES,
    USUAL_RULE,
    f1_columns,
    f1_counts,
    f1_values,
    label_cosine,
    label_table,
    rule_label,
    uncertain_rule,
)

PRESETS, DEFAULT = UNCERTAIN_RULES, USUAL_RULE


def measure(hypotheses: Sequence[str], references: Sequence[str], preset: str = DEFAULT) -> Measured:
    """Rule-label F1 of N pairs of texts; counts are (N, 44): the 42 of `f1_counts`, the label cosine, and 1.

    A preset other than the default counts uncertain labels otherwise and gives the F1 scores alone, by its own name.
    Raises UsageError for an unknown preset.
    """
    uncertain = uncertain_rule(preset, "rule labels")
    said = label_table([rule_label(text) for text in hypotheses])
    wanted = label_table([rule_label(text) for text in references])
    cosine = label_cosine(said, wanted)[:, None]
    counts = np.concatenate([f1_counts(said, wanted, uncertain), cosine, np.ones_like(cosine)], axis=1)
    return Measured(
        counts,
        partial(_values, preset=preset),
        f"rule|labels:cxrgen-rules-2|uncertain:{uncertain}|observations nobody has:left out",
        f1=f1_columns("rule_f1", "" if preset == DEFAULT else f".{preset}"),
    )


def _values(sums: Floats, preset: str) -> dict[str, Floats]:
    f1 = f1_values(sums[..., :42], "rule_f1", empty="skip")
    if preset != DEFAULT:
        return {f"{name}.{preset}": value for name, value in f1.items()}
    return {**f1, "rule_similarity": sums[..., 42] / sums[..., 43]}
