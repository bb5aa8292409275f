"""Baselines: reports that are written without looking at an image.

A metric's value says little alone: a text that calls every chest normal, or a real report of another patient, scores
surprisingly well. A model that is not clearly better than these baselines has not been shown to look at the images.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from cxrgen.evaluate.scores import Score, loss
from cxrgen.metrics import Better

NORMAL_REPORT = (
    "The heart size is normal. The lungs are clear. There is no pleural effusion or pneumothorax. "
    "No acute cardiopulmonary abnormality."
)


def constant_normal(count: int) -> list[str]:
    """One and the same normal report for every study."""
    return [NORMAL_REPORT] * count


def shuffled(references: Sequence[str], subjects: Sequence[str], study_ids: Sequence[str], seed: int = 0) -> list[str]:
    """Each study gets the reference of another one, of another patient wherever there are enough patients.

    Studies are ordered patient by patient, the patients in random order, and the references rotated by as many studies
    as the patient with most of them has. The result does not depend on the order of the rows.
    """
    studies_of = Counter(subjects)
    rank = dict(zip(sorted(studies_of), np.random.default_rng(seed).permutation(len(studies_of)).tolist()))
    order = sorted(range(len(references)), key=lambda i: (rank[subjects[i]], study_ids[i]))
    largest = max(studies_of.values(), default=0)
    result = [""] * len(references)
    for position, i in enumerate(order):
        result[i] = references[order[(position + largest) % len(order)]]
    return result


def best_baseline(score: str, better: Better, baselines: Mapping[str, Mapping[str, Score]]) -> tuple[str, Score] | None:
    """The baseline that does best on one score, and that score; None when no baseline has it."""
    found = [(name, of[score]) for name, of in baselines.items() if score in of and math.isfinite(of[score].value)]
    return min(found, key=lambda item: float(loss(item[1].value, better))) if found else None
