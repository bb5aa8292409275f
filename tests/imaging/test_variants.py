"""Hundreds of DICOM files of one picture, by pydicom's own writers: each comes out as the picture, within 3 levels.

What varies: window, lookup tables, rescaling, depth, sign, polarity, padding, overlays, where the bits stand, and how
the file is packed. Where the file gives no usable window, percentiles of the same values are the picture.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)
from tests.imaging.dicoms import SHAPE, image, saved

from cxrgen.imaging.read import read_image

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom, when it writes odd tags
WITHIN = 3  # grey levels
Tags = dict[str, Any]


def truth() -> NDArray[np.float64]:
    """The picture, 0..1 (96, 80): a bright chest with darker lungs, dark corners, fine structure."""
    y, x = np.mgrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j]
    body = np.exp(-1.2 * (x**2 + 0.6 * y**2))
    lungs = 0.5 * (np.exp(-18 * ((x - 0.4) ** 2 + 0.3 * y**2)) + np.exp(-18 * ((x + 0.4) ** 2 + 0.3 * y**2)))
    grain = np.random.default_rng(7).uniform(-0.02, 0.02, SHAPE)
    return np.clip(0.05 + 0.9 * (body - lungs) + grain, 0, 1)


TRUTH = truth()


def by_percentiles(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """The picture as percentiles of its middle show it, 0..255."""
    rows, columns = SHAPE
    middle = picture[rows // 20 : rows - rows // 20, columns // 20 : columns - columns // 20]
    lowest, highest = np.quantile(middle, (0.005, 0.995))
    return np.clip((picture - lowest) / (highest - lowest), 0, 1) * 255


def full(bits: int, signed: bool, slope: float = 1, intercept: float = 0) -> Tags:
    """The window that shows all values of this depth."""
    low = -(1 << (bits - 1)) if signed else 0
    return {"WindowCenter": (low + 2 ** (bits - 1)) * slope + intercept, "WindowWidth": 2**bits * slope}


def table(entries: NDArray[np.int64], first: int, bits: int, packed: bool = False) -> list[pydicom.Dataset]:
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries) % 65536, first % 65536, bits])
    item.add_new("LUTData", "OW", entries.astype("u1" if packed else "<u2").tobytes())
    return [item]


def ramp(bits: int, depth: int) -> NDArray[np.int64]:
    """A table that turns values of `bits` bits to `depth` bits, straight."""
    return np.rint(np.linspace(0, 2**depth - 1, 2**bits)).astype(np.int64)


def first(bits: int, signed: bool) -> int:
    return -(1 << (bits - 1)) if signed else 0


def empty_item() -> Tags:
    return {"VOILUTSequence": [pydicom.Dataset()]}


def empty_table() -> Tags:
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", None)
    item.add_new("LUTData", "OW", None)
    return {"VOILUTSequence": [item]}


def short_table(bits: int, signed: bool) -> Tags:
    item = table(ramp(bits, 12), first(bits, signed), 12)[0]
    item.LUTData = item.LUTData[: len(item.LUTData) // 2]
    return {"VOILUTSequence": [item]}


def windows(other: tuple[float, float], bits: int, signed: bool) -> Tags:
    """A window before the one that shows all values."""
    whole = full(bits, signed)
    return {"WindowCenter": [other[0], whole["WindowCenter"]], "WindowWidth": [other[1], whole["WindowWidth"]]}


def darkness(bits: int) -> NDArray[np.int64]:
    """A table of which only the very last entries are not black."""
    return np.where(np.arange(2**bits) > 2**bits - 3, 65535, 0)


Maker = Callable[[int, bool], Tags]
SHOWN: dict[str, Maker] = {
    "window": full,
    "two windows": lambda b, s: {k: [v, v / 3] for k, v in full(b, s).items()},
    "first window without width": lambda b, s: windows((0, 0), b, s),
    "first window of nothing": lambda b, s: windows((10**6, 9), b, s),
    "exact": lambda b, s: {**full(b, s), "VOILUTFunction": "LINEAR_EXACT"},
    "unknown function": lambda b, s: {**full(b, s), "VOILUTFunction": "CUBIC"},
    "rescaled": lambda b, s: {**full(b, s, 2, -1024), "RescaleSlope": 2, "RescaleIntercept": -1024},
    "slope alone": lambda b, s: {**full(b, s, 0.5), "RescaleSlope": 0.5},
    "intercept alone": lambda b, s: {**full(b, s, 1, 300), "RescaleIntercept": 300},
    "empty slope": lambda b, s: {**full(b, s, 1, 300), "RescaleSlope": "", "RescaleIntercept": 300},
    "empty intercept": lambda b, s: {**full(b, s, 2), "RescaleSlope": 2, "RescaleIntercept": ""},
    "no slope": lambda b, s: {**full(b, s), "RescaleSlope": 0, "RescaleIntercept": 0},
    "modality table of 16 bits": lambda b, s: {
        "ModalityLUTSequence": table(ramp(b, 16), first(b, s), 16), **full(16, False)
    },
    "modality table of 12 bits": lambda b, s: {
        "ModalityLUTSequence": table(ramp(b, 12), first(b, s), 12), **full(12, False)
    },
    "modality table in bytes": lambda b, s: {
        "ModalityLUTSequence": table(ramp(b, 8), first(b, s), 8, packed=True), **full(8, False)
    },
    "modality table without content": lambda b, s: {"ModalityLUTSequence": [pydicom.Dataset()], **full(b, s)},
    "VOI table of 16 bits": lambda b, s: {"VOILUTSequence": table(ramp(b, 16), first(b, s), 16)},
    "VOI table of 12 bits": lambda b, s: {"VOILUTSequence": table(ramp(b, 12), first(b, s), 12)},
    "VOI table of 10 bits": lambda b, s: {"VOILUTSequence": table(ramp(b, 10), first(b, s), 10)},
    "VOI table of 12 bits that says 16": lambda b, s: {"VOILUTSequence": table(ramp(b, 12), first(b, s), 16)},
    "VOI table in bytes": lambda b, s: {"VOILUTSequence": table(ramp(b, 8), first(b, s), 8, packed=True)},
    "VOI table before the window": lambda b, s: {
        "VOILUTSequence": table(ramp(b, 12), first(b, s), 12), "WindowCenter": 1, "WindowWidth": 1
    },
    "VOI item without content": lambda b, s: {**empty_item(), **full(b, s)},
    "VOI table without values": lambda b, s: {**empty_table(), **full(b, s)},
    "VOI table cut short": lambda b, s: {**short_table(b, s), **full(b, s)},
    "VOI table of one level": lambda b, s: {
        "VOILUTSequence": table(np.full(2**b, 77), first(b, s), 12), **full(b, s)
    },
}  # fmt: skip
BY_PERCENTILES: dict[str, Maker] = {
    "none": lambda b, s: {},
    "blank": lambda b, s: {"WindowCenter": "", "WindowWidth": ""},
    "no width": lambda b, s: {"WindowCenter": 100, "WindowWidth": 0},
    "a table of darkness": lambda b, s: {"VOILUTSequence": table(darkness(b), first(b, s), 16)},
    "far above the values": lambda b, s: {"WindowCenter": 2**b * 9, "WindowWidth": 2**b},
    "far below the values": lambda b, s: {"WindowCenter": -(2**b) * 9, "WindowWidth": 2**b},
    "much wider": lambda b, s: {"WindowCenter": 2**b * 4, "WindowWidth": 2**b * 8},
    "a sliver": lambda b, s: {"WindowCenter": full(b, s)["WindowCenter"], "WindowWidth": 2},
}  # fmt: skip
NOTED = ("no-window", "window-ignored", "table-ignored")
DEPTHS = (8, 10, 12, 14, 16)
depths_apart = pytest.mark.parametrize(
    "depths", [pytest.param((8, 12), id="8, 12"), pytest.param((10, 14, 16), id="10, 14, 16", marks=pytest.mark.slow)]
)


def stored(bits: int, signed: bool, monochrome1: bool) -> NDArray[Any]:
    """The picture as values of this depth, sign and polarity."""
    values = np.rint((1 - TRUTH if monochrome1 else TRUTH) * (2**bits - 1)).astype(np.int64)
    kind = "u1" if bits == 8 else "u2"
    return (values - (1 << (bits - 1))).astype(kind.replace("u", "i")) if signed else values.astype(kind)


def variants(depths: tuple[int, ...] = DEPTHS) -> Iterator[tuple[int, bool, bool]]:
    for bits in depths:
        for signed in (False, True):
            for monochrome1 in (False, True):
                yield bits, signed, monochrome1


def polarity(monochrome1: bool) -> Tags:
    return {"PhotometricInterpretation": "MONOCHROME1" if monochrome1 else "MONOCHROME2"}


def far(dataset: pydicom.Dataset, path: Path, wanted: NDArray[np.float64]) -> tuple[float, tuple[str, ...]]:
    """(how far the worst pixel is from where it should be, the notes)."""
    shown = read_image(saved(dataset, path))
    return float(np.abs(shown.pixels - wanted).max()), shown.notes


@depths_apart
@pytest.mark.parametrize("source", SHOWN)
def test_the_picture_by_its_window_or_table(tmp_path: Path, source: str, depths: tuple[int, ...]) -> None:
    wrong = {}
    for bits, signed, monochrome1 in variants(depths):
        tags = {**SHOWN[source](bits, signed), **polarity(monochrome1)}
        away, notes = far(image(stored(bits, signed, monochrome1), bits, **tags), tmp_path / "a.dcm", TRUTH * 255)
        if away > WITHIN:
            wrong[bits, signed, monochrome1] = away, notes
    assert not wrong


@depths_apart
@pytest.mark.parametrize("source", BY_PERCENTILES)
def test_a_picture_without_a_window_that_can_be_meant_is_shown_by_percentiles_and_noted(
    tmp_path: Path, source: str, depths: tuple[int, ...]
) -> None:
    wrong = {}
    for bits, signed, monochrome1 in variants(depths):
        tags = {**BY_PERCENTILES[source](bits, signed), **polarity(monochrome1)}
        dataset = image(stored(bits, signed, monochrome1), bits, **tags)
        away, notes = far(dataset, tmp_path / "a.dcm", by_percentiles(TRUTH))
        if away > WITHIN or not any(note.startswith(NOTED) for note in notes):
            wrong[bits, signed, monochrome1] = away, notes
    assert not wrong


@depths_apart
@pytest.mark.parametrize("other", DEPTHS)
def test_the_whole_window_of_another_depth_is_not_believed(tmp_path: Path, other: int, depths: tuple[int, ...]) -> None:
    for bits, _, monochrome1 in variants(depths):
        if abs(bits - other) >= 2:
            dataset = image(stored(bits, False, monochrome1), bits, **full(other, False), **polarity(monochrome1))
            away, notes = far(dataset, tmp_path / "a.dcm", by_percentiles(TRUTH))
            assert away <= WITHIN, (bits, monochrome1)
            assert any(note.startswith("window-ignored") for note in notes)


PADDED = [
    (bits, signed, said)
    for bits in (12, 16)
    for signed in (False, True)
    for said in ("own sign", "other sign", "range", "range of the other sign")
]


@pytest.mark.parametrize(("bits", "signed", "said"), PADDED)
@pytest.mark.parametrize("monochrome1", [False, True])
def test_padding_is_black_and_no_part_of_the_picture(
    tmp_path: Path, bits: int, signed: bool, said: str, monochrome1: bool
) -> None:
    values = stored(bits, signed, monochrome1)
    padding = 0xFFFF if bits == 16 and not signed else -(1 << 15) if bits == 16 else int(values.min()) - 1
    if bits == 12:
        padding = 0xFFF if not signed else -(1 << 11)
    values[:, :20] = padding
    if bits == 12:
        values[:, 20:] = np.clip(values[:, 20:], values.min() + 1, values.max() - 1)
    tag = padding % 65536 if ("other" in said) == signed else padding if signed else padding - 65536
    tag = tag if bits == 16 or signed else padding
    dataset = image(values, bits, **polarity(monochrome1))
    dataset.add_new("PixelPaddingValue", "SS" if tag < 0 else "US", tag)
    if "range" in said:
        dataset.add_new("PixelPaddingRangeLimit", "SS" if tag < 0 else "US", tag)
    shown = read_image(saved(dataset, tmp_path / "a.dcm"))
    middle = TRUTH[4:92, 20:76]
    lowest, highest = np.quantile(middle, (0.005, 0.995))
    wanted = np.clip((TRUTH - lowest) / (highest - lowest), 0, 1) * 255
    assert (shown.pixels[:, :20] == 0).all()
    assert np.abs(shown.pixels[:, 20:] - wanted[:, 20:]).max() <= WITHIN


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("where", ["one bit", "all bits", "left", "left and overlay", "left by the tags alone"])
@pytest.mark.parametrize("window", [True, False])
def test_bits_beside_the_value_are_no_part_of_the_picture(
    tmp_path: Path, bits: int, signed: bool, where: str, window: bool
) -> None:
    values = stored(bits, signed, False).astype(np.int32) & ((1 << bits) - 1)
    text = np.zeros(SHAPE, bool)
    text[10:30, 10:60:3] = True
    high = bits - 1
    if where in ("one bit", "all bits"):
        values |= np.where(text, (1 << 15) if where == "one bit" else (0xFFFF & ~((1 << bits) - 1)), 0)
    elif where != "left by the tags alone":
        values = values << (16 - bits) | (text if where == "left and overlay" else 0)
    high = 15 if where.startswith("left") else high
    dataset = image(values.astype(np.uint16), bits, HighBit=high, PixelRepresentation=int(signed))
    for keyword, value in full(bits, signed).items() if window else ():
        setattr(dataset, keyword, value)
    away, _ = far(dataset, tmp_path / "a.dcm", TRUTH * 255 if window else by_percentiles(TRUTH))
    assert away <= WITHIN


@pytest.mark.parametrize("said", [8, 10, 12])
def test_values_deeper_than_the_tags_say_are_taken_whole_and_noted(tmp_path: Path, said: int) -> None:
    values = stored(14, False, False)
    away, notes = far(image(values, 14, BitsStored=said, HighBit=said - 1), tmp_path / "a.dcm", by_percentiles(TRUTH))
    assert away <= WITHIN
    assert any(note.startswith("deeper") for note in notes)


def coded(values: NDArray[Any], kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, kind, **options)
    return encapsulate([stream.getvalue()])


def packed(dataset: pydicom.Dataset, syntax: pydicom.uid.UID, values: NDArray[Any]) -> pydicom.Dataset:
    """The dataset in another transfer syntax."""
    if syntax in (RLELossless, JPEGLSLossless):
        dataset.compress(syntax)
        return dataset
    if syntax in (JPEG2000, JPEG2000Lossless):
        lossy = {"irreversible": True, "quality_mode": "rates", "quality_layers": [2]} if syntax == JPEG2000 else {}
        dataset.PixelData = coded(values, "JPEG2000", no_jp2=True, **lossy)
    elif syntax == JPEGBaseline8Bit:
        dataset.PixelData = coded(values, "JPEG", quality=100)
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


PACKED = [
    (syntax, bits, signed)
    for syntax in (ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEGLSLossless)
    for bits in DEPTHS
    for signed in (False, True)
]
PACKED += [(syntax, bits, False) for syntax in (JPEG2000Lossless, JPEG2000) for bits in (8, 16)]
PACKED += [(JPEGBaseline8Bit, 8, False)]


@pytest.mark.parametrize(("syntax", "bits", "signed"), PACKED, ids=lambda value: getattr(value, "name", str(value)))
@pytest.mark.parametrize("monochrome1", [False, True])
def test_every_way_of_packing(
    tmp_path: Path, syntax: pydicom.uid.UID, bits: int, signed: bool, monochrome1: bool
) -> None:
    if syntax == JPEGLSLossless:
        pytest.importorskip("jpeg_ls", reason="extra [dicom]")
    values = stored(bits, signed, monochrome1)
    dataset = packed(image(values, bits, **full(bits, signed), **polarity(monochrome1)), syntax, values)
    away, _ = far(dataset, tmp_path / "a.dcm", TRUTH * 255)
    assert away <= WITHIN


@pytest.mark.parametrize("bits", DEPTHS)
@pytest.mark.parametrize("signed", [False, True])
def test_the_other_byte_order(tmp_path: Path, bits: int, signed: bool) -> None:
    values = stored(bits, signed, False)
    dataset = image(values, bits)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    item = table(ramp(bits, 16), first(bits, signed), 16)[0]
    item.add_new("LUTData", "OW", ramp(bits, 16).astype(">u2").tobytes())
    dataset.VOILUTSequence = [item]
    dataset.PixelData = values.astype(values.dtype.newbyteorder(">")).tobytes()
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    pydicom.dcmwrite(tmp_path / "a.dcm", dataset, implicit_vr=False, little_endian=False, force_encoding=True)
    assert np.abs(read_image(tmp_path / "a.dcm").pixels - TRUTH * 255).max() <= WITHIN
