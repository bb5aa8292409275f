"""What 48 x 48 pixels know of a set's labels: one logistic regression a label, as a baseline for vision encoders.

    python benchmarks/pixel_probe.py PREPARED

The first frontal image of each study is made square in black, reduced, and standardised by the training images.
The strength of the penalty is chosen for each label by five parts of the training patients. Printed are AUC and F1 with
95 % intervals on split valid, as `cxrgen train --warmup_data PREPARED` prints them of the encoder.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrgen.core.records import Study, read_studies
from cxrgen.evaluate.label_scores import COLUMNS, area_under_curve, label_scores

SIDE = 48
PENALTIES = (0.0001, 0.001, 0.01, 0.1)  # of a mean over images
_PARTS = 5
_NEWTON_STEPS = 30
_FREE = 100.0  # added to the kernel, so that the constant is hardly penalised
Array = NDArray[np.float64]


def pixels(prepared: Path, studies: Sequence[Study]) -> Array:
    """(N, 48 * 48) grey values of the first frontal image, or the first of all, in a black square."""
    rows = []
    for study in studies:
        view = next((each for each in study.views if each.view == "frontal"), study.views[0])
        with Image.open(prepared / view.path) as file:
            grey = file.convert("L")
        square = Image.new("L", (max(grey.size),) * 2)
        square.paste(grey, ((square.width - grey.width) // 2, (square.height - grey.height) // 2))
        rows.append(np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64).ravel())
    return np.array(rows)


def fitted(images: Array, has: NDArray[np.bool_], penalty: float, others: Array) -> Array:
    """Log-odds of `others` (M, P) by a regression on `images` (N, P), in its dual form: N is smaller than P."""
    mean, deviation = images.mean(axis=0), images.std(axis=0) + 1.0
    known, asked = (images - mean) / deviation, (others - mean) / deviation
    width = images.shape[1]
    kernel, wanted = known @ known.T / width + _FREE, has.astype(np.float64)
    weights = np.zeros(len(images))
    for _ in range(_NEWTON_STEPS):
        odds = np.clip(kernel @ weights, -15, 15)
        share = 1 / (1 + np.exp(-odds))
        spread = share * (1 - share)
        goal = odds + (wanted - share) / spread
        weights = np.linalg.solve(kernel + len(images) * penalty * np.diag(1 / spread), goal)
    return np.asarray((asked @ known.T / width + _FREE) @ weights)


def chosen_penalty(images: Array, has: NDArray[np.bool_], subjects: Sequence[str]) -> float:
    """The penalty with the best area over parts of the patients."""
    places = {subject: place for place, subject in enumerate(sorted(set(subjects)))}
    order = np.random.default_rng(0).permutation(len(places))
    part = np.array([order[places[subject]] % _PARTS for subject in subjects])
    areas = dict.fromkeys(PENALTIES, 0.0)
    for penalty in PENALTIES:
        for number in range(_PARTS):
            out = part == number
            if has[out].any() and not has[out].all() and has[~out].any():
                odds = fitted(images[~out], has[~out], penalty, images[out])
                areas[penalty] += area_under_curve(has[out], odds, [str(n) for n in range(int(out.sum()))])[0]
    return max(areas, key=lambda penalty: areas[penalty])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path, help="a set with labels, made by cxrgen prepare")
    prepared = parser.parse_args().prepared
    studies = [study for study in read_studies(prepared) if study.labels and study.views]
    splits = {split: [study for study in studies if study.split == split] for split in ("train", "valid")}
    train, valid = splits["train"], splits["valid"]
    images, others = pixels(prepared, train), pixels(prepared, valid)
    names, outputs, truths, shares = [], [], [], []
    for name in sorted({name for study in train for name in study.labels or {}}):
        value = np.array([(study.labels or {}).get(name, -1) for study in train])
        known, has = value >= 0, value[value >= 0] == 1
        if not has.any() or has.all():
            continue
        patients = [study.subject_id for study, keep in zip(train, known) if keep]
        penalty = chosen_penalty(images[known], has, patients)
        names.append(name)
        outputs.append(fitted(images[known], has, penalty, others))
        truths.append([(study.labels or {}).get(name, -1) for study in valid])
        shares.append(float(has.mean()))
    subjects = [study.subject_id for study in valid]
    scores = label_scores(names, np.array(truths).T, np.array(outputs).T, shares, subjects)
    for cells in (COLUMNS, *(score.cells() for score in scores)):
        print("  ".join(cell.ljust(18) for cell in cells).rstrip())
    print(json.dumps({"name": "pixel_probe", "parts": {score.name: score.record()["auc"] for score in scores}}))


if __name__ == "__main__":
    main()
