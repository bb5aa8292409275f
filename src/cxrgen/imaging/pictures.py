"""Any image file to 8-bit grey pixels, or a reason why not.

Image libraries disagree on odd files and mostly stay silent: 16-bit files come out white or black, float files black,
half a JPEG comes out grey. So an image is read with one library, decoded to its end and turned to grey by a rule for
each kind of pixel; every guess is noted, and what cannot be shown truly is refused with a code. A JPEG is decoded at a
reduced scale when a small image is asked for: less work, and grey levels about one off those of a full decode.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cxrgen.imaging.jpeg import lacks_blocks
from cxrgen.imaging.rejects import _FULL_SCALES, ImageReject, full_scale, too_large

# None that runs another program, as EPS does.
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM")
_SUFFIXES = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "MPO": {".jpg", ".jpeg", ".mpo"},
    "TIFF": {".tif", ".tiff"},
    "JPEG2000": {".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"},
    "PPM": {".ppm", ".pgm", ".pnm", ".pbm"},
}
MAGIC = (b"\x89PNG", b"\xff\xd8", b"II*\0", b"MM\0*", b"GIF8", b"RIFF")
_COLOURED = 8.0  # mean spread of the channels, grey levels, from which an image is called coloured
_ORIENTATION = 0x0112  # the EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PIXEL_LIMIT = threading.Lock()


def read_picture(
    path: Path, head: bytes, max_pixels: int, longest_side: int
) -> tuple[NDArray[np.uint8], list[str], tuple[str, int], tuple[int, int]]:
    """Grey pixels, notes, (mode, bits), and the image's own (width, height), which a reduced decode no longer shows."""
    notes: list[str] = []
    try:
        with _opened(path) as image:
            size = image.size
            if size[0] * size[1] > max_pixels:
                raise too_large(*size, max_pixels)
            kind, held = image.format or "", (image.mode, _bits(image, head))
            if path.suffix.lower() not in _SUFFIXES.get(kind, {"." + kind.lower()}):
                notes.append(f"other-type: the content is {kind}, the name says something else")
            if getattr(image, "n_frames", 1) > 1 and kind != "MPO":
                notes.append("several-frames: only the first is read")
            if kind == "PNG" and head[24:25] == b"\x10" and not image.mode.startswith("I"):
                notes.append("colour-16-bit: only the upper 8 bits of each channel are read")
            orientation = _orientation(image)
            if orientation != 1:
                notes.append("turned: by the orientation in its EXIF data")
            drafted = longest_side > 0 and kind in {"JPEG", "MPO"}
            if drafted:
                image.draft(None, fitted(*size, longest_side))
            image.load()
            if kind in {"JPEG", "MPO"}:
                _check_blocks(path, image, block=max(1, round(8 * image.width / size[0])))
            turn = _TURNS.get(_orientation(image))  # Pillow has turned a TIFF by now and taken its tag away
            upright = image if turn is None else image.transpose(turn)
            if not drafted:
                size = upright.size
            elif orientation >= 5:
                size = size[1], size[0]
            pixels = _grey(upright, notes, white_is_zero=_white_is_zero(image))
            return pixels, notes, held, size
    except ImageReject:
        raise
    except UnidentifiedImageError:
        raise _unknown(head) from None
    except MemoryError:
        raise ImageReject("too-large", "it does not fit into memory") from None
    except Exception as error:  # decoders raise whatever they like; the pixels are not to be trusted then
        words = "it ends early or is damaged; copy or download it again"
        raise ImageReject("image-truncated", f"{words} ({type(error).__name__})") from None


def _check_blocks(path: Path, image: Image.Image, block: int) -> None:
    """Raise ImageReject for a JPEG that lacks its last block of `block` pixels, which Pillow fills in with grey."""
    width, height = image.size
    corner = ((width - 1) // block * block, (height - 1) // block * block, width, height)
    last = np.asarray(image.crop(corner).convert("L"))
    if lacks_blocks(path.read_bytes(), last):
        raise ImageReject("image-truncated", "it ends early; copy or download it again")


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    # Pillow's limit of 179 million pixels is a process-wide setting and below ours, which is checked from the header.
    with warnings.catch_warnings(), open(path, "rb") as file:
        warnings.simplefilter("ignore")  # of damaged metadata; pixels are checked by decoding them
        with _PIXEL_LIMIT:
            before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                image = Image.open(file, formats=_FORMATS)
                if image.format == "PNG":  # decoding alone does not look at the checksums
                    image.verify()
                    file.seek(0)
                    image = Image.open(file, formats=_FORMATS)
            finally:
                Image.MAX_IMAGE_PIXELS = before
        with image:
            yield image


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF data written by anything; a damaged block is no reason to lose the image
        return 1
    return value if value in _TURNS else 1


def _white_is_zero(image: Image.Image) -> bool:
    """Whether a TIFF counts from white, which Pillow turns round for 8 bits only."""
    tags = getattr(image, "tag_v2", None)
    return tags is not None and tags.get(262) == 0


def _bits(image: Image.Image, head: bytes) -> int:
    """Bits a channel, by the header of PNG and TIFF, else by the mode that Pillow reads it in."""
    if image.format == "PNG":
        return head[24]
    sample = getattr(image, "tag_v2", {}).get(258)  # BitsPerSample
    if sample:
        return int(sample[0] if isinstance(sample, tuple) else sample)
    return {"1": 1, "I;16": 16, "I;16B": 16, "I": 32, "F": 32}.get(image.mode, 8)


def _unknown(head: bytes) -> ImageReject:
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"{")):
        return ImageReject("not-an-image", "a web page or message was saved instead: the download failed")
    if start.startswith((b"version https://git-lfs", b"/annex/objects/", b"../.git/annex")):
        return ImageReject("not-an-image", "a pointer file, not the image: fetch the large files of the repository")
    if head.startswith((b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf")):
        return ImageReject("not-an-image", "an archive: unpack it first")
    if head.startswith(MAGIC):
        return ImageReject("image-truncated", "it begins like an image and is damaged; copy or download it again")
    return ImageReject("not-an-image", "no known image format; DICOM, PNG, JPEG, TIFF, BMP, GIF and WebP are read")


def _grey(image: Image.Image, notes: list[str], white_is_zero: bool) -> NDArray[np.uint8]:
    mode = image.mode
    if mode == "1":
        raise ImageReject("one-bit", "black and white only; export it with grey levels")
    if mode == "L":
        return np.asarray(image)
    if mode.startswith("I"):
        return _from_integers(np.asarray(image), notes, white_is_zero)
    if mode == "F":
        return _from_floats(np.asarray(image), notes)
    if mode == "CMYK":
        notes.append("cmyk: printing colours, turned to grey")
    if mode in {"P", "PA", "LA", "La", "RGBA", "RGBa"}:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        if np.asarray(image.getchannel("A")).min() < 255:
            notes.append("transparent: laid on black")
        image = Image.alpha_composite(black, image)
    image = image.convert("RGB")
    small = np.asarray(image.resize((64, 64), Image.Resampling.BOX), dtype=np.int16)
    if (small.max(axis=-1) - small.min(axis=-1)).mean() > _COLOURED:
        notes.append("not-gray: the colours differ clearly; is it a photograph of an image?")
    return np.asarray(image.convert("L"))


def _from_integers(values: NDArray[np.generic], notes: list[str], white_is_zero: bool) -> NDArray[np.uint8]:
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or highest > _FULL_SCALES[-1]:
        raise ImageReject("integer-range", f"values from {lowest} to {highest}; export it as unsigned 8 or 16 bits")
    white = full_scale(highest)
    notes.append(f"scaled: 16-bit values, white taken as {white}")
    table = np.rint(np.arange(white + 1) * (255 / white)).astype(np.uint8)
    grey: NDArray[np.uint8] = (table[::-1] if white_is_zero else table)[values.astype(np.int32)]
    return grey


def _from_floats(values: NDArray[np.generic], notes: list[str]) -> NDArray[np.uint8]:
    numbers = values.astype(np.float32)
    lowest, highest = float(numbers.min()), float(numbers.max())
    if not np.isfinite(numbers).all() or highest - lowest > 1.0:
        raise ImageReject("float-image", "floating point values beyond a range of 1; export it as 8 or 16 bits")
    if highest == lowest:
        return np.zeros(numbers.shape, np.uint8)  # refused as blank by the caller
    notes.append("scaled: floating point values, from the lowest to the highest")
    grey: NDArray[np.uint8] = np.rint((numbers - lowest) * (255 / (highest - lowest))).astype(np.uint8)
    return grey


def fitted(width: int, height: int, longest_side: int) -> tuple[int, int]:
    if not longest_side or max(width, height) <= longest_side:
        return width, height
    scale = longest_side / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))
