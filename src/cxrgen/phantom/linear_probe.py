"""How much of a finding a linear reader gets from images: the test of where knowledge is, and a baseline for models.

Pixels in, one score a label out, by ridge regression; no training loop, no torch. It sees what stands at a fixed place
(a depth, a fluid level, an outline) and little of what moves about (a nodule, a line).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_RIDGE = 0.05  # of the mean variance of a feature


def pixel_features(images: NDArray[np.uint8], side: int = 32) -> Floats:
    """Images (N, V, S, S) of V views as (N, V * side * side) mean grey values; S is a multiple of `side`."""
    count, views, size, _ = images.shape
    step = size // side
    blocks = images.reshape(count, views, side, step, side, step)
    features: Floats = blocks.mean(axis=(3, 5), dtype=np.float64).reshape(count, -1)
    return features


def probe(train: Floats, labels: Floats, test: Floats) -> Floats:
    """Scores (M, L) for `test` (M, D) of the ridge regression of `labels` (N, L) on `train` (N, D)."""
    centre, scale = train.mean(axis=0), train.std() + 1e-9
    known, asked = (train - centre) / scale, (test - centre) / scale
    gram = known.T @ known
    gram[np.diag_indices_from(gram)] += _RIDGE * len(train) * known.var()
    weights = np.linalg.solve(gram, known.T @ (labels - labels.mean(axis=0)))
    scores: Floats = asked @ weights + labels.mean(axis=0)
    return scores


def auroc(scores: Floats, labels: NDArray[np.bool_]) -> float:
    """Area under the ROC curve of scores (N,) for labels (N,), ties counted half; NaN where one class is missing."""
    present, absent = scores[labels], np.sort(scores[~labels])
    below = np.searchsorted(absent, present, "left") + np.searchsorted(absent, present, "right")
    return float(below.mean() / 2 / len(absent)) if len(present) and len(absent) else float("nan")


def best_f1(scores: Floats, labels: NDArray[np.bool_]) -> tuple[float, float]:
    """The greatest F1 of "score at least t" over all t, and that t."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(labels[order])
    f1 = 2 * hits / (np.arange(1, len(scores) + 1) + labels.sum())
    best = int(np.argmax(f1))
    return float(f1[best]), float(scores[order[best]])
