"""Every odd image file has its pixels or its reject code."""

from __future__ import annotations

import contextlib
import io
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cxrgen.imaging.read import read_image
from cxrgen.imaging.rejects import ImageReject, full_scale

Maker = Callable[[Path], Path]
SHAPE = (96, 80)


def ramp(white: int = 255) -> np.ndarray:
    """Grey rising to the right from 0 to `white`, dark upper corners, (96, 80)."""
    values = np.tile(np.linspace(0, white, SHAPE[1]), (SHAPE[0], 1))
    values[:10] = 0
    return np.rint(values)


def saved(array: np.ndarray, path: Path, **options: object) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def image_like(height: int, width: int) -> np.ndarray:
    """Smooth bright body on black with fine grain, uint8."""
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    body = np.clip(1.2 - rows**2 - columns**2, 0, 1) * 200
    return np.clip(body + np.random.default_rng(0).normal(0, 6, body.shape), 0, 255).astype(np.uint8)


def test_eight_bit_grey_is_left_as_it_is(tmp_path: Path) -> None:
    array = ramp().astype(np.uint8)
    for name in ("a.png", "a.tif", "a.bmp"):
        image = read_image(saved(array, tmp_path / name))
        assert image.notes == ()
        np.testing.assert_array_equal(image.pixels, array)
        assert image.pixels.dtype == np.uint8


@pytest.mark.parametrize("white", [255, 1023, 4095, 16383, 65535])
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_scaled_by_the_depth_their_maximum_tells(tmp_path: Path, white: int, name: str) -> None:
    image = read_image(saved(ramp(white).astype(np.uint16), tmp_path / name))
    np.testing.assert_array_equal(image.pixels, np.rint(ramp(white) * 255 / white).astype(np.uint8))
    assert image.notes == (f"scaled: 16-bit values, white taken as {white}",)


def test_sixteen_bits_below_the_next_depth_are_not_stretched(tmp_path: Path) -> None:
    image = read_image(saved(ramp(3000).astype(np.uint16), tmp_path / "a.png"))
    assert image.pixels.max() == round(3000 * 255 / 4095)
    assert [full_scale(value) for value in (0, 255, 256, 4096, 65535)] == [255, 255, 1023, 16383, 65535]


def tiff(array: np.ndarray, path: Path, photometric: int, order: str = "<") -> Path:
    """A minimal uncompressed 16-bit TIFF, which Pillow cannot write with every photometric interpretation."""
    height, width = array.shape
    data = array.astype(f"{order}u2").tobytes()
    offset = 8 + len(data)
    entries = [
        (256, 3, width), (257, 3, height), (258, 3, 16), (259, 3, 1), (262, 3, photometric),
        (273, 4, 8), (277, 3, 1), (278, 3, height), (279, 4, len(data)),
    ]  # fmt: skip
    directory = struct.pack(f"{order}H", len(entries))
    for tag, kind, value in entries:
        directory += struct.pack(f"{order}HHI", tag, kind, 1)
        directory += struct.pack(f"{order}HH" if kind == 3 else f"{order}I", *((value, 0) if kind == 3 else (value,)))
    header = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, offset)
    path.write_bytes(header + data + directory + struct.pack(f"{order}I", 0))
    return path


def test_sixteen_bit_tiff_of_either_byte_order_and_counted_from_white(tmp_path: Path) -> None:
    wanted = np.rint(ramp(65535) * 255 / 65535).astype(np.uint8)
    for order in "<>":
        image = read_image(tiff(ramp(65535), tmp_path / "a.tif", photometric=1, order=order))
        np.testing.assert_array_equal(image.pixels, wanted)
    image = read_image(tiff(65535 - ramp(65535), tmp_path / "b.tif", photometric=0))
    np.testing.assert_array_equal(image.pixels, wanted)


def test_floats_within_a_range_of_one_are_stretched_and_others_refused(tmp_path: Path) -> None:
    image = read_image(saved((ramp() / 255).astype(np.float32), tmp_path / "a.tif"))
    np.testing.assert_array_equal(image.pixels, ramp().astype(np.uint8))
    assert code(saved(ramp(4095).astype(np.float32), tmp_path / "b.tif")) == "float-image"
    holed = (ramp() / 255).astype(np.float32)
    holed[5, 5] = np.nan
    assert code(saved(holed, tmp_path / "c.tif")) == "float-image"


def test_transparency_is_laid_on_black(tmp_path: Path) -> None:
    grey = ramp().astype(np.uint8)
    alpha = np.full(SHAPE, 255, np.uint8)
    alpha[:, 40:] = 0
    wanted = np.where(alpha > 0, grey, 0)
    for name, array in (
        ("rgba.png", np.dstack([grey, grey, grey, alpha])),
        ("la.png", np.dstack([grey, alpha])),
    ):
        image = read_image(saved(array, tmp_path / name))
        np.testing.assert_array_equal(image.pixels, wanted)
        assert image.notes == ("transparent: laid on black",)


def test_palettes_are_looked_up(tmp_path: Path) -> None:
    array = ramp().astype(np.uint8)
    image = Image.fromarray(255 - array)
    image.putpalette([value for grey in range(256) for value in [255 - grey] * 3])
    for name in ("a.png", "a.gif"):
        image.save(tmp_path / name)
        np.testing.assert_array_equal(read_image(tmp_path / name).pixels, array)


def test_colours_are_noted_and_equal_channels_are_not(tmp_path: Path) -> None:
    grey = ramp().astype(np.uint8)
    assert read_image(saved(np.dstack([grey] * 3), tmp_path / "a.png")).notes == ()
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, grey)
    tinted = np.dstack([grey, grey // 2, grey // 3])
    for name in ("b.png", "b.jpg"):
        assert [note.split(":")[0] for note in read_image(saved(tinted, tmp_path / name)).notes] == ["not-gray"]


def test_cmyk_jpeg_is_turned_to_grey(tmp_path: Path) -> None:
    array = ramp().astype(np.uint8)
    Image.fromarray(array).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    image = read_image(tmp_path / "a.jpg")
    assert image.notes == ("cmyk: printing colours, turned to grey",)
    assert np.abs(image.pixels.astype(int) - array).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.tif", "a.png"])
def test_exif_orientation_is_applied(tmp_path: Path, name: str, orientation: int) -> None:
    upright = image_like(*SHAPE)
    upright[20:40, 10:20] = 255
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.T,
        6: np.rot90(upright, 1), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / name, exif=exif, quality=95)
    for longest_side in (0, 48):
        image = read_image(tmp_path / name, longest_side=longest_side)
        plain = read_image(saved(upright, tmp_path / "plain.png"), longest_side=longest_side)
        assert image.pixels.shape == plain.pixels.shape
        assert np.abs(image.pixels.astype(int) - plain.pixels).mean() < 4
        assert bool(image.notes) == (orientation != 1)


def test_type_is_told_by_content(tmp_path: Path) -> None:
    array = image_like(*SHAPE)
    Image.fromarray(array).save(tmp_path / "a.png", format="JPEG", quality=95)
    image = read_image(tmp_path / "a.png")
    assert image.notes == ("other-type: the content is JPEG, the name says something else",)
    assert image.pixels.shape == SHAPE


def code(path: Path, **options: int) -> str:
    with pytest.raises(ImageReject) as caught:
        read_image(path, **options)
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return caught.value.code


def jpeg_bytes() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image_like(300, 200)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def png_bytes() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image_like(300, 200)).save(buffer, "PNG")
    return buffer.getvalue()


def bad_checksum(data: bytes) -> bytes:
    place = data.index(b"IDAT") + 400
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("zero.png", b"", "image-empty"),
        ("page.jpg", b"<!DOCTYPE html><html><body>404</body></html>", "not-an-image"),
        ("pointer.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "not-an-image"),
        ("packed.png", zlib.compress(b"x" * 100), "not-an-image"),
        ("postscript.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "not-an-image"),
        ("half.jpg", jpeg_bytes()[:6000], "image-truncated"),
        ("half.png", png_bytes()[:6000], "image-truncated"),
        ("head.png", png_bytes()[:20], "image-truncated"),
        ("head.jpg", jpeg_bytes()[:100], "image-truncated"),
        ("checksum.png", bad_checksum(png_bytes()), "image-truncated"),
    ],
)
def test_files_that_are_no_whole_image(tmp_path: Path, name: str, content: bytes, wanted: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert code(tmp_path / name) == wanted
    assert code(tmp_path / name, longest_side=64) == wanted


def test_missing_files_and_folders(tmp_path: Path) -> None:
    assert code(tmp_path / "none.png") == "image-missing"
    assert code(tmp_path) == "not-an-image"
    assert code(tmp_path / ("a" * 300 + ".png")) == "image-unreadable"


def test_images_that_show_nothing(tmp_path: Path) -> None:
    assert code(saved(np.full(SHAPE, 7, np.uint8), tmp_path / "a.png")) == "blank-image"
    assert code(saved(ramp()[:, :63].astype(np.uint8), tmp_path / "b.png")) == "too-small"
    Image.fromarray(ramp() > 100).save(tmp_path / "c.png")
    assert code(tmp_path / "c.png") == "one-bit"
    assert code(saved(ramp().astype(np.int32) * 9999, tmp_path / "d.tif")) == "integer-range"


def test_an_inverted_image_is_noted_and_not_turned_round(tmp_path: Path) -> None:
    array = 255 - image_like(300, 260)
    image = read_image(saved(array, tmp_path / "a.png"))
    assert [note.split(":")[0] for note in image.notes] == ["maybe-inverted"]
    np.testing.assert_array_equal(image.pixels, array)


@pytest.mark.parametrize("size", [(1000, 830), (999, 1201), (640, 2000)])
def test_reduced_decode_is_close_to_a_full_one(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.fromarray(image_like(*size)).save(tmp_path / "a.jpg", quality=95)
    fast = read_image(tmp_path / "a.jpg", longest_side=160).pixels
    full = Image.fromarray(read_image(tmp_path / "a.jpg").pixels)
    assert max(fast.shape) == 160
    scale = 160 / max(size)
    assert fast.shape == (round(size[0] * scale), round(size[1] * scale))
    slow = np.asarray(full.resize(fast.shape[::-1], Image.Resampling.BICUBIC))
    assert np.abs(fast.astype(int) - slow).mean() < 1.5


def test_small_images_are_never_enlarged(tmp_path: Path) -> None:
    assert read_image(saved(ramp().astype(np.uint8), tmp_path / "a.png"), longest_side=512).pixels.shape == SHAPE


def png_bomb(width: int, height: int) -> bytes:
    """A grey PNG of that size whose pixels are all zero: about a thousandth of its size unpacked."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer = zlib.compressobj(9)
    row = b"\0" * (width + 1)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def under_memory_cap(path: Path, megabytes: int = 700) -> str:
    """The reject code of `path`, read in a process that may hold no more than `megabytes`."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom cxrgen.imaging.read import ImageReject, read_image\n"
        "try:\n    read_image(Path(sys.argv[1]))\nexcept ImageReject as reject:\n    print(reject.code)\n"
    )
    limit = megabytes << 20
    result = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    return result.stdout.strip()


def test_bombs_are_refused_under_a_memory_cap(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png_bomb(30_000, 30_000))
    assert (tmp_path / "bomb.png").stat().st_size < 2_000_000
    assert under_memory_cap(tmp_path / "bomb.png") == "too-large"
    assert code(saved(ramp().astype(np.uint8), tmp_path / "a.png"), max_pixels=7_679) == "too-large"


def test_nothing_of_a_file_name_or_folder_enters_the_notes(tmp_path: Path) -> None:
    folder = tmp_path / "DOE^JANE"
    folder.mkdir()
    image = read_image(saved(255 - image_like(300, 260), folder / "doe.png"))
    assert not any("doe" in note.lower() for note in image.notes)


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image_like(*SHAPE)).save(buffer, kind)
    return buffer.getvalue()


WHOLE = {kind: encoded(kind) for kind in ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")}


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from(list(WHOLE)),
    damage=st.dictionaries(st.integers(0, 400), st.integers(0, 255), max_size=5),
    cut=st.one_of(st.none(), st.integers(0, 8000)),
    longest_side=st.sampled_from([0, 70]),
)
def test_damaged_pictures_are_read_or_refused_and_nothing_else(
    kind: str, damage: dict[int, int], cut: int | None, longest_side: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(WHOLE[kind])
    for place, value in damage.items():
        content[place] = value
    path = tmp_path_factory.getbasetemp() / "damaged.png"
    path.write_bytes(bytes(content[:cut]))
    shape: tuple[int, ...] = SHAPE
    with contextlib.suppress(ImageReject):
        shape = read_image(path, max_pixels=4_000_000, longest_side=longest_side).pixels.shape
    assert len(shape) == 2
