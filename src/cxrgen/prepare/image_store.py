"""One image into the prepared set: read, reduced, written, hashed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrgen.core.errors import InputError
from cxrgen.core.files import replacing, sha256_file
from cxrgen.imaging.burnt_in import TAG, has_text
from cxrgen.imaging.patients import is_other_patient
from cxrgen.imaging.read import read_image, read_image_tags
from cxrgen.imaging.rejects import ImageReject
from cxrgen.imaging.stored import encoded
from cxrgen.imaging.view_classifier import read_classifier, view_of_picture

BURNT_IN = "burnt-in-text"
OTHER_PATIENT = "duplicate-conflict"  # the code of an image of another patient than the first of its study
_FEW_BITS = 3  # of 64


@dataclass(frozen=True)
class ImageOptions:
    """What the stored pixels depend on."""

    size: int = 512
    rendering: str = "window"
    max_pixels: int = 200_000_000
    strict: bool = False  # leave out an image that is only read with a remark
    private: bool = False  # look for text in the picture, for sets with pseudonyms
    burnt_in: str = "take"  # or refuse: images whose tag says that they hold text
    views_by: str = ""  # the classifier that is asked what a picture shows


@dataclass(frozen=True)
class ImageJob:
    """One image to store: `key` names it in the prepared set, `source` is where it is now."""

    key: str
    source: str
    beside: str = ""  # another DICOM file of the study, which must be of the same patient
    ask_view: bool = False  # nothing but the picture says what it shows


@dataclass(frozen=True)
class StoredImage:
    """What became of an image: stored with these facts, or left out with a code and a hint."""

    key: str
    source_sha256: str = ""  # of the source file; "" where it could not be used
    path: str = ""  # in the prepared folder
    width: int = 0
    height: int = 0
    sha256: str = ""  # of the stored file
    brightness: float = 0.0  # mean grey, 0 to 255
    dhash: str = ""  # 16 hex digits that stay when contrast changes; see `dhash`
    mode: str = ""  # of the source file, as its bits and size; see `GreyImage`
    bits: int = 0
    source_width: int = 0
    source_height: int = 0
    notes: tuple[str, ...] = ()
    view: str = ""  # what the picture shows, where it was asked; unknown where it is undecided
    confidence: float = 0.0  # of that
    code: str = ""
    hint: str = ""


def dhash(picture: Image.Image) -> str:
    """64 bits, 1 where a cell of an 8 x 9 grid is brighter than its right neighbour.

    Two versions of one exposure that differ in contrast or size have nearly the same bits.
    """
    cells = np.asarray(picture.resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    return np.packbits(cells[:, :-1] > cells[:, 1:]).tobytes().hex()


def is_near_duplicate(one: str, other: str) -> bool:
    """Do two images differ in so few of the bits of `dhash` that they may be one exposure?"""
    return bool(one and other) and (int(one, 16) ^ int(other, 16)).bit_count() <= _FEW_BITS


def image_key(study_id: str, number: int) -> str:
    """The name of a study's image `number`: 20 hex digits."""
    return hashlib.sha256(f"{study_id}/{number}".encode()).hexdigest()[:20]


def stored_paths(key: str) -> tuple[str, str]:
    """Where an image of this key may be stored, in the prepared folder."""
    return f"images/{key[:2]}/{key}.png", f"images/{key[:2]}/{key}.jpg"


def stored_bytes(path: Path, sha256: str) -> bytes:
    """A stored image. Raises InputError for one that is gone, or is not what `sha256` ("": unknown) says."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); prepare the set again") from None
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise InputError(f"{path}: has changed since it was prepared; prepare the set again")
    return data


def store_image(job: ImageJob, out: Path, options: ImageOptions) -> StoredImage:
    """Read, shrink and store one image; that of another patient than the image beside it is left out."""
    if job.beside and is_other_patient(*(read_image_tags(Path(path)) or {} for path in (job.beside, job.source))):
        return StoredImage(
            job.key, code=OTHER_PATIENT, hint="its tags name another patient than those of an image beside it"
        )
    if options.burnt_in == "refuse" and (read_image_tags(Path(job.source)) or {}).get(TAG, "").upper() == "YES":
        return StoredImage(job.key, code=BURNT_IN, hint="its tags say that text is burnt in; --burnt-in take takes it")
    try:
        image = read_image(Path(job.source), options.rendering, options.max_pixels, options.size)
    except ImageReject as error:
        return StoredImage(job.key, code=error.code, hint=error.hint)
    if options.private and has_text(image.pixels):
        image = replace(image, notes=(*image.notes, f"{BURNT_IN}: the picture seems to hold text; look at it"))
    if options.strict and image.notes:
        code, _, words = image.notes[0].partition(": ")
        return StoredImage(job.key, code=code, hint=f"{words}; without --strict it is taken")
    height, width = image.pixels.shape
    data, suffix = encoded(image)
    path = Path("images") / job.key[:2] / f"{job.key}.{suffix}"
    try:
        with replacing(out / path) as temporary:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(data)
    except OSError as error:
        raise InputError(f"{out}: {error.strerror}; make room or choose another --out, then run again") from None
    source = sha256_file(Path(job.source))
    brightness, look = round(float(image.pixels.mean()), 2), dhash(Image.fromarray(image.pixels))
    return StoredImage(
        job.key, source, str(path), width, height, hashlib.sha256(data).hexdigest(), brightness, look, image.mode,
        image.bits, image.width, image.height, image.notes, *_seen(image.pixels, job, options),
    )  # fmt: skip


def _seen(pixels: NDArray[np.uint8], job: ImageJob, options: ImageOptions) -> tuple[str, float]:
    """What the picture shows, and how sure that is; ("", 0) where it is not asked."""
    if not (job.ask_view and options.views_by):
        return "", 0.0
    seen = view_of_picture(pixels, read_classifier(options.views_by))
    return seen.view, seen.confidence
