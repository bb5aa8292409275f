"""DICOM images to grey: equal to pydicom and OpenCV where they define it, refused with a code where there is none."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)
from tests.imaging.dicoms import SHAPE, as_bytes, image, saved, values
from tests.imaging.test_read import under_memory_cap

from cxrgen.core.errors import UsageError
from cxrgen.imaging import frames
from cxrgen.imaging.names import RENDERINGS
from cxrgen.imaging.read import GreyImage, read_image
from cxrgen.imaging.rejects import ImageReject
from cxrgen.imaging.rendering import equalised

GOLDEN = Path(__file__).parents[1] / "golden" / "images" / "equalised.json"


def read(dataset: pydicom.Dataset, folder: Path, how: str = "window", **options: int) -> GreyImage:
    return read_image(saved(dataset, folder / "a.dcm"), how, **options)


def code(dataset: pydicom.Dataset, folder: Path) -> str:
    with pytest.raises(ImageReject) as caught:
        read(dataset, folder)
    assert "Doe" not in str(caught.value)
    assert "HOSPITAL" not in str(caught.value)
    return caught.value.code


def grey(fraction: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(fraction, 0, 1) * 255).astype(np.uint8)


WINDOWS: dict[str, dict[str, Any]] = {
    "linear": {"WindowCenter": 2000, "WindowWidth": 1500},
    "linear with rescale": {"WindowCenter": 900, "WindowWidth": 3000, "RescaleSlope": 1.5, "RescaleIntercept": -1024},
    "sigmoid": {"WindowCenter": 2000, "WindowWidth": 1500, "VOILUTFunction": "SIGMOID"},
    "exact": {"WindowCenter": 2000, "WindowWidth": 1500, "VOILUTFunction": "LINEAR_EXACT"},
    "the first of several": {"WindowCenter": [1000, 3000], "WindowWidth": [800, 100]},
}


@pytest.mark.parametrize("tags", WINDOWS.values(), ids=WINDOWS.keys())
def test_window_equals_pydicom(tmp_path: Path, tags: dict[str, Any]) -> None:
    dataset = image(values() // 2 + 700, **tags)  # most of it within the windows
    shown = read(dataset, tmp_path)
    wanted = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset).astype(np.float64)
    slope, intercept = tags.get("RescaleSlope", 1), tags.get("RescaleIntercept", 0)
    lowest, highest = sorted((intercept, 4095 * slope + intercept))  # pydicom spreads a window over the stored range
    assert {note.split(":")[0] for note in shown.notes} <= {"maybe-inverted"}
    assert np.abs(shown.pixels - (wanted - lowest) / (highest - lowest) * 255).max() <= 0.51


def test_a_negative_slope_counts_down(tmp_path: Path) -> None:
    shown = read(image(WindowCenter=2048, WindowWidth=4096, RescaleSlope=-1, RescaleIntercept=4095), tmp_path)
    np.testing.assert_array_equal(shown.pixels, grey((4095 - values() - 2047.5) / 4095 + 0.5))


def table(entries: Sequence[int] | range) -> bytes:
    return np.array(entries, dtype="<u2").tobytes()


def test_voi_table_goes_before_the_window(tmp_path: Path) -> None:
    item = pydicom.Dataset()
    item.LUTDescriptor = [4096, 0, 12]
    item.LUTData = table([int(4095 * (value / 4095) ** 2) for value in range(4096)])
    shown = read(image(VOILUTSequence=[item], WindowCenter=1, WindowWidth=1), tmp_path)
    stored = pydicom.dcmread(tmp_path / "a.dcm")
    np.testing.assert_array_equal(shown.pixels, grey(apply_voi_lut(stored.pixel_array, stored) / 4095))


def test_a_table_of_12_bits_that_claims_16_is_not_shown_black(tmp_path: Path) -> None:
    item = pydicom.Dataset()
    item.LUTDescriptor = [4096, 0, 16]
    item.LUTData = table(range(4096))
    assert read(image(VOILUTSequence=[item]), tmp_path).pixels.max() == 255


def test_modality_table(tmp_path: Path) -> None:
    item = pydicom.Dataset()
    item.LUTDescriptor = [4096, 0, 16]
    item.LUTData = table(range(4095, -1, -1))
    dataset = image(ModalityLUTSequence=[item], WindowCenter=2048, WindowWidth=4096)
    np.testing.assert_array_equal(read(dataset, tmp_path).pixels, grey((4095 - values() - 2047.5) / 4095 + 0.5))


@pytest.mark.parametrize("how", RENDERINGS)
def test_monochrome1_is_turned_round(tmp_path: Path, how: str) -> None:
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    bright = read(image(**window), tmp_path, how).pixels
    inverted = image(4095 - values(), PhotometricInterpretation="MONOCHROME1", **window)
    assert np.abs(read(inverted, tmp_path, how).pixels.astype(int) - bright).max() <= 2
    shape = image(4095 - values(), PresentationLUTShape="INVERSE", **window)
    assert np.abs(read(shape, tmp_path, how).pixels.astype(int) - bright).max() <= 2
    both = image(4095 - values(), PresentationLUTShape="INVERSE", PhotometricInterpretation="MONOCHROME1", **window)
    assert np.abs(read(both, tmp_path, how).pixels.astype(int) - bright).max() <= 2


@pytest.mark.parametrize(
    "tags",
    [{}, {"WindowCenter": 100, "WindowWidth": 0}, {"WindowCenter": "", "WindowWidth": ""}],
    ids=["none", "no width", "blank"],
)
def test_without_a_window_percentiles_are_used_and_noted(tmp_path: Path, tags: dict[str, Any]) -> None:
    shown = read(image(**tags), tmp_path)
    assert [note.split(":")[0] for note in shown.notes] == ["no-window"]
    np.testing.assert_array_equal(shown.pixels, read(image(), tmp_path, "percentile").pixels)


def test_percentile_ignores_borders_and_padding(tmp_path: Path) -> None:
    stored = values()
    stored[:3] = 4095  # a burnt-in bar at the edge
    stored[50:60, 30:40] = 0
    lowest, highest = np.percentile(stored[4:92, 4:76][stored[4:92, 4:76] != 0], [0.5, 99.5])
    wanted = grey((stored - lowest) / (highest - lowest))
    wanted[stored == 0] = 0
    np.testing.assert_array_equal(read(image(stored, PixelPaddingValue=0), tmp_path, "percentile").pixels, wanted)


def test_padding_is_black_in_an_inverted_image_too(tmp_path: Path) -> None:
    stored = 4095 - values()
    stored[:, :9] = 0
    tags = {"PixelPaddingValue": 0, "WindowCenter": 2048, "WindowWidth": 4096}
    shown = read(image(stored, PhotometricInterpretation="MONOCHROME1", **tags), tmp_path)
    assert (shown.pixels[:, :9] == 0).all()


def test_mimic_is_the_published_recipe(tmp_path: Path) -> None:
    stored = values() // 2 + 300
    shown = read(image(stored, WindowCenter=5, WindowWidth=5), tmp_path, "mimic")
    eight = ((stored - stored.min()) / (stored.max() - stored.min()) * 255).astype(np.uint8)
    np.testing.assert_array_equal(shown.pixels, equalised(eight))


def test_equalisation_equals_opencv() -> None:
    golden = json.loads(GOLDEN.read_text())
    for case in golden["cases"]:
        pixels = np.array(case["counts"], dtype=np.int64)
        pixels = np.repeat(np.arange(256, dtype=np.uint8), pixels).reshape(1, -1)
        table = dict(zip(pixels[0].tolist(), equalised(pixels)[0].tolist()))
        assert table == {int(value): wanted for value, wanted in case["table"].items()}


def test_signed_values_and_eight_bits(tmp_path: Path) -> None:
    signed = values().astype(np.int16) - 2048
    window = {"WindowCenter": 0, "WindowWidth": 4096}
    np.testing.assert_array_equal(read(image(signed, **window), tmp_path).pixels, grey((signed + 0.5) / 4095 + 0.5))
    eight = values(8).astype(np.uint8)
    window = {"WindowCenter": 128, "WindowWidth": 256}
    np.testing.assert_array_equal(read(image(eight, bits=8, **window), tmp_path).pixels, eight)


def test_size_limit_and_reduction(tmp_path: Path) -> None:
    assert read(image(), tmp_path, longest_side=48).pixels.shape == (48, 40)
    with pytest.raises(ImageReject, match="too-large"):
        read(image(), tmp_path, max_pixels=7_000)


WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless], ids=lambda syntax: syntax.name)
def test_lossless_syntaxes(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    plain = read(image(**WINDOW), tmp_path).pixels
    if syntax != RLELossless:
        pytest.importorskip({JPEG2000Lossless: "openjpeg", JPEGLSLossless: "jpeg_ls"}[syntax], reason="extra [dicom]")
    packed = image(**WINDOW)
    packed.compress(syntax)
    np.testing.assert_array_equal(read(packed, tmp_path).pixels, plain)


def test_lossy_jpeg(tmp_path: Path) -> None:
    pytest.importorskip("libjpeg", reason="extra [dicom]")
    eight = values(8).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(eight).save(stream, "JPEG", quality=95)
    packed = image(eight, bits=8, WindowCenter=128, WindowWidth=256)
    packed.PixelData = encapsulate([stream.getvalue()])
    packed.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    assert np.abs(read(packed, tmp_path).pixels.astype(int) - eight).max() < 12


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_other_uncompressed_syntaxes(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    plain = read(image(**WINDOW), tmp_path).pixels
    other = image(**WINDOW)
    other.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        other.PixelData = values().astype(">u2").tobytes()
        other["PixelData"].VR = "OW"
        pydicom.dcmwrite(tmp_path / "b.dcm", other, implicit_vr=False, little_endian=False, force_encoding=True)
        np.testing.assert_array_equal(read_image(tmp_path / "b.dcm").pixels, plain)
    else:
        np.testing.assert_array_equal(read(other, tmp_path).pixels, plain)


def test_a_image_without_preamble_is_read_by_its_name(tmp_path: Path) -> None:
    dataset = image(**WINDOW)
    plain = read(dataset, tmp_path).pixels
    del dataset.file_meta
    pydicom.dcmwrite(tmp_path / "b.dcm", dataset, implicit_vr=True, little_endian=True)
    assert b"DICM" not in (tmp_path / "b.dcm").read_bytes()
    np.testing.assert_array_equal(read_image(tmp_path / "b.dcm").pixels, plain)


def test_a_missing_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = image(**WINDOW)
    packed.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(60)])
    for syntax, package in ((JPEG2000, "openjpeg"), (JPEGLSLossless, "pyjpegls"), (JPEGLosslessSV1, "libjpeg")):
        packed.file_meta.TransferSyntaxUID = syntax
        monkeypatch.setattr(frames, "get_decoder", lambda syntax: SimpleNamespace(is_available=False))
        with pytest.raises(ImageReject, match=rf"{package}.*cxrgen\[dicom\]") as caught:
            read(packed, tmp_path)
        assert caught.value.code == "no-decoder"


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "no pixels": ("no-pixels", {"PixelData": None}),
    "no rows": ("no-pixels", {"Rows": None}),
    "several frames": ("multi-frame", {"NumberOfFrames": 2}),
    "a CT slice": ("not-a-radiograph", {"Modality": "CT"}),
    "a presentation state": ("not-a-radiograph", {"Modality": "PR", "PixelData": None}),
    "a palette": ("colour-dicom", {"PhotometricInterpretation": "PALETTE COLOR"}),
    "blank": ("blank-image", {"PixelData": bytes(2 * SHAPE[0] * SHAPE[1])}),
    "half of its pixels": ("image-truncated", {"PixelData": values().tobytes()[:5000]}),
}


@pytest.mark.parametrize(("wanted", "tags"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_image_is_refused(tmp_path: Path, wanted: str, tags: dict[str, Any]) -> None:
    assert code(image(**tags), tmp_path) == wanted


def test_colour_and_unknown_syntaxes_are_refused(tmp_path: Path) -> None:
    colour = image(PhotometricInterpretation="RGB", SamplesPerPixel=3, PlanarConfiguration=0)
    colour.PixelData = bytes(3 * 2 * SHAPE[0] * SHAPE[1])
    assert code(colour, tmp_path) == "colour-dicom"
    video = image()
    video.PixelData = encapsulate([b"video"])
    video.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    assert code(video, tmp_path) == "unknown-syntax"


def test_files_that_only_say_dicom(tmp_path: Path) -> None:
    for content, wanted in (
        (b"not an image", "not-an-image"),
        (b"", "image-empty"),
        (as_bytes(image())[:3000], "image-truncated"),
        (bytes(128) + b"DICM", "no-pixels"),
    ):
        (tmp_path / "a.dcm").write_bytes(content)
        with pytest.raises(ImageReject) as caught:
            read_image(tmp_path / "a.dcm")
        assert caught.value.code in (wanted, "not-an-image"), content[:20]


def test_a_jpeg_named_dcm_is_read_as_what_it_is(tmp_path: Path) -> None:
    Image.fromarray(values(8).astype(np.uint8)).save(tmp_path / "a.dcm", "JPEG")
    assert [note.split(":")[0] for note in read_image(tmp_path / "a.dcm").notes] == ["other-type"]


def test_burned_in_text_is_noted(tmp_path: Path) -> None:
    dataset = image(BurnedInAnnotation="YES", SOPClassUID=SecondaryCaptureImageStorage, **WINDOW)
    assert [note.split(":")[0] for note in read(dataset, tmp_path).notes] == ["burned-in", "secondary-capture"]


def test_unknown_rendering(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="window, percentile, mimic"):
        read(image(), tmp_path, "equalise")


def deflated_bomb() -> bytes:
    dataset = image()
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    whole = as_bytes(dataset)
    start = 144 + struct.unpack_from("<I", whole, 140)[0]  # the length of the file's own tags
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    header = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 0xFFFFFFF0)
    return whole[:start] + packer.compress(header + bytes(1 << 20)) + packer.compress(bytes(2 << 30)) + packer.flush()


def jpeg_bomb() -> bytes:
    """An image whose tags say 96 x 80 and whose JPEG stream says 65,000 x 65,000."""
    stream = io.BytesIO()
    Image.fromarray(values(8).astype(np.uint8)).save(stream, "JPEG")
    coded = bytearray(stream.getvalue())
    size = coded.index(b"\xff\xc0") + 5
    coded[size : size + 4] = struct.pack(">HH", 65_000, 65_000)
    dataset = image(values(8).astype(np.uint8), bits=8)
    dataset.PixelData = encapsulate([bytes(coded)])
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    return as_bytes(dataset)


def jpeg2000_bomb() -> bytes:
    dataset = image()
    coded = b"\xff\x4f\xff\x51" + struct.pack(">HHIIIIIIIIH", 41, 0, 60_000, 60_000, 0, 0, 60_000, 60_000, 0, 0, 1)
    dataset.PixelData = encapsulate([coded + bytes(100)])
    dataset.file_meta.TransferSyntaxUID = JPEG2000
    return as_bytes(dataset)


@pytest.mark.slow
def test_bombs_are_refused_under_a_memory_cap(tmp_path: Path) -> None:
    pytest.importorskip("openjpeg", reason="extra [dicom]")
    tags = image()
    tags.Rows = tags.Columns = 60_000
    bombs = {"rows": as_bytes(tags), "deflated": deflated_bomb(), "jpeg": jpeg_bomb(), "jpeg2000": jpeg2000_bomb()}
    for name, content in bombs.items():
        assert len(content) < 4_000_000
        (tmp_path / f"{name}.dcm").write_bytes(content)
        assert under_memory_cap(tmp_path / f"{name}.dcm", megabytes=1500) == "too-large", name


WHOLE = as_bytes(image(WindowCenter=2048, WindowWidth=4096))


@settings(max_examples=150, deadline=None)
@given(
    damage=st.dictionaries(st.integers(0, 1500), st.integers(0, 255), max_size=4),
    cut=st.one_of(st.none(), st.integers(0, len(WHOLE))),
    how=st.sampled_from(RENDERINGS),
)
def test_damaged_files_are_read_or_refused_and_nothing_else(
    damage: dict[int, int], cut: int | None, how: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(WHOLE)
    for place, value in damage.items():
        content[place] = value
    path = tmp_path_factory.getbasetemp() / "damaged.dcm"
    path.write_bytes(bytes(content[:cut]))
    message = ""
    try:
        pixels = read_image(path, how).pixels
        assert (pixels.dtype, pixels.ndim) == (np.uint8, 2)
    except ImageReject as reject:
        message = str(reject)
    assert "Doe" not in message
