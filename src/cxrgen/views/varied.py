"""Chest images varied at random before a classifier of views sees them, so that it learns shapes and no device.

What differs between hospitals and does not show the view is drawn anew each time: framing, turn, tone, blur, grain,
borders, burnt-in marks, side. The equalisation that follows (`imaging.view_classifier`) makes monotone tone curves
harmless; local ones remain and are drawn here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from cxrgen.imaging.view_classifier import SIDE

GreyImage = NDArray[np.uint8]
Floats = NDArray[np.float32]


def varied(pixels: GreyImage, generator: np.random.Generator) -> GreyImage:
    """One variant of an image (H, W), (SIDE, SIDE) uint8."""
    picture = _framed(Image.fromarray(pixels), generator)
    if generator.random() < 0.5:
        picture = picture.filter(ImageFilter.GaussianBlur(generator.uniform(0.3, 1.3)))
    values: Floats = np.asarray(picture).astype(np.float32) / np.float32(255)
    if generator.random() < 0.5:
        values = values[:, ::-1]
    values = _lit(values, generator)
    _bordered(values, generator)
    _marked(values, generator)
    values += generator.normal(0, generator.uniform(0, 0.08), values.shape)
    if generator.random() < 0.06:
        values = 1 - values
    grey: GreyImage = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return grey


def _framed(picture: Image.Image, generator: np.random.Generator) -> Image.Image:
    """A crop of random place, size and shape, turned by a few degrees and sheared a little."""
    width, height = picture.size
    across, down = generator.uniform(0.68, 1.12, 2)
    left = (width - across * width) * generator.uniform(0.1, 0.9) if across < 1 else width * (1 - across) / 2
    top = (height - down * height) * generator.uniform(0.1, 0.9) if down < 1 else height * (1 - down) / 2
    angle, shear = generator.normal(0, 0.07), generator.normal(0, 0.05)
    cos, sin = np.cos(angle), np.sin(angle)
    step_x, step_y = across * width / SIDE, down * height / SIDE
    a, b, d, e = cos * step_x, (shear - sin) * step_y, sin * step_x, cos * step_y
    middle = SIDE / 2
    c = left + across * width / 2 - a * middle - b * middle
    f = top + down * height / 2 - d * middle - e * middle
    small = picture
    if max(width, height) > 2 * SIDE:  # reduced first, for the transform looks at single pixels
        factor = 2 * SIDE / max(width, height)
        small = picture.resize((max(1, round(width * factor)), max(1, round(height * factor))), Image.Resampling.BOX)
        a, b, c = (value * small.width / width for value in (a, b, c))
        d, e, f = (value * small.height / height for value in (d, e, f))
    matrix = tuple(map(float, (a, b, c, d, e, f)))
    return small.transform((SIDE, SIDE), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def _lit(values: Floats, generator: np.random.Generator) -> Floats:
    """Another tone curve, and light that changes slowly over the image."""
    axis = np.linspace(-1, 1, SIDE, dtype=np.float32)
    slopes = generator.normal(0, 0.10, 3)
    slope = slopes[0] * axis + (slopes[1] * axis)[:, None] + slopes[2] * (axis[:, None] ** 2 + axis**2 - 1)
    toned = np.clip(values, 0, 1) ** np.exp(generator.normal(0, 0.4))
    if generator.random() < 0.3:  # as devices do that even out large areas
        blurred = np.asarray(
            Image.fromarray(np.rint(toned * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(8)), np.float32
        )
        toned = np.clip(toned - generator.uniform(0.2, 0.7) * (blurred / 255 - 0.5), 0, 1)
    shaded: Floats = np.clip(toned + slope * toned, 0, 1).astype(np.float32)
    return shaded


def _bordered(values: Floats, generator: np.random.Generator) -> None:
    """Edges of collimators: black, sometimes white, on any side."""
    if generator.random() < 0.35:
        grey = 0.0 if generator.random() < 0.8 else generator.random()
        for turned in (values, values[::-1], values.T, values.T[::-1]):
            if generator.random() < 0.5:
                turned[: int(generator.integers(1, 6))] = grey


def _marked(values: Floats, generator: np.random.Generator) -> None:
    """Bright letters and dark patches, as small boxes."""
    for _ in range(generator.poisson(0.7)):
        row, column = generator.integers(0, SIDE - 6, 2)
        height, width = generator.integers(1, 6, 2)
        values[row : row + height, column : column + width] = float(generator.random() < 0.8)
