"""One run of `cxrgen train-views`: read and draw images, train, write the file, say what it is worth."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from cxrgen.core.errors import InputError
from cxrgen.core.files import sha256_file
from cxrgen.core.progress import say
from cxrgen.core.records import read_studies
from cxrgen.imaging.view_classifier import read_classifier
from cxrgen.views.material import GreyImage, Material, read_sets, torsos
from cxrgen.views.network import fit, write_weights
from cxrgen.views.score import score_views


def train_views(options: argparse.Namespace) -> None:
    """Train on the sets of the parsed flags and write `options.out`. Raises InputError where no view is known."""
    learnt = read_sets(options.sets, "train")
    for folder, images in learnt.items():
        if not any(images.values()):
            raise InputError(f"{folder}: its source names the view of no training image; give a set that knows them")
        say(f"{folder}: {counted(images)}")
    material = Material()
    for images in learnt.values():
        material.add(images)
    material.add(torsos(options.torsos, options.seed, options.workers))
    network = fit(material.draw, options.steps, options.seed)
    write_weights(options.out, network, _origin(options, learnt))
    classifier = read_classifier(str(options.out))
    for folder in options.sets:
        say(f"{folder}, valid: {score_views(folder, read_studies(folder, 'valid'), classifier).line()}")
    for folder in options.test:
        say(f"{folder}: {score_views(folder, read_studies(folder), classifier).line()}")


def counted(images: Mapping[str, list[GreyImage]]) -> str:
    """How many images of each class."""
    return ", ".join(f"{len(pictures)} {name}" for name, pictures in images.items() if pictures) or "no image"


def _origin(options: argparse.Namespace, learnt: Mapping[Path, Mapping[str, list[GreyImage]]]) -> dict[str, str]:
    """What the file says of its own making."""
    sets = {folder: sha256_file(folder / "studies.parquet")[:16] for folder in learnt}
    return {
        "least_confidence": f"{options.least_confidence:g}",
        "seed": str(options.seed),
        "steps": str(options.steps),
        "torsos": str(options.torsos),
        "sets": "; ".join(f"{counted(learnt[folder])} ({sha256})" for folder, sha256 in sets.items()),
    }
