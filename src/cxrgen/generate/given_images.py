"""Images as a caller has them: paths, Pillow images or arrays; those without a file get one for as long as needed.

Everything after this reads files by one rule, so an image in memory becomes a lossless file in a folder that only its
owner can read and that is removed at the end.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrgen.core.errors import UsageError

GivenImage: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[Any]"
_KINDS = (str, os.PathLike, Image.Image, np.ndarray)


@contextmanager
def as_files(images: GivenImage | Sequence[GivenImage]) -> Iterator[list[Path]]:
    """The files of one image or of several. Raises UsageError for what is no image: another type, another shape."""
    given = [images] if isinstance(images, _KINDS) else list(images)
    with tempfile.TemporaryDirectory(prefix="cxrgen-") as folder:
        yield [_file(image, Path(folder) / f"{place}.tif") for place, image in enumerate(given)]


def _file(image: GivenImage, path: Path) -> Path:
    if isinstance(image, (str, os.PathLike)):
        return Path(image)
    if isinstance(image, np.ndarray):
        image = _picture(image)
    if not isinstance(image, Image.Image):
        raise UsageError(f"an image is a path, a Pillow image or an array, not {type(image).__name__}")
    image.save(path, format="TIFF")
    return path


def _picture(array: NDArray[Any]) -> Image.Image:
    """An array of shape (H, W), or (H, W, 3), of whole numbers of 8 or 16 bits or of floating-point numbers."""
    grey = array.ndim == 2 and (array.dtype in (np.uint8, np.uint16) or array.dtype.kind == "f")
    colours = array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8
    if not (grey or colours):
        raise UsageError(
            f"an array of shape {array.shape} and type {array.dtype} is no image; give (height, width) of uint8, "
            "uint16 or float, or (height, width, 3) of uint8"
        )
    return Image.fromarray(array.astype(np.float32) if array.dtype.kind == "f" else array)
