"""Image files to the pixel values a model takes, by the checkpoint's own aspect rule and the stock image processor.

Aspect rules: `square` leaves everything to the processor (CLIP: short side to size, then centre crop, which cuts the
sides of a wide image), `pad` first makes a square in CLIP's mean colour as LLaVA-Med does, `black` the same in black,
which is what lies beside an X-ray.

Pictures of 8 bits keep their colours, which figures and slides need. All else, DICOM and deeper pictures, goes through
`data.images`, which knows how such values become grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from cxrgen.core.errors import InputError
from cxrgen.imaging.read import read_image

_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB")
_PAD_COLOURS = {"pad": (122, 116, 104), "black": (0, 0, 0)}


def open_image(path: Path, aspect: str) -> Image.Image:
    """An RGB image after the aspect rule. Raises InputError for a file that is missing or no whole image."""
    try:
        with Image.open(path) as file:
            shallow = file.mode in _EIGHT_BITS
            image = ImageOps.exif_transpose(file).convert("RGB") if shallow else _grey_image(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such image; is the image folder right?") from None
    except UnidentifiedImageError:
        image = _grey_image(path)
    except (OSError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: no readable image ({type(error).__name__})") from None
    if aspect == "square" or image.width == image.height:
        return image
    side = max(image.size)
    square = Image.new("RGB", (side, side), _PAD_COLOURS[aspect])
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def _grey_image(path: Path) -> Image.Image:
    return Image.fromarray(read_image(path).pixels).convert("RGB")


def image_pixels(paths: Sequence[Path], image_processor: Any, aspect: str) -> torch.Tensor:
    """Pixel values (N, 3, S, S), float32, normalised."""
    images = [open_image(path, aspect) for path in paths]
    values: torch.Tensor = image_processor(images=images, return_tensors="pt")["pixel_values"]
    return values


def grey_pixels(paths: Sequence[Path], image_processor: Any, aspect: str) -> torch.Tensor:
    """One channel of the same pixels before normalising, (N, S, S) uint8: a data set of them fits in memory."""
    images = [open_image(path, aspect) for path in paths]
    options = {"do_rescale": False, "do_normalize": False}
    values: torch.Tensor = image_processor(images=images, return_tensors="pt", **options)["pixel_values"]
    return values[:, 0].round().to(torch.uint8)


def normalise(grey: torch.Tensor, image_processor: Any) -> torch.Tensor:
    """(..., S, S) uint8 from `grey_pixels` to the pixel values (..., 3, S, S) that `image_pixels` gives."""
    mean = torch.tensor(image_processor.image_mean).view(3, 1, 1)
    deviation = torch.tensor(image_processor.image_std).view(3, 1, 1)
    return (grey.unsqueeze(-3) * float(image_processor.rescale_factor) - mean) / deviation
