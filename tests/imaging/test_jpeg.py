"""Compressed pictures that are not whole are refused, in DICOM and as files, whatever the decoder makes of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless
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
    if kind != "progressive JPEG" or not end:  # what a progressive file lacks is detail everywhere, not rows
        assert code(saved(in_dicom(cut, KINDS[kind]), tmp_path / "a.dcm")) == "image-truncated"
    if kind == "JPEG":
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
