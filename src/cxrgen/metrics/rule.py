"""Agreement of two reports on the 14 observations, read by the project's rule labels.

A stand-in for CheXbert that needs no weights; its names say so. What the two reports state is compared, not how they
say it: a report with the sense turned round keeps its BLEU and loses its F1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxrgen.metrics import Floats, Measured
from cxrgen.metrics.labels import Uncertain, f1_counts, f1_values, label_cosine, label_table, rule_label


def measure(hypotheses: Sequence[str], references: Sequence[str], uncertain: Uncertain = "positive") -> Measured:
    """Rule-label F1 of N pairs of texts; counts are (N, 44): the 42 of `f1_counts`, the label cosine, and 1."""
    said = label_table([rule_label(text) for text in hypotheses])
    wanted = label_table([rule_label(text) for text in references])
    cosine = label_cosine(said, wanted)[:, None]
    counts = np.concatenate([f1_counts(said, wanted, uncertain), cosine, np.ones_like(cosine)], axis=1)
    return Measured(
        counts, _values, f"rule|labels:cxrgen-rules-2|uncertain:{uncertain}|observations nobody has:left out"
    )


def _values(sums: Floats) -> dict[str, Floats]:
    return {**f1_values(sums[..., :42], "rule_f1", empty="skip"), "rule_similarity": sums[..., 42] / sums[..., 43]}
