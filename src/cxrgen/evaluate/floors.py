"""Scores that need no picture, for a model to stand beside.

A metric's value says little alone: a text that calls every chest normal, or a real report of another patient, scores
surprisingly well. A model that is not clearly above these floors has not been shown to look at the films.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from cxrgen.evaluate.paired import Gap, gaps, p_values
from cxrgen.evaluate.scores import Against, Score, Scores, loss

PERMUTATIONS = 1_000  # of the test against baselines: enough to tell 0.05, not to rank small p values
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


def against_baselines(scores: Scores, floors: Mapping[str, Scores], seed: int = 0) -> Scores:
    """The same scores, each with its paired comparison with the baseline that does best on it."""
    of_floors = {floor: of.metrics for floor, of in floors.items()}
    found: dict[str, tuple[str, Gap]] = {}
    for module, measured in scores.measured.items():
        names = [name for name in measured.aggregate(measured.counts.sum(axis=0)) if name in scores.metrics]
        best = {name: best_floor(name, scores.metrics[name].direction, of_floors) for name in names}
        for floor, of in floors.items():
            beaten = [name for name, which in best.items() if which is not None and which[0] == floor]
            between = gaps(of.measured[module], measured, scores.groups, beaten)
            found |= {name: (floor, gap) for name, gap in between.items()}
    if not found:
        return scores
    shares = np.stack([gap.shares for _, gap in found.values()], axis=1)
    result = p_values(shares, [scores.patients] * len(found), [""] * len(found), PERMUTATIONS, seed)
    metrics = dict(scores.metrics)
    for (name, (floor, gap)), p, corrected in zip(found.items(), result.alone, result.within):
        against = Against(floor, gap.difference, gap.interval.ends, float(p), float(corrected))
        metrics[name] = replace(metrics[name], against=against)
    return replace(scores, metrics=metrics)
