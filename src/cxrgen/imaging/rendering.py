"""Stored values to 8-bit grey, by one of three renderings.

The same image looks different by the way its values become grey, and a model trained on one sees the other badly, so
the way has a name that is recorded: `window` takes the window or lookup table that the image brings, `percentile` the
range of 99 % of the values, `mimic` does what made MIMIC-CXR's JPEGs (whole range, then equalised).

A window or table is believed only if the picture that it makes can have been meant: one that shows most of the picture
black or white, or all of it in a few levels of grey, is passed over with a note, for the next window and at last for
percentiles. The limits leave published chest X-rays and phantoms alone (tests/imaging/test_guard.py prints the
figures); a picture that is meant to be darker or flatter than any of those is shown with more contrast than was meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pydicom
from numpy.typing import NDArray

from cxrgen.imaging.frames import PixelLayout, photometric_of
from cxrgen.imaging.lookup_tables import read_tables
from cxrgen.imaging.tags import items_of, numbers_of, text_of

CLIPPED_LIMIT = 0.6  # share of the picture that is black or white
CLIPPED_BY_WRONG_DEPTH = 0.1  # the same, for a window that is the whole range of another depth than the values'
FLAT_LIMIT = 40  # levels of grey between the darkest and the brightest hundredth
_BORDER = 0.05  # a stored value of more pixels than this is collimation or background, not picture
_TOO_WIDE = 2.5  # times all values that the depth can hold
_PADDING_LIMIT = 0.95  # padding of more pixels than this is not believed
_Floats = NDArray[np.float64]
_Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Stored:
    """An image as stored. Every rendering maps a value to a grey level, so it is computed once a value."""

    dataset: pydicom.Dataset
    layout: PixelLayout
    index: NDArray[np.int32]  # (H, W), where in `values` a pixel's value stands
    values: NDArray[np.int32]  # (V,), all from the lowest to the highest that occur
    counts: _Counts  # (V,), pixels of each value
    padding: NDArray[np.bool_]  # (V,), values that are no part of the picture
    notes: list[str] = field(default_factory=list)

    @property
    def big_endian(self) -> bool:
        """The byte order of the file."""
        return not self.dataset.file_meta.TransferSyntaxUID.is_little_endian

    def shown(self, table: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Pixels (H, W) from the grey (V,) of each value."""
        pixels: NDArray[np.uint8] = table[self.index]
        return pixels


def stored_image(dataset: pydicom.Dataset, layout: PixelLayout, values: NDArray[np.int32], notes: list[str]) -> Stored:
    """Pixel values (H, W) with their counts and what of them is padding."""
    lowest, highest = int(values.min()), int(values.max())
    levels = np.arange(lowest, highest + 1, dtype=np.int32)
    index = values - lowest
    counts = np.bincount(index.ravel(), minlength=len(levels))
    padding = _padding(dataset, layout, levels, counts)
    if counts[padding].sum() > _PADDING_LIMIT * values.size:
        notes.append("padding-ignored: its padding value would leave nothing of the picture")
        padding[:] = False
    return Stored(dataset, layout, index, levels, counts, padding, notes)


def _padding(
    dataset: pydicom.Dataset, layout: PixelLayout, levels: NDArray[np.int32], counts: _Counts
) -> NDArray[np.bool_]:
    """Which values are no part of the picture; a padding value is read with the sign that the pixels have."""
    first, limit = (numbers_of(dataset, name)[:1] for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    none = np.zeros(len(levels), np.bool_)
    if not first:
        return none
    ends = [int(value) for value in first + limit if abs(value) < 1 << 32]
    mask = _within(ends, layout.allocated, layout.signed, levels)
    if mask.any() or layout.stored == layout.allocated:
        return mask
    cut = _within(ends, layout.stored, layout.signed, levels)  # as the pixels are, when only the stored bits are kept
    return cut if counts[cut].sum() > _BORDER / 5 * counts.sum() else none


def _within(ends: list[int], bits: int, signed: bool, levels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which values lie between these ends, taken as numbers of `bits` bits."""
    whole, half = 1 << bits, 1 << (bits - 1)
    ends = [end % whole - whole if signed and end % whole >= half else end % whole for end in ends]
    if not ends:
        return np.zeros(len(levels), np.bool_)
    mask: NDArray[np.bool_] = (levels >= min(ends)) & (levels <= max(ends))
    return mask


# --- the three renderings ---


def window(stored: Stored) -> NDArray[np.uint8]:
    """The first VOI lookup table or window (DICOM PS3.3 C.11.2) that can be believed, else as `percentile`."""
    values = modality_values(stored)
    disbelieved = ""
    for name, grey, limit in _candidates(stored, values):
        table = _finished(grey, stored)
        disbelieved = disbelieved or name
        fault = _fault(table, stored, limit)
        if not fault:
            return stored.shown(table)
        stored.notes.append(f"{name}-ignored: {fault}")
    if not disbelieved:
        stored.notes.append("no-window: the file has none that can be used; percentiles are")
    return _percentile_of(values, stored)


def _candidates(stored: Stored, values: _Floats) -> Iterator[tuple[str, _Floats, float]]:
    """(kind, grey in 0..1 of each value, share that may be clipped) of tables, then windows, in the file's order."""
    dataset = stored.dataset
    tables = read_tables(dataset, "VOILUTSequence", values, stored.big_endian)
    if items_of(dataset, "VOILUTSequence") and not tables:
        stored.notes.append("table-ignored: its VOI lookup table has no entries that can be read")
    for table in tables:
        yield "table", table.of(values) / table.white, CLIPPED_LIMIT
    function = text_of(dataset, "VOILUTFunction").upper() or "LINEAR"
    least = 1 if function not in ("SIGMOID", "LINEAR_EXACT") else 1e-6
    for centre, width in zip(numbers_of(dataset, "WindowCenter"), numbers_of(dataset, "WindowWidth")):
        if width >= least:
            limit = CLIPPED_BY_WRONG_DEPTH if _is_of_another_depth(centre, width, stored) else CLIPPED_LIMIT
            if width > _TOO_WIDE * _span(stored, values):
                stored.notes.append("window-ignored: it is far wider than the values can be")
                continue
            yield "window", _through(values, centre, width, function), limit


def _through(values: _Floats, centre: float, width: float, function: str) -> _Floats:
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return (values - centre) / width + 0.5
    if width == 1:
        return (values > centre - 0.5).astype(np.float64)
    return (values - (centre - 0.5)) / (width - 1) + 0.5


def percentile(stored: Stored) -> NDArray[np.uint8]:
    """From the 0.5th to the 99.5th percentile of the middle 90 % of rows and columns, without padding."""
    return _percentile_of(modality_values(stored), stored)


def _percentile_of(values: _Floats, stored: Stored) -> NDArray[np.uint8]:
    rows, columns = stored.index.shape
    middle = stored.index[rows // 20 : rows - rows // 20, columns // 20 : columns - columns // 20]
    counts = np.bincount(middle.ravel(), minlength=len(values))
    if counts[~stored.padding].any():
        counts[stored.padding] = 0
    lowest, highest = (_quantile(values, counts, share) for share in (0.005, 0.995))
    if lowest == highest:
        lowest, highest = values.min(), max(values.max(), values.min() + 1)
    return stored.shown(_finished((values - lowest) / (highest - lowest), stored))


def mimic(stored: Stored) -> NDArray[np.uint8]:
    """As MIMIC-CXR's JPEGs were made: stored values from lowest to highest, cut to 8 bits, inverted, equalised."""
    raised = np.arange(len(stored.values), dtype=np.float64)
    grey = (raised / max(raised[-1], 1) * 255).astype(np.uint8)
    return equalised(stored.shown(np.bitwise_not(grey) if _is_inverted(stored.dataset) else grey))


def equalised(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Global histogram equalisation of 8-bit grey, as OpenCV computes it (single precision, halves to even)."""
    counts = np.bincount(pixels.ravel(), minlength=256)
    lowest = int(np.flatnonzero(counts)[0])
    if counts[lowest] == pixels.size:
        return pixels
    scale = np.float32(255) / np.float32(pixels.size - counts[lowest])
    above = np.cumsum(counts) - counts[: lowest + 1].sum()
    table = np.rint(np.maximum(above, 0).astype(np.float32) * scale)
    grey: NDArray[np.uint8] = np.clip(table, 0, 255).astype(np.uint8)[pixels]
    return grey


RENDERINGS: dict[str, Callable[[Stored], NDArray[np.uint8]]] = {
    "window": window,
    "percentile": percentile,
    "mimic": mimic,
}


# --- from stored values to grey ---


def modality_values(stored: Stored) -> _Floats:
    """The values (V,) in the units of windows: through the modality lookup table, else rescaled."""
    dataset, values = stored.dataset, stored.values.astype(np.float64)
    tables = read_tables(dataset, "ModalityLUTSequence", values, stored.big_endian)
    if tables:
        return tables[0].of(values)
    if items_of(dataset, "ModalityLUTSequence"):
        stored.notes.append("table-ignored: its modality lookup table has no entries that can be read")
    slope = (numbers_of(dataset, "RescaleSlope") or [1.0])[0]
    intercept = (numbers_of(dataset, "RescaleIntercept") or [0.0])[0]
    if not 1e-6 <= abs(slope) <= 1e6 or abs(intercept) > 1e9:
        stored.notes.append("rescale-ignored: a slope or intercept that cannot be meant")
        return values
    return values * slope + intercept


def _span(stored: Stored, values: _Floats) -> float:
    """How far apart the lowest and the highest value are that the depth can hold, in the units of windows."""
    seen = max(1, len(values) - 1)
    possible = max(seen, (1 << stored.layout.stored) - 1)
    return float(values.max() - values.min()) * possible / seen


def _is_of_another_depth(centre: float, width: float, stored: Stored) -> bool:
    """Whether a window is the whole range of a depth that the values exceed, such as 128 and 256 for 12-bit values."""
    for bits in (8, 10, 12, 14, 16):
        if abs(width - (1 << bits)) <= 2 and abs(centre - (1 << (bits - 1))) <= 2:
            return bits < stored.layout.stored
    return False


def _fault(table: NDArray[np.uint8], stored: Stored, clipped_limit: float) -> str:
    """Why the picture of this grey (V,) cannot have been meant, "" if it can."""
    counts = np.where(stored.padding, 0, stored.counts)
    picture = np.where(counts > _BORDER * counts.sum(), 0, counts)
    if picture.sum() < 0.2 * counts.sum():  # a few levels only
        picture = counts
    grey = np.bincount(table, weights=picture, minlength=256) / max(1, picture.sum())
    clipped = grey[0] + grey[255]
    if clipped > clipped_limit:
        return f"it makes {clipped:.0%} of the picture black or white"
    reached = np.cumsum(grey)
    used = int(np.searchsorted(reached, 0.99)) - int(np.searchsorted(reached, 0.01))
    return f"it makes all of the picture {used + 1} levels of grey" if used < FLAT_LIMIT else ""


def _quantile(values: _Floats, counts: _Counts, share: float) -> float:
    """The quantile, as numpy's, of values of which each occurs `counts` times."""
    order = np.argsort(values)
    reached = np.cumsum(counts[order])
    place = share * (reached[-1] - 1)
    below, above = values[order[np.searchsorted(reached, [np.floor(place), np.ceil(place)], side="right")]]
    return float(below + (above - below) * (place - np.floor(place)))


def _finished(grey: _Floats, stored: Stored) -> NDArray[np.uint8]:
    """Grey in 0..1 of each value to 8 bits, inverted where the file counts from white, padding black."""
    table: NDArray[np.uint8] = np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)
    if _is_inverted(stored.dataset):
        table = np.bitwise_not(table)
    if not stored.padding.all():
        table[stored.padding] = 0
    return table


def _is_inverted(dataset: pydicom.Dataset) -> bool:
    if photometric_of(dataset) == "MONOCHROME1":
        return True
    return text_of(dataset, "PresentationLUTShape").upper() == "INVERSE"
