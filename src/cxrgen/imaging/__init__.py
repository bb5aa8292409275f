"""An image file to 8-bit grey pixels or a reject code; its view position; the order of views."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cxrgen.imaging.read import GreyImage as GreyImage
    from cxrgen.imaging.read import read_image as read_image

__all__ = ["GreyImage", "read_image"]
_EARLIER = {"read_film": "read_image"}  # names of version 0.1


def __getattr__(name: str) -> Any:
    """The reader of images, imported when it is asked for: view positions alone do without numpy and Pillow."""
    if name in __all__ or name in _EARLIER:
        from cxrgen.imaging import read

        return getattr(read, _EARLIER.get(name, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
