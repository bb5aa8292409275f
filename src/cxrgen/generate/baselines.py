"""Baselines: reports made without writing any. Their CSVs are given to `cxrgen evaluate --baseline NAME=CSV`.

`frequent` writes the training report that occurs most often, `medoid` the one that is most like all others, `nearest`
that of the most similar training images: by the correlation of first frontals shrunk to a few grey pixels, or by a
checkpoint's own features of frontal and lateral images. Where a test study's patient has training studies too, none of
these is its source.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrgen.core.records import FRONTAL, Prediction, Study

_SIDE = 24  # pixels; enough for the outline of lungs and heart
_ORDERS = (1, 2, 3, 4)  # of word n-grams
_AT_ONCE = 512  # test studies that are compared with all training studies
Rows = NDArray[np.float64]


def frequent(training: Sequence[Study], test: Sequence[Study], folder: Path) -> list[Prediction]:
    """The most frequent training report for every study; of equally frequent ones the first in the alphabet."""
    counts = Counter(study.report or "" for study in training)
    return _first_of_others(sorted(counts, key=lambda text: (-counts[text], text)), training, test)


def medoid(training: Sequence[Study], test: Sequence[Study], folder: Path) -> list[Prediction]:
    """The training report most like all others for every study: of the highest mean cosine of word n-grams."""
    counts = Counter(study.report or "" for study in training)
    grams = {text: _ngrams(text) for text in counts}
    lengths = {text: sum(times**2 for times in own.values()) ** 0.5 or 1.0 for text, own in grams.items()}
    total: Counter[str] = Counter()
    for text, own in grams.items():
        for gram, times in own.items():
            total[gram] += counts[text] * times / lengths[text]  # type: ignore[assignment]
    like = {
        text: sum(times * total[gram] for gram, times in own.items()) / lengths[text] for text, own in grams.items()
    }
    return _first_of_others(sorted(counts, key=lambda text: (-round(like[text], 9), text)), training, test)


def nearest(training: Sequence[Study], test: Sequence[Study], folder: Path) -> list[Prediction]:
    """The report of the training study whose frontal looks most alike."""
    return most_alike(_thumbnails(training, folder), _thumbnails(test, folder), training, test)


def most_alike(train_rows: Rows, test_rows: Rows, training: Sequence[Study], test: Sequence[Study]) -> list[Prediction]:
    """For each test study the report of the training study of another patient with the largest product of rows."""
    patients = np.array([study.subject_id for study in training])
    found = []
    for start in range(0, len(test), _AT_ONCE):
        some = test[start : start + _AT_ONCE]
        alike = test_rows[start : start + _AT_ONCE] @ train_rows.T
        for row, study in zip(alike, some):
            if study.subject_id:
                row[patients == study.subject_id] = -np.inf
            found.append(Prediction(study.study_id, training[int(row.argmax())].report or ""))
    return found


BASELINES: dict[str, Callable[[Sequence[Study], Sequence[Study], Path], list[Prediction]]] = {
    "frequent": frequent,
    "medoid": medoid,
    "nearest": nearest,
}


def _first_of_others(ranked: Sequence[str], training: Sequence[Study], test: Sequence[Study]) -> list[Prediction]:
    """For each test study the first of the ranked reports that another patient has."""
    patients: dict[str, set[str]] = {}
    for study in training:
        patients.setdefault(study.report or "", set()).add(study.subject_id)

    def of_another(report: str, subject: str) -> bool:
        return not subject or patients[report] != {subject}

    return [
        Prediction(each.study_id, next((text for text in ranked if of_another(text, each.subject_id)), ranked[0]))
        for each in test
    ]


def _ngrams(text: str) -> Counter[str]:
    words = re.findall(r"\w+", text.lower())
    return Counter(
        chain.from_iterable(
            (" ".join(words[start : start + order]) for start in range(len(words) - order + 1)) for order in _ORDERS
        )
    )


def _thumbnails(studies: Sequence[Study], folder: Path) -> Rows:
    """(N, 24 * 24) float64, each row of mean 0 and length 1, so that products are correlations."""
    rows = []
    for study in studies:
        view = next((view for view in study.views if view.view == FRONTAL), study.views[0])
        with Image.open(folder / view.path) as image:
            rows.append(
                np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=float).ravel()
            )
    matrix = np.stack(rows)
    return unit_rows(matrix - matrix.mean(axis=1, keepdims=True))


def unit_rows(matrix: Rows) -> Rows:
    """Each row divided by its length."""
    length: Rows = np.linalg.norm(matrix, axis=1, keepdims=True)
    normed: Rows = matrix / np.maximum(length, 1e-9)
    return normed
