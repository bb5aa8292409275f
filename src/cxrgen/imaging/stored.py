"""The one image rule: the form in which a prepared set stores an image and every door shows it to a model.

An image is rendered to 8-bit grey, reduced to the set's longest side and, where it was reduced, compressed as JPEG of
quality 95, a third smaller than PNG and four times faster to read; an image that fits keeps its pixels exactly, as PNG.
Training reads those files. An image that was never stored (`generate --images`, `load().report()`, a question file
beside DICOM files) goes through the same steps in memory, compression included, so that its pixels are the same to the
bit; a stored image is left as it is. The price is a JPEG round trip for each image that is not of the set.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrgen.core.errors import InputError, UsageError, unknown
from cxrgen.core.records import FRONTAL, LATERAL, OTHER, UNKNOWN, View
from cxrgen.imaging.patients import first_of_two_patients
from cxrgen.imaging.purpose import is_for_processing, superseded
from cxrgen.imaging.read import GreyImage, read_image, read_image_tags
from cxrgen.imaging.views import view_class, view_of_tags

_JPEG_QUALITY = 95
_CLASSES = (FRONTAL, LATERAL, OTHER, UNKNOWN)


@dataclass(frozen=True)
class ImageRule:
    """How an image file becomes pixels; recorded in a set's recipe.json and in a checkpoint's cxrgen.json."""

    rendering: str = "window"  # of DICOM values: window | percentile | mimic
    longest_side: int = 0  # pixels; 0: unknown (older checkpoints, those that saw no prepared set)


def encoded(image: GreyImage) -> tuple[bytes, str]:
    """The bytes that a set stores of an image that `read_image` has read, and the suffix of their file."""
    data = io.BytesIO()
    if image.is_reduced:
        Image.fromarray(image.pixels).save(data, "JPEG", quality=_JPEG_QUALITY)
        return data.getvalue(), "jpg"
    Image.fromarray(image.pixels).save(data, "PNG", compress_level=1)
    return data.getvalue(), "png"


def read_as_stored(path: Path, rule: ImageRule) -> NDArray[np.uint8]:
    """Pixels (H, W) uint8 of an image file of any kind as a set made by `rule` holds them. Raises ImageReject."""
    image = read_image(path, rule.rendering, longest_side=rule.longest_side)
    if not image.is_reduced:
        return image.pixels
    with Image.open(io.BytesIO(encoded(image)[0])) as stored:
        return np.asarray(stored)


def views_of_study(paths: Sequence[Path], said: Sequence[str] | None, rule: ImageRule) -> tuple[View, ...]:
    """The images of one study as `prepare` lists them, in the given order.

    `said` is what each of them shows: frontal, lateral, other, unknown, or a word such as PA or LL. Without it DICOM
    files are asked; of other files the first is taken for a frontal, the rest for laterals. Images that stand twice
    are listed once, raw detector values not at all beside the picture made from them. Raises UsageError for no image,
    another number of words or an unknown one, InputError for images of two patients, ImageReject for an image that
    cannot be read.
    """
    if not paths:
        raise UsageError("a study without an image; give at least one")
    if said is not None and len(said) != len(paths):
        raise UsageError(f"--image-views has {len(said)} words for {len(paths)} images; give one for each")
    views: list[View] = []
    raw_values: list[bool] = []
    tags_of = [read_image_tags(path) for path in paths]
    refuse_two_patients(paths, tags_of)
    for place, (path, tags) in enumerate(zip(paths, tags_of)):
        view, raw_view = _shown(tags, place) if said is None else _said(said[place])
        size, sha256 = _facts(path, rule) if rule.longest_side and len(paths) > 1 else ((0, 0), "")
        if not sha256 or all(sha256 != other.sha256 for other in views):
            views.append(View(str(path), view, raw_view, *size, sha256))
            raw_values.append(is_for_processing(tags or {}))
    left_out = superseded([view.view for view in views], raw_values)
    return tuple(view for view, out in zip(views, left_out) if not out)


def refuse_two_patients(paths: Sequence[Path], tags: Sequence[Mapping[str, str] | None] | None = None) -> None:
    """Raises InputError, naming the files, where the tags of two images name different patients.

    `tags` are those of the images, read here where they are not given.
    """
    tags = [read_image_tags(path) for path in paths] if tags is None else tags
    pair = first_of_two_patients([each or {} for each in tags])
    if pair:
        one, other = (paths[place] for place in pair)
        raise InputError(f"{one} and {other} are of two patients by their tags; give images of one patient")


def _said(word: str) -> tuple[str, str]:
    view = word if word in _CLASSES else view_class(word)
    if view == UNKNOWN != word:
        raise unknown("--image-views", word, (*_CLASSES, "PA", "AP", "LL"))
    return view, "" if word in _CLASSES else word


def _shown(tags: Mapping[str, str] | None, place: int) -> tuple[str, str]:
    """View class and raw view of an image about which nothing was said."""
    if tags is None:
        return LATERAL if place else FRONTAL, ""
    raw_view = view_of_tags(tags)
    return view_class(raw_view), raw_view


def _facts(path: Path, rule: ImageRule) -> tuple[tuple[int, int], str]:
    """(width, height) and hash of the file that a set stores of this image: what the order of views depends on."""
    image = read_image(path, rule.rendering, longest_side=rule.longest_side)
    height, width = image.pixels.shape
    return (width, height), hashlib.sha256(encoded(image)[0]).hexdigest()
