"""Image files to the pixel values a model takes, by the checkpoint's own aspect rule and the stock image processor.

Aspect rules: `square` leaves everything to the processor (CLIP: short side to size, then centre crop, which cuts the
sides of a wide image), `pad` first makes a square in CLIP's mean colour as LLaVA-Med does, `black` the same in black,
which is what lies beside an X-ray.

A checkpoint that was trained on a prepared set sees every image as that set would hold it: `imaging.stored`. Without
such a record, pictures of 8 bits keep their size and their colours, which figures and slides need; DICOM and deeper
pictures become grey by `imaging.read`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from cxrgen.core.errors import InputError
from cxrgen.imaging.rejects import ImageReject
from cxrgen.imaging.stored import read_as_stored
from cxrgen.model.conversation import Format

_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB")
_ORIENTATION = 0x0112  # EXIF: how a picture is to be turned
_PAD_COLOURS = {"pad": (122, 116, 104), "black": (0, 0, 0)}


def open_image(path: Path, format: Format) -> Image.Image:
    """An RGB image after the checkpoint's image and aspect rules.

    Raises InputError for a file that is missing or no whole image; its path, which may hold a name, is the detail.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
            raise InputError("not a regular file, so no image", detail=str(path))
        image = _as_stored(path, format) if format.longest_side else _as_it_is(path, format)
    except ImageReject as error:
        raise InputError(f"{error.code}: {error.hint}", detail=str(path)) from None
    except FileNotFoundError:
        raise InputError("no such image; is the image folder right?", detail=str(path)) from None
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"no readable image ({type(error).__name__})", detail=str(path)) from None
    if format.aspect == "square" or image.width == image.height:
        return image
    side = max(image.size)
    square = Image.new("RGB", (side, side), _PAD_COLOURS[format.aspect])
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def image_size(path: Path, format: Format) -> tuple[int, int]:
    """(width, height) of what `open_image` gives, read from the file's header where that tells. Raises as it does."""
    size = _size_by_header(path, format.longest_side)
    if size is None:
        return open_image(path, format).size
    return size if format.aspect == "square" else (max(size), max(size))


def _size_by_header(path: Path, longest_side: int) -> tuple[int, int] | None:
    """The size of a grey or coloured picture that is taken as it is; None where it must be read to be known."""
    modes = ("L",) if longest_side else _EIGHT_BITS
    if not os.path.isfile(path):  # a pipe would be waited for
        return None
    try:
        with Image.open(path) as file:
            if file.format == "JPEG":
                upright = file.getexif().get(_ORIENTATION, 1) == 1
            else:  # asked for EXIF, a PNG would be read whole
                upright = file.format == "PNG" and "exif" not in file.info
            known = file.mode in modes and upright
            return file.size if known and max(file.size) <= (longest_side or max(file.size)) else None
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return None


def _as_it_is(path: Path, format: Format) -> Image.Image:
    try:
        with Image.open(path) as file:
            shallow = file.mode in _EIGHT_BITS
            return ImageOps.exif_transpose(file).convert("RGB") if shallow else _as_stored(path, format)
    except UnidentifiedImageError:
        return _as_stored(path, format)


def _as_stored(path: Path, format: Format) -> Image.Image:
    return Image.fromarray(read_as_stored(path, format.images)).convert("RGB")


def image_pixels(paths: Sequence[Path], image_processor: Any, format: Format) -> torch.Tensor:
    """Pixel values (N, 3, S, S), float32, normalised."""
    images = [open_image(path, format) for path in paths]
    values: torch.Tensor = image_processor(images=images, return_tensors="pt")["pixel_values"]
    return values


def grey_pixels(paths: Sequence[Path], image_processor: Any, format: Format) -> torch.Tensor:
    """One channel of the same pixels before normalising, (N, S, S) uint8: a data set of them fits in memory."""
    images = [open_image(path, format) for path in paths]
    options = {"do_rescale": False, "do_normalize": False}
    values: torch.Tensor = image_processor(images=images, return_tensors="pt", **options)["pixel_values"]
    return values[:, 0].round().to(torch.uint8)


def normalise(grey: torch.Tensor, image_processor: Any) -> torch.Tensor:
    """(..., S, S) uint8 from `grey_pixels` to the pixel values (..., 3, S, S) that `image_pixels` gives."""
    mean = torch.tensor(image_processor.image_mean).view(3, 1, 1)
    deviation = torch.tensor(image_processor.image_std).view(3, 1, 1)
    return (grey.unsqueeze(-3) * float(image_processor.rescale_factor) - mean) / deviation
