"""Text that is burnt into the pixels of an image: names and dates that no tag cleaning reaches.

Glyphs are strokes of one extreme brightness on another ground, many in a row, of one height. So a band of rows is
looked for in which the brightest (or darkest) pixels start and stop many times within a short span and are thin. Side
markers (R, L, AP) have few strokes and pass; what a device writes in five letters or more is found. It is a sieve, not
a proof: text in grey, in rotated or large letters, or on noise of its own brightness is missed, and wires or a grid may
look like text. So what it finds is a remark for somebody to look at; only the tag that says so refuses an image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TAG = "BurnedInAnnotation"
_LEVELS = 30  # of 255, within which strokes have the extreme brightness
_FEWEST_STARTS = 9  # of strokes in a row: five letters and more
_LONGEST_GAP = 24  # pixels between two strokes of one line of text
_HEIGHTS = (5, 60)  # rows of a line of text
_WIDEST_STROKE = 12  # pixels


def has_text(pixels: NDArray[np.uint8]) -> bool:
    """Whether an 8-bit image seems to hold a line of text of five letters or more."""
    low, high = int(pixels.min()), int(pixels.max())
    if high - low < 64:
        return False
    return _has_line(pixels >= high - _LEVELS, pixels) or _has_line(pixels <= low + _LEVELS, 255 - pixels)


def _has_line(strokes: NDArray[np.bool_], pixels: NDArray[np.uint8]) -> bool:
    """Whether enough rows below each other have a run of thin strokes, and the ground between them is another."""
    if float(strokes.mean()) > 0.25:
        strokes = np.logical_and(strokes, _thin(strokes))
    rows = [_run(row, pixels[number]) for number, row in enumerate(strokes)]
    height, left, right = 0, 0, 0
    for run in rows:
        if run is None:
            height = 0
            continue
        if height and run[0] < right and run[1] > left:
            height, left, right = height + 1, min(left, run[0]), max(right, run[1])
        else:
            height, (left, right) = 1, run
        if height >= _HEIGHTS[0] and right - left > height:
            return True
    return False


def _thin(strokes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels that are no part of a wide area."""
    width = _WIDEST_STROKE
    padded = np.pad(strokes, ((0, 0), (width, width)))
    wide = np.asarray(np.lib.stride_tricks.sliding_window_view(padded, width, axis=1).all(axis=2))
    spread = np.zeros_like(strokes)
    for shift in range(width):
        spread |= wide[:, shift + 1 : shift + 1 + strokes.shape[1]]
    return ~spread


def _run(row: NDArray[np.bool_], values: NDArray[np.uint8]) -> tuple[int, int] | None:
    """(first, last column) of the longest run of thin strokes with small gaps; None where there are too few."""
    edges = np.diff(np.concatenate(([0], row.view(np.int8), [0])))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    keep = ends - starts <= _WIDEST_STROKE
    starts, ends = starts[keep], ends[keep]
    if len(starts) < _FEWEST_STARTS:
        return None
    breaks = np.flatnonzero(starts[1:] - ends[:-1] > _LONGEST_GAP)
    groups = np.split(np.arange(len(starts)), breaks + 1)
    best = max(groups, key=len)
    if len(best) < _FEWEST_STARTS:
        return None
    first, last = int(starts[best[0]]), int(ends[best[-1]])
    ground = values[first:last][~row[first:last]]
    return (first, last) if ground.size and int(values[starts[best[0]]]) - float(np.median(ground)) > 48 else None
