"""The baseline `nearest` by a checkpoint's own features: what its vision encoder sees, without its language model.

A report writer that is no better than copying the report of the images that its own encoder finds most alike has gained
nothing from writing. A study is the mean feature of its first frontal beside that of its first lateral.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from cxrgen.core.errors import UsageError
from cxrgen.core.progress import track
from cxrgen.core.records import FRONTAL, LATERAL, Prediction, Study
from cxrgen.generate.baselines import Rows, most_alike, unit_rows
from cxrgen.model.checkpoint import Checkpoint
from cxrgen.model.families import family_of
from cxrgen.model.features import in_slices, tower_features
from cxrgen.model.pixels import image_pixels

_SLICE = 64  # images


def nearest_by_features(
    checkpoint: Checkpoint, training: Sequence[Study], test: Sequence[Study], folder: Path
) -> list[Prediction]:
    """The report of the training study whose images have the most similar features. Raises UsageError for classes
    whose features before the projector are not known."""
    if not family_of(checkpoint).caches_features:
        raise UsageError("--baseline nearest: the features of this class are not known; leave --model-name out")
    train_rows, test_rows = (
        {kind: study_features(checkpoint, studies, folder, kind, pooled=True)[:, 0] for kind in (FRONTAL, LATERAL)}
        for studies in (training, test)
    )
    return nearest_by_rows(train_rows, test_rows, training, test)


def nearest_by_rows(
    of_training: Mapping[str, Rows], of_test: Mapping[str, Rows], training: Sequence[Study], test: Sequence[Study]
) -> list[Prediction]:
    """The same from features (N, C) of each kind of image, zeros where a study has none."""
    sides: list[list[Rows]] = [[], []]
    for kind, train_rows in of_training.items():
        test_rows = of_test[kind]
        there = train_rows.any(axis=1)
        centre = train_rows[there].mean(axis=0) if there.any() else 0.0
        for side, rows in zip(sides, (train_rows, test_rows)):
            side.append(unit_rows(np.where(rows.any(axis=1, keepdims=True), rows - centre, 0.0)))
    train_rows, test_rows = (np.concatenate(side, axis=1) for side in sides)
    return most_alike(train_rows, test_rows, training, test)


@torch.inference_mode()
def study_features(
    checkpoint: Checkpoint, studies: Sequence[Study], folder: Path, kind: str, pooled: bool = False
) -> Rows:
    """The vision encoder's features of each study's first image of a kind, (N, T, C); zeros where it has none.

    `pooled` gives the mean over tokens as the only one (T = 1), which is all that large sets have memory for.
    """
    checkpoint.model.eval()
    images = [next((view.path for view in study.views if view.view == kind), None) for study in studies]
    rows = [row for row, path in enumerate(images) if path is not None]
    model, processor = checkpoint.model, checkpoint.processor.image_processor
    found: dict[int, Rows] = {}
    slices = list(in_slices(rows, _SLICE))
    for some in track(slices, f"reading {kind} images", len(slices)):
        pixels = image_pixels([folder / str(images[row]) for row in some], processor, checkpoint.format)
        features = tower_features(model, pixels.to(model.device, model.dtype))
        features = features.mean(dim=1, keepdim=True) if pooled else features
        found.update(zip(some, features.double().cpu().numpy()))
    matrix = np.zeros((len(studies), *(next(iter(found.values())).shape if found else (1, 1))))
    for row, values in found.items():
        matrix[row] = values
    return matrix
