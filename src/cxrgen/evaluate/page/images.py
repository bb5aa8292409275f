"""A study's images on a page, as small pictures inside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrgen.core.records import Study
from cxrgen.html import Html, image, tag
from cxrgen.html.thumbnails import thumbnail


@dataclass(frozen=True)
class Picture:
    """One image: its view in words, and its JPEG; None where the file was not found."""

    caption: str
    data: bytes | None


def pictures_of(study: Study | None, prepared: Path | None, size: int) -> tuple[Picture, ...]:
    """A study's images, `size` pixels long at most; none where none are known or wanted."""
    if study is None or prepared is None or not size:
        return ()
    folder = prepared if prepared.is_dir() else prepared.parent
    return tuple(
        Picture(f"{view.view} {view.raw_view}".strip(), thumbnail(folder / view.path, size)) for view in study.views
    )


def figure(found: Picture, data: bytes) -> Html:
    """An image with its caption."""
    return image(data, f"{found.caption} image", found.caption)


def images(pictures: Sequence[Picture], shape: Callable[[Picture, bytes], Html] = figure) -> list[Html]:
    """All images of a study beside each other, each in a `shape`; nothing where there are none."""
    shown = [
        shape(found, found.data) if found.data else tag("p", f"{found.caption}: image not found") for found in pictures
    ]
    return [tag("div", *shown, class_="images")] if shown else []
