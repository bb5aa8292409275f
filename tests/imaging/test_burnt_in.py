"""Text burnt into pixels: found where a device writes a line of it, side markers pass, the tag alone refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from tests.imaging.dicoms import image, saved, values

from cxrgen.core.records import read_studies
from cxrgen.imaging.burnt_in import has_text
from cxrgen.imaging.read import read_image

Prepare = Callable[..., tuple[int, str]]
LINES = ("DOE, JANE 01/02/1950", "Mustermann Erika", "MRN 12345678", "ST. MARY HOSPITAL")
IMAGES = 100


def written(pixels: NDArray[np.uint8], text: str, size: int, place: int = 0) -> NDArray[np.uint8]:
    picture = Image.fromarray(pixels.copy())
    corner = [(5, 5), (5, picture.height - 40), (picture.width // 2, 5)][place % 3]
    ImageDraw.Draw(picture).text(corner, text, fill=255, font=ImageFont.load_default(size))
    return np.asarray(picture)


def smooth(seed: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[-1:1:400j, -1:1:360j]
    noise = np.random.default_rng(seed).uniform(0, 30, x.shape)
    return np.asarray(200 * np.exp(-2 * (x**2 + y**2)) + noise).astype(np.uint8)


@pytest.mark.parametrize("size", [12, 16, 24])
@pytest.mark.parametrize("text", LINES)
def test_lines_of_text_are_found(text: str, size: int) -> None:
    for seed in range(3):
        assert not has_text(smooth(seed))
        assert has_text(written(smooth(seed), text, size, seed))


@pytest.mark.parametrize("marker", ["R", "L", "AP", "R PA"])
def test_side_markers_pass(marker: str) -> None:
    assert not has_text(written(smooth(1), marker, 30))


def test_rate_on_real_images(shared: Path) -> None:
    files = [
        file for file in sorted((shared / "data" / "real_cxr").rglob("*")) if file.suffix in (".png", ".jpg", ".jpeg")
    ]
    pictures = [read_image(file, longest_side=512).pixels for file in files[:IMAGES]]
    found = sum(has_text(written(each, LINES[n % 4], 10 + n % 16, n)) for n, each in enumerate(pictures))
    without = sum(map(has_text, pictures))
    marked = sum(has_text(written(each, "RL"[n % 2], 30)) for n, each in enumerate(pictures))
    print(f"found {found}, without {without}, with a marker {marked} of {len(pictures)}")
    assert found >= 0.85 * len(pictures)
    assert without <= 0.15 * len(pictures)
    assert marked <= without + 2, "a marker is no text"


def test_the_tag_refuses_where_ids_are_hashed(tmp_path: Path, prepare: Prepare) -> None:
    for number in range(4):
        pixels = values() // (number + 1)
        tags = {"StudyInstanceUID": f"1.2.{number}", "SOPInstanceUID": f"1.2.{number}.1", "ViewPosition": "PA"}
        burnt = {"BurnedInAnnotation": "YES" if number == 0 else "NO"}
        (tmp_path / "in" / str(number)).mkdir(parents=True)
        saved(image(pixels, **tags, **burnt), tmp_path / "in" / str(number) / "a.dcm")
        (tmp_path / "in" / str(number) / "t.txt").write_text(f"FINDINGS: Synthetic {number}.")
    words = ("--max-rejects", "100%", "--on-leak", "drop")
    prepare(tmp_path / "in", "--out", tmp_path / "a", "--pseudonyms", tmp_path / "key", *words)
    assert "burnt-in-text" in (tmp_path / "a" / "rejects.csv").read_text()
    taken = ("--burnt-in", "take", *words)
    prepare(tmp_path / "in", "--out", tmp_path / "b", "--pseudonyms", tmp_path / "key", *taken)
    prepare(tmp_path / "in", "--out", tmp_path / "c", *words)
    for name in "bc":
        assert "burnt-in-text" not in (tmp_path / name / "rejects.csv").read_text()
        assert read_studies(tmp_path / name)
