"""One image file of any kind to 8-bit grey pixels, or a reject code; and what a DICOM file says of its image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrgen.core.errors import unknown
from cxrgen.imaging.burnt_in import TAG as BURNT_IN_TAG
from cxrgen.imaging.names import DICOM_SUFFIXES, RENDERINGS
from cxrgen.imaging.patients import PATIENT_TAGS
from cxrgen.imaging.pictures import MAGIC, fitted, read_picture
from cxrgen.imaging.purpose import PURPOSE_TAGS
from cxrgen.imaging.rejects import ImageReject
from cxrgen.imaging.views import VIEW_TAGS

SMALLEST_SIDE = 64  # pixels; below this there is no image to describe
_INVERTED = 20.0  # corners brighter than the middle by this: none of 365 true images, five in six of the same inverted


@dataclass(frozen=True)
class GreyImage:
    """Pixels (H, W) uint8, bright = dense, and what the file held before it became them.

    Notes, "code: words", say what was unusual; they hold no name or text.
    """

    pixels: NDArray[np.uint8]
    notes: tuple[str, ...] = ()
    width: int = 0  # of the file's own picture, upright, before it was reduced
    height: int = 0
    mode: str = ""  # Pillow's (L, I;16, RGB, ...) or DICOM's photometric interpretation
    bits: int = 0  # a channel, as the file says

    @property
    def is_reduced(self) -> bool:
        """Whether the file's own picture has more pixels than these."""
        height, width = self.pixels.shape
        return (self.width, self.height) != (width, height)


def read_image(
    path: Path, rendering: str = "window", max_pixels: int = 200_000_000, longest_side: int = 0
) -> GreyImage:
    """Read one image of any kind, recognised by its content and not by its name, as (H, W) uint8.

    `rendering` (window, percentile, mimic) is how a DICOM's values become grey. `longest_side` > 0 reduces a larger
    image to that longest side and never enlarges; 0 keeps the size. Raises ImageReject if it cannot be used.
    """
    path = Path(path)
    if rendering not in RENDERINGS:
        raise unknown("--rendering", rendering, RENDERINGS)
    try:
        head = _head(path)
        if _is_dicom(path, head):
            from cxrgen.imaging.dicom import render

            pixels, notes, (mode, bits) = render(path, rendering, max_pixels)
            height, width = pixels.shape
        else:
            pixels, notes, (mode, bits), (width, height) = read_picture(path, head, max_pixels, longest_side)
        if min(width, height) < SMALLEST_SIDE:
            raise ImageReject("too-small", f"{width} x {height} pixels; {SMALLEST_SIDE} a side are needed")
        if int(pixels.max()) - int(pixels.min()) < 2:
            raise ImageReject("blank-image", "every pixel has the same value")
        size = fitted(width, height, longest_side)
        if size != (pixels.shape[1], pixels.shape[0]):
            pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
        if _looks_inverted(pixels):
            notes.append("maybe-inverted: the corners are brighter than the middle; nothing was changed")
        return GreyImage(pixels, tuple(notes), width, height, mode, bits)
    except ImageReject as reject:
        raise ImageReject(reject.code, reject.hint, path.name) from None


def read_image_tags(path: Path) -> dict[str, str] | None:
    """Texts of a DICOM file's tags on view, purpose, patient and text, by keyword; None for any other file.

    A damaged file has none of them: `read_image` says what is wrong with it.
    """
    try:
        if not _is_dicom(path, _head(path)):
            return None
    except ImageReject:
        return None
    from cxrgen.imaging.dicom import read_tags

    try:
        return read_tags(path, (*VIEW_TAGS, *PURPOSE_TAGS, *PATIENT_TAGS, BURNT_IN_TAG))
    except ImageReject:
        return {}


def _is_dicom(path: Path, head: bytes) -> bool:
    return head[128:132] == b"DICM" or (path.suffix.lower() in DICOM_SUFFIXES and not head.startswith(MAGIC))


def _head(path: Path) -> bytes:
    try:
        if not path.exists():
            raise ImageReject("image-missing", "no such file")
        if not path.is_file():
            raise ImageReject("not-an-image", "a folder or a device, not a file")
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError as error:
        raise ImageReject("image-unreadable", f"the system refuses to read it ({type(error).__name__})") from None
    if not head:
        raise ImageReject("image-empty", "zero bytes; copy or download it again")
    return head


def _looks_inverted(pixels: NDArray[np.uint8]) -> bool:
    # Beside the neck lies air or the collimator, black on a true image; the middle holds spine and heart.
    small = np.asarray(Image.fromarray(pixels).resize((64, 64), Image.Resampling.BOX), dtype=np.float32)
    corners = (small[:6, :6].mean() + small[:6, -6:].mean()) / 2
    return bool(corners > small[16:48, 16:48].mean() + _INVERTED)
