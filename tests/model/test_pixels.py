from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from cxrgen.core.errors import InputError
from cxrgen.model.conversation import Format, recorded_format
from cxrgen.model.pixels import grey_pixels, image_pixels, image_size, normalise, open_image

PROCESSOR = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
SQUARE, BLACK = Format(aspect="square"), Format(aspect="black")


@pytest.fixture
def wide_image(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(1, 255, (40, 60), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def test_aspect_rules(wide_image: Path) -> None:
    assert open_image(wide_image, SQUARE).size == (60, 40)
    black, mean = open_image(wide_image, BLACK), open_image(wide_image, Format(aspect="pad"))
    assert black.size == mean.size == (60, 60)
    assert (black.getpixel((0, 0)), mean.getpixel((0, 0))) == ((0, 0, 0), (122, 116, 104))
    assert black.getpixel((5, 10)) == open_image(wide_image, SQUARE).getpixel((5, 0))


def test_grey_pixels_normalise_to_the_processors_values(wide_image: Path) -> None:
    expected = image_pixels([wide_image], PROCESSOR, BLACK)
    grey = grey_pixels([wide_image], PROCESSOR, BLACK)
    assert (grey.dtype, grey.shape) == (torch.uint8, (1, 32, 32))
    torch.testing.assert_close(normalise(grey, PROCESSOR), expected)


def test_bad_files_are_named(tmp_path: Path, wide_image: Path) -> None:
    with pytest.raises(InputError, match="no such"):
        open_image(tmp_path / "absent.png", SQUARE)
    whole = wide_image.read_bytes()
    wide_image.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="no readable image") as error:
        open_image(wide_image, SQUARE)
    assert error.value.detail == str(wide_image)


def colour_png(path: Path, size: tuple[int, int]) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(1, 255, (*size, 3), dtype=np.uint8)).save(path)
    return path


def test_an_older_checkpoint_takes_pictures_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "cxrgen.json").write_text('{"template": "plain", "aspect": "square"}')
    older = recorded_format(tmp_path / "cxrgen.json")
    assert (older.rendering, older.longest_side, older.view_rules) == ("window", 0, "")
    path = colour_png(tmp_path / "figure.png", (100, 90))
    np.testing.assert_array_equal(np.asarray(open_image(path, older)), np.asarray(Image.open(path)))


def test_a_checkpoint_of_a_prepared_set_sees_what_the_set_would_hold(tmp_path: Path) -> None:
    path = colour_png(tmp_path / "figure.png", (100, 90))
    shown = open_image(path, Format(longest_side=80))
    assert (shown.mode, shown.size) == ("RGB", (72, 80))
    grey = np.asarray(shown)
    assert (grey == grey[..., :1]).all()
    with pytest.raises(InputError, match="image-missing"):
        open_image(tmp_path / "absent.png", Format(longest_side=80))


@pytest.mark.parametrize("wrong", ['{"rendering": "bright"}', '{"longest_side": -1}', '{"longest_side": "512"}'])
def test_a_record_of_images_that_cannot_be_is_refused(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "cxrgen.json").write_text(wrong)
    with pytest.raises(InputError, match=r"cxrgen\.json"):
        recorded_format(tmp_path / "cxrgen.json")


@pytest.mark.parametrize("format", [Format(), Format(longest_side=100), Format(longest_side=100, aspect="black")])
def test_the_size_of_an_image_is_that_of_what_is_opened(format: Format, tmp_path: Path) -> None:
    """Read from the header or not: grey, coloured, larger than the set's, turned by EXIF, of 16 bits."""
    grey = np.random.default_rng(0).integers(0, 256, (80, 72), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey).convert("RGB").save(tmp_path / "colour.png")
    Image.fromarray(np.repeat(grey, 3, axis=0)).save(tmp_path / "large.png")
    Image.fromarray(grey.astype(np.uint16) * 16).save(tmp_path / "deep.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(grey).save(tmp_path / "turned.jpg", exif=turned)
    for file in sorted(tmp_path.iterdir()):
        assert image_size(file, format) == open_image(file, format).size, file.name
    with pytest.raises(InputError, match="no such"):
        image_size(tmp_path / "gone.png", format)
