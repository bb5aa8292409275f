"""Pictures that show no usable chest, drawn at random: what a classifier of views must not call frontal or lateral.

Exports hold more than chests: pages of text, empty exposures, limbs, two images side by side, images lying on their
side. Each kind is drawn in a few lines; none has to look real, since all that is learnt from them is what a chest is
not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GreyImage = NDArray[np.uint8]
Floats = NDArray[np.float64]
_SIDE = 64


def draw_other(generator: np.random.Generator, chests: Sequence[GreyImage]) -> GreyImage:
    """One picture that is neither a frontal nor a lateral; some are made from `chests`, which are not changed."""
    made = int(generator.integers(len(_DRAWN) + len(_CHANGED)))
    if made < len(_DRAWN):
        return _DRAWN[made](generator)
    one, other = (chests[int(generator.integers(len(chests)))] for _ in range(2))
    return _CHANGED[made - len(_DRAWN)](generator, one, other)


def _grey(values: Floats) -> GreyImage:
    values = values - values.min()
    grey: GreyImage = np.rint(values * (255 / max(float(values.max()), 1e-9))).astype(np.uint8)
    return grey


def _clouds(generator: np.random.Generator) -> GreyImage:
    """Noise whose strength falls with frequency by a random power."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(_SIDE), np.fft.fftfreq(_SIDE))) + 1 / _SIDE
    wave = np.fft.fft2(generator.normal(size=(_SIDE, _SIDE))) / frequency ** generator.uniform(0, 2.2)
    return _grey(np.fft.ifft2(wave).real)


def _page(generator: np.random.Generator) -> GreyImage:
    """Rows of short dark words on a light page, or the reverse."""
    page = np.ones((_SIDE, _SIDE))
    row, height = int(generator.integers(2, 10)), int(generator.integers(1, 5))
    while row < _SIDE - height:
        column = int(generator.integers(2, 12))
        while column < _SIDE - 4 and generator.random() < 0.95:
            width = int(generator.integers(2, 10))
            page[row : row + height, column : column + width] = generator.uniform(0, 0.4)
            column += width + int(generator.integers(1, 4))
        row += height + int(generator.integers(1, 5))
    return _grey(page if generator.random() < 0.6 else -page)


def _gradient(generator: np.random.Generator) -> GreyImage:
    """An empty exposure: light that changes slowly, with grain."""
    axis = np.linspace(-1, 1, _SIDE)
    slopes = generator.normal(size=3)
    plane = slopes[0] * axis + (slopes[1] * axis)[:, None] + slopes[2] * np.hypot(axis, axis[:, None])
    return _grey(plane + generator.normal(0, generator.uniform(0.01, 1.5), plane.shape))


def _shapes(generator: np.random.Generator) -> GreyImage:
    """Boxes and discs of any grey, as of test patterns and photographs."""
    axis = np.linspace(-1, 1, _SIDE)
    plane = np.zeros((_SIDE, _SIDE))
    for _ in range(int(generator.integers(1, 9))):
        across, down, radius = generator.uniform(-1, 1, 2).tolist() + [generator.uniform(0.1, 0.8)]
        x, y = np.abs(axis - across), np.abs(axis - down)[:, None]
        inside = np.hypot(x, y) < radius if generator.random() < 0.5 else np.maximum(x, 2 * y) < radius
        plane[inside] = generator.random()
    return _grey(plane + generator.normal(0, 0.03, plane.shape))


def _limb(generator: np.random.Generator) -> GreyImage:
    """Flesh about one or two long bones, at any angle."""
    axis = np.linspace(-1, 1, _SIDE)
    angle = generator.uniform(0, np.pi)
    across = axis * np.cos(angle) + (axis * np.sin(angle))[:, None] - generator.uniform(-0.3, 0.3)
    plane = np.maximum(0, 1 - (across / generator.uniform(0.2, 0.7)) ** 2)
    for place in generator.uniform(-0.2, 0.2, int(generator.integers(1, 3))):
        plane += np.maximum(0, 1 - ((across - place) / generator.uniform(0.05, 0.15)) ** 2)
    return _grey(plane + generator.normal(0, 0.02, plane.shape))


def _lying(generator: np.random.Generator, chest: GreyImage, _: GreyImage) -> GreyImage:
    """A chest image turned by a quarter, or upside down."""
    return np.rot90(chest, int(generator.integers(1, 4)))


def _side_by_side(generator: np.random.Generator, one: GreyImage, other: GreyImage) -> GreyImage:
    """Two images on one page."""
    half = [np.asarray(Image.fromarray(each).resize((_SIDE // 2, _SIDE))) for each in (one, other)]
    page = np.hstack(half)
    return page if generator.random() < 0.7 else np.ascontiguousarray(page.T)


def _part(generator: np.random.Generator, chest: GreyImage, _: GreyImage) -> GreyImage:
    """A quarter of the width and height of a chest image, or less: a detail that shows no view."""
    height, width = chest.shape
    rows, columns = (
        max(8, int(height * generator.uniform(0.12, 0.25))),
        max(8, int(width * generator.uniform(0.12, 0.25))),
    )
    top, left = int(generator.integers(height - rows)), int(generator.integers(width - columns))
    return chest[top : top + rows, left : left + columns]


_DRAWN = (_clouds, _page, _gradient, _shapes, _limb)
_CHANGED = (_lying, _lying, _side_by_side, _part)
