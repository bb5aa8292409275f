"""How much the area under the curve of a label moves with the split, for one regression on pixels or on features.

    python benchmarks/label_splits.py PREPARED [--encoder efficientnet-lite0] [--splits 30]

All images of a set with labels are used, whatever their split. Patients are split anew, 30 % to be judged; on the
others a ridge regression is solved, as `cxrgen train --tower_probe` does: of 48 x 48 pixels, or of a vision encoder's
features of the frontal image. Printed are the mean of the area over the splits, its standard deviation, and how many
images with the label were judged. The splits share images, so the deviation is no error of the mean.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from pixel_probe import pixels

from cxrgen.core.records import FRONTAL, Study, read_studies
from cxrgen.evaluate.label_scores import area_under_curve
from cxrgen.model.features import in_slices, tower_features
from cxrgen.model.pixels import image_pixels
from cxrgen.train.config import make_config
from cxrgen.train.init_model import init_model
from cxrgen.train.label_probe import solved_head
from cxrgen.train.label_sets import UNKNOWN_LABEL

HELD = 0.3  # of the patients
_AT_ONCE = 32


def features(prepared: Path, studies: Sequence[Study], encoder: str) -> torch.Tensor:
    """(N, 1, T, C) of the first frontal image of each study."""
    config = make_config({"vision_tower": encoder, "output_dir": "none"})
    checkpoint = init_model(config.model, config.tiny, [], config.seed)
    paths = [prepared / next(view.path for view in study.views if view.view == FRONTAL) for study in studies]
    checkpoint.model.eval()
    image_processor, format = checkpoint.processor.image_processor, checkpoint.format
    with torch.no_grad():
        slices = [
            tower_features(checkpoint.model, image_pixels(some, image_processor, format))
            for some in in_slices(paths, _AT_ONCE)
        ]
    return torch.cat(slices)[:, None]


def areas(rows: torch.Tensor, truth: torch.Tensor, subjects: Sequence[str], seed: int) -> tuple[list[float], list[int]]:
    """The area of each label on a split of the patients, and how many of the judged images have it."""
    names = sorted(set(subjects))
    judged = {names[place] for place in np.random.default_rng(seed).permutation(len(names))[: round(HELD * len(names))]}
    out = torch.tensor([subject in judged for subject in subjects])
    numbers = solved_head(rows[~out], truth[~out])(rows[out])
    found, counts = [], []
    for column in range(truth.shape[1]):
        known = truth[out][:, column] != UNKNOWN_LABEL
        has = (truth[out][known, column] == 1).numpy()
        found.append(
            area_under_curve(has, numbers[known, column].double().numpy(), [str(n) for n in range(len(has))])[0]
        )
        counts.append(int(has.sum()))
    return found, counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path, help="a set with labels, made by cxrgen prepare")
    parser.add_argument("--encoder", default="", help="folder, or efficientnet-lite0 (default: 48 x 48 pixels)")
    parser.add_argument("--splits", type=int, default=30, help="random splits (default: 30)")
    options = parser.parse_args()
    studies = [each for each in read_studies(options.prepared) if each.labels and each.views]
    studies = [each for each in studies if any(view.view == FRONTAL for view in each.views)]
    names = sorted({name for study in studies for name in study.labels or {}})
    truth = torch.tensor([[float((study.labels or {}).get(name, -1)) for name in names] for study in studies])
    if options.encoder:
        rows = features(options.prepared, studies, options.encoder)
    else:
        plain = [replace(study, views=tuple(view for view in study.views if view.view == FRONTAL)) for study in studies]
        rows = torch.from_numpy(pixels(options.prepared, plain)).float()[:, None, None]
    runs = [areas(rows, truth, [study.subject_id for study in studies], seed) for seed in range(options.splits)]
    found, counts = np.array([run[0] for run in runs]), np.array([run[1] for run in runs])
    for column, name in enumerate(names):
        mean, deviation = np.nanmean(found[:, column]), np.nanstd(found[:, column])
        print(f"{name:20} {mean:.3f}  deviation {deviation:.3f}  with it {counts[:, column].mean():.1f}")


if __name__ == "__main__":
    main()
