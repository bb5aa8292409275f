"""Compressed pictures that are not whole are refused, in DICOM and as files, whatever the decoder makes of them."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from tests.imaging.dicoms import SHAPE, image, saved, values

from cxrgen.imaging.jpeg import coded_size, stops_early
from cxrgen.imaging.read import read_image
from cxrgen.imaging.rejects import ImageReject

END = b"\xff\xd9"
EIGHT = values(8).astype(np.uint8)
WINDOW = {"WindowCenter": 128, "WindowWidth": 256}
KINDS = {"JPEG": JPEGBaseline8Bit, "progressive JPEG": JPEGBaseline8Bit, "JPEG2000": JPEG2000Lossless}


def stream(kind: str, pixels: np.ndarray = EIGHT) -> bytes:
    data = io.BytesIO()
    options = {"no_jp2": True} if kind == "JPEG2000" else {"quality": 95, "progressive": kind.startswith("prog")}
    Image.fromarray(pixels).save(data, kind.split()[-1], **options)
    return data.getvalue()


def in_dicom(frame: bytes, syntax: pydicom.uid.UID, **tags: int) -> pydicom.Dataset:
    dataset = image(EIGHT, bits=8, **WINDOW, **tags)
    dataset.PixelData = encapsulate([frame])
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def code(path: Path) -> str:
    with pytest.raises(ImageReject) as caught:
        read_image(path)
    return caught.value.code


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 0.97])
@pytest.mark.parametrize("end", [b"", END, b"\0\0" + END], ids=["no end mark", "end mark", "zeros and end mark"])
def test_a_frame_that_stops_early_is_refused(tmp_path: Path, kind: str, share: float, end: bytes) -> None:
    whole = stream(kind)
    cut = whole[: int(share * len(whole))] + end
    assert code(saved(in_dicom(cut, KINDS[kind]), tmp_path / "a.dcm")) == "image-truncated"
    if kind != "JPEG2000":
        (tmp_path / "a.jpg").write_bytes(cut)
        assert code(tmp_path / "a.jpg") == "image-truncated"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fill", [b"", b"\0", b"\xff", b"\0" * 40], ids=["none", "zero", "ff", "zeros"])
def test_a_whole_frame_is_read_also_with_bytes_behind_its_end(tmp_path: Path, kind: str, fill: bytes) -> None:
    shown = read_image(saved(in_dicom(stream(kind) + fill, KINDS[kind]), tmp_path / "a.dcm"))
    assert np.abs(shown.pixels.astype(int) - EIGHT).max() < 12


def test_a_whole_picture_that_ends_in_plain_grey_is_read(tmp_path: Path) -> None:
    pixels = EIGHT.copy()
    pixels[-24:] = 128
    assert not stops_early(stream("JPEG", pixels), pixels)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    assert read_image(tmp_path / "a.jpg").pixels[-1].tolist() == [128] * SHAPE[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_of_another_size_than_the_tags_say_is_refused_as_that(tmp_path: Path, kind: str) -> None:
    frame = stream(kind)
    assert coded_size(frame) == SHAPE[::-1]
    for tags in ({"Rows": SHAPE[0] + 20}, {"Rows": SHAPE[0] - 20}, {"Columns": SHAPE[1] + 8}):
        assert code(saved(in_dicom(frame, KINDS[kind], **tags), tmp_path / "a.dcm")) == "size-conflict"


def lossless(pixels: np.ndarray, precision: int) -> tuple[bytes, bytes]:
    """(header, coded values) of a lossless JPEG, predicted from the left; codes of five bits for every length."""
    values = pixels.astype(np.int64)
    predicted = np.empty_like(values)
    predicted[:, 1:], predicted[1:, 0], predicted[0, 0] = values[:, :-1], values[:-1, 0], 1 << (precision - 1)
    bits = ""
    for step in (values - predicted).ravel().tolist():
        length = abs(step).bit_length()
        bits += f"{length:05b}" + (f"{step if step > 0 else step + (1 << length) - 1:0{length}b}" if length else "")
    bits += "1" * (-len(bits) % 8)
    data = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")
    frame = b"\xff\xc3" + struct.pack(">HBHHBBBB", 11, precision, *pixels.shape, 1, 1, 0x11, 0)
    codes = b"\xff\xc4" + struct.pack(">HB", 36, 0) + bytes([0, 0, 0, 0, 17, *[0] * 11]) + bytes(range(17))
    return b"\xff\xd8" + frame + codes + b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 1, 0, 0), data


@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize("border", [False, True])
def test_a_lossless_jpeg_is_read_whole_or_not_at_all(tmp_path: Path, bits: int, border: bool) -> None:
    pytest.importorskip("libjpeg", reason="extra [dicom]")
    pixels = values(bits).astype(np.uint8 if bits == 8 else np.uint16)
    if border:
        pixels[-20:] = 0
    head, data = lossless(pixels, bits)
    dataset = image(pixels, bits=bits, WindowCenter=2 ** (bits - 1), WindowWidth=2**bits)
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    for share in (1, 0.97, 0.8, 0.3):
        dataset.PixelData = encapsulate([head + data[: int(share * len(data))] + END])
        if share == 1:
            shown = read_image(saved(dataset, tmp_path / "a.dcm")).pixels
            assert np.abs(shown - pixels / (2**bits - 1) * 255).max() <= 1
        elif not border or share < 0.97:  # with a border the last bytes hold nothing else
            assert code(saved(dataset, tmp_path / "a.dcm")) == "image-truncated"


@pytest.mark.parametrize("share", [0.97, 0.5])
def test_a_frame_of_jpeg_ls_that_stops_early_is_refused(tmp_path: Path, share: float) -> None:
    pytest.importorskip("jpeg_ls", reason="extra [dicom]")
    dataset = image(**WINDOW)
    dataset.compress(JPEGLSLossless)
    frame = pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1)
    dataset.PixelData = encapsulate([frame[: int(share * len(frame))] + END])
    assert code(saved(dataset, tmp_path / "a.dcm")) == "image-truncated"


def test_a_deflated_file_that_stops_early_is_refused(tmp_path: Path) -> None:
    dataset = image(**WINDOW)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    content = saved(dataset, tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(content[: len(content) * 3 // 4])
    assert code(tmp_path / "a.dcm") == "image-truncated"


def test_half_of_the_run_lengths_are_refused(tmp_path: Path) -> None:
    dataset = image(**WINDOW)
    dataset.compress(RLELossless)
    frame = pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1)
    dataset.PixelData = encapsulate([frame[: len(frame) // 2]])
    assert code(saved(dataset, tmp_path / "a.dcm")) == "image-truncated"


def test_compressed_pixels_whose_tags_say_otherwise_are_named(tmp_path: Path) -> None:
    dataset = image(EIGHT, bits=8, **WINDOW)
    dataset.PixelData = encapsulate([stream("JPEG") + bytes(SHAPE[0] * SHAPE[1])])
    dataset["PixelData"].VR = "OB"
    assert code(saved(dataset, tmp_path / "a.dcm")) == "unknown-syntax"


@pytest.mark.parametrize("progressive", [True, False], ids=["progressive", "one scan"])
@pytest.mark.parametrize("size", [(300, 260), (64, 71), (256, 256)], ids=str)
@pytest.mark.parametrize("side", [0, 64])
def test_a_file_that_lacks_its_last_bytes_has_an_end_mark_again(
    tmp_path: Path, progressive: bool, size: tuple[int, int], side: int
) -> None:
    """Its last block may be part of one only, and is then not eight pixels high or wide."""
    grey = np.resize(values(8).astype(np.uint8), size)
    data = io.BytesIO()
    Image.fromarray(grey).save(data, "JPEG", quality=90, progressive=progressive)
    for left in (len(data.getvalue()), len(data.getvalue()) - 60, len(data.getvalue()) * 2 // 3):
        (tmp_path / "a.jpg").write_bytes(data.getvalue()[:left] + (END if left < len(data.getvalue()) else b""))
        if left == len(data.getvalue()):
            read_image(tmp_path / "a.jpg", longest_side=side)
        else:
            with pytest.raises(ImageReject, match="image-truncated"):
                read_image(tmp_path / "a.jpg", longest_side=side)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, {}) for kind in ("PNG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM")),
        *(("TIFF", {"compression": name}) for name in ("tiff_lzw", "tiff_deflate", "packbits")),
    ],
    ids=str,
)
def test_files_of_other_kinds_that_are_cut(tmp_path: Path, kind: str, options: dict[str, str]) -> None:
    data = io.BytesIO()
    grey = np.random.default_rng(0).integers(0, 255, (90, 80), dtype=np.uint8)
    Image.fromarray(grey).save(data, kind, **options)
    whole = data.getvalue()
    (tmp_path / "a").write_bytes(whole)
    assert read_image(tmp_path / "a").pixels.shape == (90, 80)
    for share in (0.05, 0.3, 0.6, 0.9, 0.97):
        (tmp_path / "a").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ImageReject, match=r"image-truncated|not-an-image"):
            read_image(tmp_path / "a")
