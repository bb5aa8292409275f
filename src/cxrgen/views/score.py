"""How often a classifier of views is right, among the images whose view the source names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cxrgen.core.records import UNKNOWN, Study
from cxrgen.imaging.view_classifier import CLASSES, ViewClassifier, view_of_picture
from cxrgen.views.material import known_views


@dataclass(frozen=True)
class ViewScore:
    """(true class, what was said) -> number of images."""

    counts: Mapping[tuple[str, str], int]

    @property
    def images(self) -> int:
        return sum(self.counts.values())

    @property
    def undecided(self) -> int:
        return sum(count for (_, said), count in self.counts.items() if said == UNKNOWN)

    @property
    def right(self) -> int:
        return sum(count for (true, said), count in self.counts.items() if true == said)

    def line(self) -> str:
        """Right of those decided and undecided of all, then the same for each class."""
        if not self.images:
            return "no image whose view is known"
        parts = [_shares(self)]
        for name in CLASSES:
            mine = ViewScore({pair: count for pair, count in self.counts.items() if pair[0] == name})
            parts += [f"{name}: {_shares(mine)}"] if mine.images else []
        return "; ".join(parts)


def _shares(score: ViewScore) -> str:
    decided = score.images - score.undecided
    return f"{score.right} of {decided} decided are right, {score.undecided} of {score.images} undecided"


def score_views(folder: Path, studies: Iterable[Study], classifier: ViewClassifier) -> ViewScore:
    """What the classifier says of a prepared set's images whose view the source names, as they are stored."""
    counts: Counter[tuple[str, str]] = Counter()
    for view in known_views(studies):
        with Image.open(folder / view.path) as image:
            counts[view.view, view_of_picture(np.asarray(image), classifier).view] += 1
    return ViewScore(counts)
