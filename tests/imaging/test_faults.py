"""Small DICOM files as devices write them, each with its right picture; the shared collection of such files too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from tests.imaging.dicoms import SHAPE, image, saved, values

from cxrgen.imaging.read import read_image
from cxrgen.imaging.rejects import ImageReject

WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}
SAME = ("01-voi-lut-without-content", "03-rescale-without-value", "04-modality-lut-depth", "13-left-aligned-values",
        "14-padding-value-of-the-other-sign")  # fmt: skip


@pytest.fixture(scope="session")
def faults(shared: Path) -> Path:
    if not (shared / "faults").is_dir():
        pytest.skip("needs the collection of faults beside the public data")
    return shared / "faults"


@pytest.mark.parametrize("case", SAME)
def test_an_odd_file_is_shown_as_its_good_twin(faults: Path, case: str) -> None:
    good = read_image(faults / case / "good.dcm").pixels.astype(int)
    odd = sorted((faults / case).glob("bad*.dcm"))
    assert odd
    for file in odd:
        assert np.abs(read_image(file).pixels - good).max() <= 3, file.name


def test_the_other_odd_files_have_the_stated_picture_or_cause(faults: Path) -> None:
    eight = read_image(faults / "07-window-of-another-depth" / "bad_8bit_window.dcm")
    assert 70 <= eight.pixels.mean() <= 110
    assert eight.notes[0].startswith("window-ignored")
    overlay = faults / "09-overlay-bits-jpeg2000"
    good = read_image(overlay / "good.dcm").pixels.astype(int)
    assert np.abs(read_image(overlay / "bad_bit15.dcm").pixels - good).max() <= 3
    assert 80 <= read_image(overlay / "bad_bit15_no_window.dcm").pixels.mean() <= 95
    with pytest.raises(ImageReject, match="image-truncated"):
        read_image(faults / "11-half-a-jpeg-in-dicom" / "bad_half.dcm")
    assert read_image(faults / "11-half-a-jpeg-in-dicom" / "good.dcm").notes == ()


def written(tmp_path: Path, **tags: Any) -> Path:
    return saved(image(**tags), tmp_path / "a.dcm")


def replaced(path: Path, before: bytes, after: bytes) -> Path:
    """The file with bytes of a tag's value changed, which no writer would write."""
    content = path.read_bytes()
    assert content.count(before) == 1
    path.write_bytes(content.replace(before, after))
    return path


UNREADABLE = {
    "letters": (b"2047.5", b"middle"),
    "comma": (b"2047.5", b"2047,5"),
    "bytes": (b"2047.5", b"\xff\xfe\x00\x01\xff\xfe"),
    "infinite": (b"2047.5", b"inf   "),
    "no number": (b"2047.5", b"nan   "),
}


@pytest.mark.parametrize("how", UNREADABLE)
@pytest.mark.parametrize("keyword", ["WindowCenter", "RescaleIntercept", "RescaleSlope"])
def test_a_tag_that_cannot_be_read_counts_as_absent(tmp_path: Path, keyword: str, how: str) -> None:
    tags = {**WINDOW, "RescaleSlope": "1", "RescaleIntercept": "0", keyword: "2047.5"}
    if how == "comma" and keyword != "WindowCenter":
        pytest.skip("a decimal comma is read")
    shown = read_image(replaced(written(tmp_path, **tags), *UNREADABLE[how]))
    wanted = values() / 4095 * 255
    lowest, highest = np.percentile(values()[4:92, 4:76], [0.5, 99.5])
    by_percentiles = np.clip((values() - lowest) / (highest - lowest), 0, 1) * 255
    is_absent = keyword == "WindowCenter" and how != "comma"
    assert np.abs(shown.pixels - (by_percentiles if is_absent else wanted)).max() <= 3, shown.notes


ODD_TAGS: dict[str, dict[str, Any]] = {
    "no bits stored": {"BitsStored": None, "HighBit": None},
    "no high bit": {"HighBit": None},
    "no sign": {"PixelRepresentation": None},
    "more bits stored than allocated": {"BitsStored": 40, "HighBit": 39},
    "a high bit that cannot be": {"HighBit": 3},
    "no photometric interpretation": {"PhotometricInterpretation": None},
    "photometric interpretation in small letters": {"PhotometricInterpretation": "monochrome2 "},
    "no samples a pixel": {"SamplesPerPixel": None},
    "no bits allocated": {"BitsAllocated": None},
    "empty number of frames": {"NumberOfFrames": ""},
    "empty padding": {"PixelPaddingValue": None, "SmallestImagePixelValue": None},
    "padding that is all of the picture": {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 4095},
}


@pytest.mark.parametrize("name", ODD_TAGS)
def test_tags_of_the_layout_that_are_odd_cost_nothing(tmp_path: Path, name: str) -> None:
    dataset = image(**WINDOW)
    for keyword, value in ODD_TAGS[name].items():
        if value is None:
            if keyword in dataset:
                delattr(dataset, keyword)
            else:
                dataset.add_new(keyword, "US", None)
        elif keyword.startswith("PixelPadding"):
            dataset.add_new(keyword, "US", value)
        else:
            setattr(dataset, keyword, value)
    dataset["PixelData"].VR = "OW"
    shown = read_image(saved(dataset, tmp_path / "a.dcm"))
    assert np.abs(shown.pixels - values() / 4095 * 255).max() <= 3


CAUSES: dict[str, tuple[dict[str, Any], str]] = {
    "32 bits": ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}, "integer-range"),
    "one bit": ({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, "integer-range"),
    "no rows": ({"Rows": 0}, "no-pixels"),
    "too few bytes": ({"Rows": SHAPE[0] * 3}, "image-truncated"),
    "a float image": ({"FloatPixelData": b"\0" * 64}, "float-image"),
}


@pytest.mark.parametrize("name", CAUSES)
def test_what_cannot_be_shown_is_refused_with_its_cause(tmp_path: Path, name: str) -> None:
    tags, wanted = CAUSES[name]
    with pytest.raises(ImageReject) as caught:
        read_image(written(tmp_path, **tags))
    assert caught.value.code == wanted


def test_a_table_whose_entries_are_numbers_of_a_short_type(tmp_path: Path) -> None:
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 12])
    item.add_new("LUTData", "US", [int(4095 * (value / 4095) ** 2) for value in range(4096)])
    shown = read_image(written(tmp_path, VOILUTSequence=[item]))
    assert np.abs(shown.pixels - (values() / 4095) ** 2 * 255).max() <= 1
