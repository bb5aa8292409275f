"""Any film file to 8-bit grey pixels, or a reason why not.

Image libraries disagree on odd files and mostly stay silent: 16-bit files come out white or black, float files black,
half a JPEG comes out grey. So a film is read with one library, decoded to its end and turned to grey by a rule for each
kind of pixel; every guess is noted, and what cannot be shown truly is refused with a code. A JPEG is decoded at a
reduced scale when a small film is asked for: less work, and grey levels about one off those of a full decode.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cxrgen.errors import InputError, UsageError

DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})  # where nothing in the file says what it is
RENDERINGS = ("window", "percentile", "mimic")
SMALLEST_SIDE = 64  # pixels; below this there is no film to describe

# None that runs another program, as EPS does.
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM")
_SUFFIXES = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "MPO": {".jpg", ".jpeg", ".mpo"},
    "TIFF": {".tif", ".tiff"},
    "JPEG2000": {".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"},
    "PPM": {".ppm", ".pgm", ".pnm", ".pbm"},
}
_MAGIC = (b"\x89PNG", b"\xff\xd8", b"II*\0", b"MM\0*", b"GIF8", b"RIFF")
_FULL_SCALES = (255, 1023, 4095, 16383, 65535)  # 8, 10, 12, 14 and 16 bits
_COLOURED = 8.0  # mean spread of the channels, grey levels, from which a film is called coloured
_INVERTED = 20.0  # corners brighter than the middle by this: none of 365 true films, five in six of the same inverted
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


@dataclass(frozen=True)
class Film:
    """Pixels (H, W) uint8, bright = dense, and what the file held before it became them.

    Notes, "code: words", say what was unusual; they hold no name or text.
    """

    pixels: NDArray[np.uint8]
    notes: tuple[str, ...] = ()
    width: int = 0  # of the file's own picture, upright, before it was reduced
    height: int = 0
    mode: str = ""  # Pillow's (L, I;16, RGB, ...) or DICOM's photometric interpretation
    bits: int = 0  # a channel, as the file says


class FilmReject(InputError):
    """A film that cannot be used: `code` for counting, `hint` for the way out."""

    def __init__(self, code: str, hint: str, place: str = "") -> None:
        super().__init__(f"{place}: {code}: {hint}" if place else f"{code}: {hint}")
        self.code = code
        self.hint = hint


def read_film(path: Path, rendering: str = "window", max_pixels: int = 200_000_000, longest_side: int = 0) -> Film:
    """Read one film of any kind, told by its content and not by its name, as (H, W) uint8.

    `rendering` (window, percentile, mimic) is how a DICOM's values become grey. `longest_side` > 0 reduces a larger
    film to that longest side and never enlarges; 0 keeps the size. Raises FilmReject for a film that cannot be used.
    """
    path = Path(path)
    if rendering not in RENDERINGS:
        raise UsageError(f"rendering {rendering!r}: there are {', '.join(RENDERINGS)}")
    try:
        head = _head(path)
        if head[128:132] == b"DICM" or (path.suffix.lower() in DICOM_SUFFIXES and not head.startswith(_MAGIC)):
            from cxrgen.data.rendering import render  # pydicom takes a while to import; only DICOM sources pay

            pixels, notes, (mode, bits) = render(path, rendering, max_pixels)
            height, width = pixels.shape
        else:
            pixels, notes, (mode, bits), (width, height) = _read_picture(path, head, max_pixels, longest_side)
        if min(width, height) < SMALLEST_SIDE:
            raise FilmReject("too-small", f"{width} x {height} pixels; {SMALLEST_SIDE} a side are needed")
        if int(pixels.max()) - int(pixels.min()) < 2:
            raise FilmReject("blank-image", "every pixel has the same value")
        size = _fitted(width, height, longest_side)
        if size != (pixels.shape[1], pixels.shape[0]):
            pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
        if _looks_inverted(pixels):
            notes.append("maybe-inverted: the corners are brighter than the middle; nothing was changed")
        return Film(pixels, tuple(notes), width, height, mode, bits)
    except FilmReject as reject:
        raise FilmReject(reject.code, reject.hint, path.name) from None


def full_scale(maximum: int) -> int:
    """White for integer pixels of unknown depth: the smallest of 255, 1023, 4095, 16383, 65535 not below `maximum`."""
    return next((white for white in _FULL_SCALES if maximum <= white), maximum)


def _head(path: Path) -> bytes:
    try:
        if not path.exists():
            raise FilmReject("image-missing", "no such file")
        if not path.is_file():
            raise FilmReject("not-an-image", "a folder or a device, not a file")
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError as error:
        raise FilmReject("image-unreadable", f"the system refuses to read it ({type(error).__name__})") from None
    if not head:
        raise FilmReject("image-empty", "zero bytes; copy or download it again")
    return head


def _read_picture(
    path: Path, head: bytes, max_pixels: int, longest_side: int
) -> tuple[NDArray[np.uint8], list[str], tuple[str, int], tuple[int, int]]:
    """Grey pixels, notes, (mode, bits), and the film's own (width, height), which a reduced decode no longer shows."""
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
                image.draft(None, _fitted(*size, longest_side))
            image.load()
            turn = _TURNS.get(_orientation(image))  # Pillow has turned a TIFF by now and taken its tag away
            upright = image if turn is None else image.transpose(turn)
            if not drafted:
                size = upright.size
            elif orientation >= 5:
                size = size[1], size[0]
            pixels = _grey(upright, notes, white_is_zero=_white_is_zero(image))
            return pixels, notes, held, size
    except FilmReject:
        raise
    except UnidentifiedImageError:
        raise _unknown(head) from None
    except MemoryError:
        raise FilmReject("too-large", "it does not fit into memory") from None
    except Exception as error:  # decoders raise whatever they like; the pixels are not to be trusted then
        words = "it ends early or is damaged; copy or download it again"
        raise FilmReject("image-truncated", f"{words} ({type(error).__name__})") from None


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


def too_large(width: int, height: int, max_pixels: int) -> FilmReject:
    millions = f"{width} x {height} is more than {max_pixels / 1e6:g} million pixels"
    return FilmReject("too-large", f"{millions}; raise the limit if the film is real")


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF data written by anything; a damaged block is no reason to lose the film
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


def _unknown(head: bytes) -> FilmReject:
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"{")):
        return FilmReject("not-an-image", "a web page or message was saved instead: the download failed")
    if start.startswith((b"version https://git-lfs", b"/annex/objects/", b"../.git/annex")):
        return FilmReject("not-an-image", "a pointer file, not the film: fetch the large files of the repository")
    if head.startswith((b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf")):
        return FilmReject("not-an-image", "an archive: unpack it first")
    if head.startswith(_MAGIC):
        return FilmReject("image-truncated", "it begins like an image and is damaged; copy or download it again")
    return FilmReject("not-an-image", "no known image format; DICOM, PNG, JPEG, TIFF, BMP, GIF and WebP are read")


def _grey(image: Image.Image, notes: list[str], white_is_zero: bool) -> NDArray[np.uint8]:
    mode = image.mode
    if mode == "1":
        raise FilmReject("one-bit", "black and white only; export it with grey levels")
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
        notes.append("not-gray: the colours differ clearly; is it a photograph of a film?")
    return np.asarray(image.convert("L"))


def _from_integers(values: NDArray[np.generic], notes: list[str], white_is_zero: bool) -> NDArray[np.uint8]:
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or highest > _FULL_SCALES[-1]:
        raise FilmReject("integer-range", f"values from {lowest} to {highest}; export it as unsigned 8 or 16 bits")
    white = full_scale(highest)
    notes.append(f"scaled: 16-bit values, white taken as {white}")
    table = np.rint(np.arange(white + 1) * (255 / white)).astype(np.uint8)
    grey: NDArray[np.uint8] = (table[::-1] if white_is_zero else table)[values.astype(np.int32)]
    return grey


def _from_floats(values: NDArray[np.generic], notes: list[str]) -> NDArray[np.uint8]:
    numbers = values.astype(np.float32)
    lowest, highest = float(numbers.min()), float(numbers.max())
    if not np.isfinite(numbers).all() or highest - lowest > 1.0:
        raise FilmReject("float-image", "floating point values beyond a range of 1; export it as 8 or 16 bits")
    if highest == lowest:
        return np.zeros(numbers.shape, np.uint8)  # refused as blank by the caller
    notes.append("scaled: floating point values, from the lowest to the highest")
    grey: NDArray[np.uint8] = np.rint((numbers - lowest) * (255 / (highest - lowest))).astype(np.uint8)
    return grey


def _looks_inverted(pixels: NDArray[np.uint8]) -> bool:
    # Beside the neck lies air or the collimator, black on a true film; the middle holds spine and heart.
    small = np.asarray(Image.fromarray(pixels).resize((64, 64), Image.Resampling.BOX), dtype=np.float32)
    corners = (small[:6, :6].mean() + small[:6, -6:].mean()) / 2
    return bool(corners > small[16:48, 16:48].mean() + _INVERTED)


def _fitted(width: int, height: int, longest_side: int) -> tuple[int, int]:
    if not longest_side or max(width, height) <= longest_side:
        return width, height
    scale = longest_side / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))
