"""Why an image cannot be used: a code for counting and a hint for the way out."""

from __future__ import annotations

from cxrgen.core.errors import InputError

_FULL_SCALES = (255, 1023, 4095, 16383, 65535)  # 8, 10, 12, 14 and 16 bits


class ImageReject(InputError):
    """An image that cannot be used: `code` for counting, `hint` for the way out."""

    def __init__(self, code: str, hint: str, place: str = "") -> None:
        super().__init__(f"{place}: {code}: {hint}" if place else f"{code}: {hint}")
        self.code = code
        self.hint = hint


def full_scale(maximum: int) -> int:
    """White for integer pixels of unknown depth: the smallest of 255, 1023, 4095, 16383, 65535 not below `maximum`."""
    return next((white for white in _FULL_SCALES if maximum <= white), maximum)


def too_large(width: int, height: int, max_pixels: int) -> ImageReject:
    millions = f"{width} x {height} is more than {max_pixels / 1e6:g} million pixels"
    return ImageReject("too-large", f"{millions}; raise the limit if the image is real")
