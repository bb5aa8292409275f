"""Baselines: reports that are written without looking at an image.

A metric's value says little alone: a text that calls every chest normal, or a real report of another patient, scores
surprisingly well. A model that is not clearly better than these baselines has not been shown to look at the images.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from cxrgen.evaluate.intervals import estimates
from cxrgen.evaluate.paired import Gap, gaps_of, p_values
from cxrgen.evaluate.scores import Against, Score, Scores, loss
from cxrgen.metrics import Better

AUTOMATIC = ("normal", "shuffled")  # the baselines that are made without being asked for
PERMUTATIONS = 1_000  # of the test against baselines: enough for the level 0.05, not to rank small p values
NORMAL_REPORT = (
    "The heart size is normal. The lungs are clear. There is no pleural effusion or pneumothorax. "
    "No acute cardiopulmonary abnormality."
)


def automatic(
    references: Sequence[str], subjects: Sequence[str], study_ids: Sequence[str], seed: int = 0
) -> dict[str, list[str]]:
    """The reports of each automatic baseline by its name."""
    return dict(zip(AUTOMATIC, (constant_normal(len(references)), shuffled(references, subjects, study_ids, seed))))


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


def against_baselines(scores: Scores, baselines: Mapping[str, Scores], seed: int = 0) -> Scores:
    """The same scores, each with its paired comparison with the baseline that does best on it."""
    by_baseline = {baseline: of.metrics for baseline, of in baselines.items()}
    found: dict[str, tuple[str, Gap]] = {}
    for metric, result in scores.measured.items():
        names = [name for name in result.aggregate(result.counts.sum(axis=0)) if name in scores.metrics]
        led: dict[str, list[str]] = {}  # by the baseline that does best
        for name in names:
            best = best_baseline(name, scores.metrics[name].better, by_baseline)
            if best is not None:
                led.setdefault(best[0], []).append(name)
        if not led:
            continue
        own = estimates(result, scores.groups)
        for baseline in (name for name in baselines if name in led):
            of = estimates(baselines[baseline].measured[metric], scores.groups)
            found |= {name: (baseline, gap) for name, gap in gaps_of(of, own, led[baseline]).items()}
    if not found:
        return scores
    shares = np.stack([gap.shares for _, gap in found.values()], axis=1)
    tests = p_values(shares, [scores.patients] * len(found), [""] * len(found), PERMUTATIONS, seed)
    metrics = dict(scores.metrics)
    for (name, (baseline, gap)), p, corrected in zip(found.items(), tests.alone, tests.within):
        against = Against(baseline, gap.difference, gap.interval.ends, float(p), float(corrected))
        metrics[name] = replace(metrics[name], against=against)
    return replace(scores, metrics=metrics)
