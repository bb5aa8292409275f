"""Baselines: reports made without a model. Their CSVs are given to `cxrgen evaluate --baseline NAME=CSV`.

`frequent` writes the training report that occurs most often, `nearest` that of the most similar training image, by the
correlation of first frontals shrunk to a few grey pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrgen.core.records import FRONTAL, Prediction, Study

_SIDE = 24  # pixels; enough for the outline of lungs and heart


def frequent(training: Sequence[Study], test: Sequence[Study], folder: Path) -> list[Prediction]:
    """The most frequent training report for every study; of equally frequent ones the first in the alphabet."""
    counts = Counter(study.report or "" for study in training)
    report = min(counts, key=lambda text: (-counts[text], text))
    return [Prediction(study.study_id, report) for study in test]


def nearest(training: Sequence[Study], test: Sequence[Study], folder: Path) -> list[Prediction]:
    """The report of the training study whose frontal looks most alike."""
    train_rows, test_rows = _thumbnails(training, folder), _thumbnails(test, folder)
    best = (test_rows @ train_rows.T).argmax(axis=1)
    return [Prediction(study.study_id, training[index].report or "") for study, index in zip(test, best)]


BASELINES: dict[str, Callable[[Sequence[Study], Sequence[Study], Path], list[Prediction]]] = {
    "frequent": frequent,
    "nearest": nearest,
}


def _thumbnails(studies: Sequence[Study], folder: Path) -> NDArray[np.float64]:
    """(N, 24 * 24) float64, each row of mean 0 and length 1, so that products are correlations."""
    rows = []
    for study in studies:
        view = next((view for view in study.views if view.view == FRONTAL), study.views[0])
        with Image.open(folder / view.path) as image:
            rows.append(
                np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=float).ravel()
            )
    matrix = np.stack(rows)
    matrix -= matrix.mean(axis=1, keepdims=True)
    length: NDArray[np.float64] = np.linalg.norm(matrix, axis=1, keepdims=True)
    normed: NDArray[np.float64] = matrix / np.maximum(length, 1e-9)
    return normed
