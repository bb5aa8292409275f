"""Small pictures for pages: an image file as a few kilobytes of grey JPEG."""

from __future__ import annotations

import io
from pathlib import Path


def thumbnail(path: Path, side: int) -> bytes | None:
    """The image as a grey JPEG of `side` pixels at most; None when the file is missing or no picture."""
    from PIL import Image  # pages without pictures need none of it

    try:
        with Image.open(path) as opened:
            grey = opened.convert("L")
            grey.thumbnail((side, side), Image.Resampling.LANCZOS)
    except (OSError, SyntaxError, ValueError):
        return None
    data = io.BytesIO()
    grey.save(data, "JPEG", quality=80, optimize=True)
    return data.getvalue()
