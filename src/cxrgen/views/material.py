"""What a classifier of views learns from: images of prepared sets whose source names the view, and drawn ones.

Torsos of varied shape (`phantom.torsos`) are always among them: a set of one hospital, or of phantoms, has one kind of
lateral, and the rest of the world has others. Every kind of image counts alike, whatever its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrgen.core.progress import track
from cxrgen.core.records import FRONTAL, LATERAL, OTHER, Study, View, read_studies
from cxrgen.core.workers import start_worker
from cxrgen.imaging.view_classifier import CLASSES, SIDE, equalised
from cxrgen.phantom.torsos import draw_torso
from cxrgen.views.other_pictures import draw_other
from cxrgen.views.varied import varied

GreyImage = NDArray[np.uint8]
_KEPT = 2 * SIDE  # pixels: the longest side that is kept of an image
_SHARES = {FRONTAL: 0.4, LATERAL: 0.4, OTHER: 0.2}


@dataclass
class Material:
    """Images of each class, by where they come from; each source of a class is drawn from as often as another."""

    images: dict[str, list[list[GreyImage]]] = field(default_factory=lambda: {name: [] for name in CLASSES})

    def add(self, by_class: dict[str, list[GreyImage]]) -> None:
        """Take up one more source."""
        for name, pictures in by_class.items():
            if pictures:
                self.images[name].append(pictures)

    def draw(self, generator: np.random.Generator, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(count, SIDE, SIDE) varied thumbnails and their classes (count,)."""
        names = generator.choice(len(CLASSES), count, p=list(_SHARES.values()))
        pictures = [equalised(varied(self._one(CLASSES[name], generator), generator)) for name in names]
        return np.stack(pictures), names.astype(np.int64)

    def _one(self, name: str, generator: np.random.Generator) -> GreyImage:
        sources = self.images[name]
        if name == OTHER and generator.integers(len(sources) + 1) == len(sources):
            chests = self.images[(FRONTAL, LATERAL)[int(generator.integers(2))]]
            return draw_other(generator, chests[int(generator.integers(len(chests)))])
        pictures = sources[int(generator.integers(len(sources)))]
        return pictures[int(generator.integers(len(pictures)))]


def known_views(studies: Iterable[Study]) -> Iterator[View]:
    """The images whose view the source has named."""
    for study in studies:
        yield from (view for view in study.views if view.view in CLASSES and not view.by_picture)


def images_of_set(folder: Path, studies: Iterable[Study]) -> dict[str, list[GreyImage]]:
    """The images of a prepared set by class, reduced; without those whose view no source has named."""
    found: dict[str, list[GreyImage]] = {name: [] for name in CLASSES}
    for view in known_views(studies):
        with Image.open(folder / view.path) as image:
            image.draft("L", (_KEPT, _KEPT))
            image.thumbnail((_KEPT, _KEPT), Image.Resampling.BOX)
            found[view.view].append(np.asarray(image.convert("L")))
    return found


def read_sets(folders: Sequence[Path], split: str) -> dict[Path, dict[str, list[GreyImage]]]:
    """The images of one split of each set."""
    return {folder: images_of_set(folder, read_studies(folder, split)) for folder in folders}


def torsos(count: int, seed: int, workers: int) -> dict[str, list[GreyImage]]:
    """Drawn torsos, a frontal and a lateral each; the same for any number of workers."""
    draw = partial(_torso, seed)
    with ProcessPoolExecutor(workers, initializer=start_worker) as pool:
        pairs = list(track(pool.map(draw, range(count), chunksize=16), "drawing torsos", count))
    return {FRONTAL: [front for front, _ in pairs], LATERAL: [side for _, side in pairs]}


def _torso(seed: int, number: int) -> tuple[GreyImage, GreyImage]:
    return draw_torso(np.random.default_rng([seed, number]))
