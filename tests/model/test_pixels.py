from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from cxrgen.core.errors import InputError
from cxrgen.model.pixels import grey_pixels, image_pixels, normalise, open_image

PROCESSOR = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})


@pytest.fixture
def wide_image(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(1, 255, (40, 60), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def test_aspect_rules(wide_image: Path) -> None:
    assert open_image(wide_image, "square").size == (60, 40)
    black, mean = open_image(wide_image, "black"), open_image(wide_image, "pad")
    assert black.size == mean.size == (60, 60)
    assert (black.getpixel((0, 0)), mean.getpixel((0, 0))) == ((0, 0, 0), (122, 116, 104))
    assert black.getpixel((5, 10)) == open_image(wide_image, "square").getpixel((5, 0))


def test_grey_pixels_normalise_to_the_processors_values(wide_image: Path) -> None:
    expected = image_pixels([wide_image], PROCESSOR, "black")
    grey = grey_pixels([wide_image], PROCESSOR, "black")
    assert (grey.dtype, grey.shape) == (torch.uint8, (1, 32, 32))
    torch.testing.assert_close(normalise(grey, PROCESSOR), expected)


def test_bad_files_are_named(tmp_path: Path, wide_image: Path) -> None:
    with pytest.raises(InputError, match="no such image"):
        open_image(tmp_path / "absent.png", "square")
    whole = wide_image.read_bytes()
    wide_image.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"image\.png: no readable image"):
        open_image(wide_image, "square")
