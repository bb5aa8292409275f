from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrgen.prepare.image_store import ImageJob, ImageOptions, dhash, is_near_duplicate, store_image


def scene(seed: int) -> np.ndarray:
    """An image (240, 200) of smooth blobs: (uint8)."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 255, (12, 10), dtype=np.uint8))
    return np.asarray(small.resize((200, 240), Image.Resampling.BICUBIC))


def test_one_exposure_processed_twice_looks_alike() -> None:
    image = scene(1)
    other = np.clip(30 + 0.7 * image.astype(float), 0, 255).astype(np.uint8)
    looks = [
        dhash(Image.fromarray(each)) for each in (image, other, np.asarray(Image.fromarray(image).resize((100, 120))))
    ]
    assert all(is_near_duplicate(looks[0], each) for each in looks)
    assert not any(is_near_duplicate(looks[0], dhash(Image.fromarray(scene(seed)))) for seed in range(2, 60))
    assert not is_near_duplicate("", "")


@pytest.mark.parametrize(("bits", "alike"), [(0b111, True), (0b1111, False)])
def test_three_of_64_bits_may_differ(bits: int, alike: bool) -> None:
    assert is_near_duplicate("0" * 16, f"{bits:016x}") is alike


@pytest.mark.parametrize(("size", "suffix", "wanted"), [(512, "png", (200, 240)), (120, "jpg", (100, 120))])
def test_a_small_image_keeps_its_pixels_and_a_shrunk_one_is_a_jpeg(
    tmp_path: Path, size: int, suffix: str, wanted: tuple[int, int]
) -> None:
    source = tmp_path / "image.png"
    Image.fromarray(scene(1)).save(source)
    stored = store_image(ImageJob("ab" * 10, str(source)), tmp_path, ImageOptions(size=size))
    assert stored.path == f"images/ab/{'ab' * 10}.{suffix}"
    with Image.open(tmp_path / stored.path) as image:
        assert (image.mode, image.size) == ("L", wanted) == ("L", (stored.width, stored.height))
        if suffix == "png":
            assert (np.asarray(image) == scene(1)).all()


def test_a_image_that_is_left_out_has_a_code_and_no_path(tmp_path: Path) -> None:
    stored = store_image(ImageJob("ab" * 10, str(tmp_path / "none.png")), tmp_path, ImageOptions())
    assert (stored.code, stored.path) == ("image-missing", "")
