"""The limits of the guard on rendered pictures: no chest X-ray that was published, and no phantom, comes near them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.imaging.dicoms import image, saved

from cxrgen.imaging.read import read_image
from cxrgen.imaging.rendering import CLIPPED_LIMIT, FLAT_LIMIT
from cxrgen.phantom.patients import draw_patient

WHOLE = {"WindowCenter": 128, "WindowWidth": 256}
DISBELIEVED = ("window-ignored", "table-ignored", "no-window")


def figures(pictures: Iterable[NDArray[np.uint8]]) -> tuple[float, int, int]:
    """(largest share that is black or white, fewest levels between the outer hundredths, pictures)."""
    clipped, used, count = 0.0, 256, 0
    for picture in pictures:
        grey = np.bincount(picture.ravel(), minlength=256) / picture.size
        clipped = max(clipped, float(grey[0] + grey[255]))
        reached = np.cumsum(grey)
        used = min(used, int(np.searchsorted(reached, 0.99)) - int(np.searchsorted(reached, 0.01)))
        count += 1
    return clipped, used, count


def phantoms(count: int) -> Iterable[NDArray[np.uint8]]:
    for patient in range(count):
        for drawn in draw_patient(3, patient):
            yield from (drawn.frontal, drawn.lateral)


def held(name: str, pictures: Iterable[NDArray[np.uint8]]) -> None:
    clipped, used, count = figures(pictures)
    print(f"{name}: {count} pictures, at most {clipped:.3f} black or white, at least {used} levels used")
    assert clipped < CLIPPED_LIMIT - 0.05
    assert used > FLAT_LIMIT + 10


def test_phantoms_are_far_from_the_limits() -> None:
    held("phantoms", phantoms(10))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["real_cxr/images", "nih_labelled/dev/images", "paediatric_pneumonia/dev/images"])
def test_published_images_are_far_from_the_limits(shared: Path, name: str) -> None:
    """The printed figures (pytest -s) are what the limits in `rendering` were set by."""
    files = sorted((shared / "data" / name).glob("*.[jp][pn]g"))
    if not files:
        pytest.skip(f"needs {name} of the public data folder")
    held(name, (np.asarray(Image.open(file).convert("L")) for file in files))


def test_published_images_as_dicom_keep_their_window(shared: Path, tmp_path: Path) -> None:
    for file in sorted((shared / "data" / "real_cxr" / "images").glob("*.jpg"))[::16]:
        pixels = np.asarray(Image.open(file).convert("L"))
        shown = read_image(saved(image(pixels, bits=8, **WHOLE), tmp_path / "a.dcm"))
        assert not any(note.startswith(DISBELIEVED) for note in shown.notes), (file.name, shown.notes)
        np.testing.assert_array_equal(shown.pixels, pixels)
        deeper = (pixels.astype(np.uint16) << 4) + 8
        shown = read_image(saved(image(deeper, bits=12, WindowCenter=2048, WindowWidth=4096), tmp_path / "a.dcm"))
        assert not any(note.startswith(DISBELIEVED) for note in shown.notes), (file.name, shown.notes)
        assert np.abs(shown.pixels.astype(int) - pixels).max() <= 1
        eight = read_image(saved(image(deeper, bits=12, WindowCenter=127, WindowWidth=255), tmp_path / "a.dcm"))
        assert any(note.startswith("window-ignored") for note in eight.notes), file.name


def test_a_dark_border_is_no_part_of_the_picture(tmp_path: Path) -> None:
    """A small child on a large detector: three quarters of the image are one value, the window is meant."""
    pixels = np.zeros((160, 160), np.uint16)
    y, x = np.mgrid[-1:1:80j, -1:1:80j]
    pixels[40:120, 40:120] = 500 + 3000 * np.exp(-(x**2) - y**2) + np.random.default_rng(0).integers(0, 200, (80, 80))
    shown = read_image(saved(image(pixels, WindowCenter=2048, WindowWidth=4096), tmp_path / "a.dcm"))
    assert shown.notes == ()
    np.testing.assert_allclose(shown.pixels, pixels / 4095 * 255, atol=1)
