"""Scores that need no picture, for a model to stand beside.

A metric's value says little alone: a text that calls every chest normal, or a real report of another patient, scores
surprisingly well. A model that is not clearly above these floors has not been shown to look at the images.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from cxrgen.evaluate.scores import Score, loss

NORMAL_REPORT = (
    "The heart size is normal. The lungs are clear. There is no pleural effusion or pneumothorax. "
    "No acute cardiopulmonary abnormality."
)


def constant_normal(count: int) -> list[str]:
    """One and the same normal report for every study."""
    return [NORMAL_REPORT] * count


def shuffled(references: Sequence[str], subjects: Sequence[str], study_ids: Sequence[str], seed: int = 0) -> list[str]:
    """Each study gets the reference of another one, of another patient wherever there are enough patients.

    Studies are lined up patient by patient, the patients in random order, and the references moved on by as many places
    as the largest patient has studies. The result does not depend on the order of the rows.
    """
    studies_of = Counter(subjects)
    place = dict(zip(sorted(studies_of), np.random.default_rng(seed).permutation(len(studies_of)).tolist()))
    order = sorted(range(len(references)), key=lambda i: (place[subjects[i]], study_ids[i]))
    largest = max(studies_of.values(), default=0)
    result = [""] * len(references)
    for position, i in enumerate(order):
        result[i] = references[order[(position + largest) % len(order)]]
    return result


def best_floor(name: str, direction: str, floors: Mapping[str, Mapping[str, Score]]) -> tuple[str, Score] | None:
    """The floor that does best on one score, and that score; None when no floor has it."""
    having = [(floor, scores[name]) for floor, scores in floors.items() if name in scores]
    having = [(floor, score) for floor, score in having if math.isfinite(score.value)]
    if not having:
        return None
    return min(having, key=lambda item: float(loss(item[1].value, direction)))
