"""What is drawn on an image's plane at full resolution: lesions, bones and devices as closed-form chords.

Each structure adds its attenuation along the ray, so it looks alike wherever it lies in depth: the frontal of an
opacity is the same for a middle and a lower lobe. Lengths are in scene units (1 = 180 mm) whatever the image's size;
what is thinner than a pixel is widened to one and thinned out in proportion. Nothing on a lateral depends on a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cxrgen.phantom.findings import Findings
from cxrgen.phantom.rng import uniform

Plane = NDArray[np.float64]
Points = Sequence[tuple[float, float]]
CM = 1 / 18


@dataclass(frozen=True)
class Canvas:
    """The attenuation plane of one image, (up, across), and the scene coordinates of its columns and rows, rising."""

    plane: Plane
    across: Plane
    up: Plane


@dataclass(frozen=True)
class Places:
    """Where a patient's lesions and devices lie and how large they are; drawn whether they are there or not."""

    opacity: tuple[float, float, float]  # |x|, depth, height within the lobe from 0 to 1
    opacity_radii: tuple[float, float, float]
    opacity_amount: float
    nodule: tuple[float, float, float]  # |x|, y, z
    nodule_radius: float
    nodule_lobules: tuple[tuple[float, float], ...]
    band: tuple[float, float, float, float]  # |x|, y, height above the dome, slope
    band_length: float
    band_amount: float
    fracture: tuple[float, float]  # |x|, z
    carina: float  # z
    tube_bend: float
    line_tip: float
    battery: tuple[float, float]  # x, z
    drain_end: tuple[float, float, float]  # |x|, y, z
    wires: float  # z of the highest


def draw_places(generator: np.random.Generator) -> Places:
    def between(low: float, high: float) -> float:
        return uniform(generator, low, high)

    return Places(
        opacity=(between(0.38, 0.54), between(0.24, 0.42), between(0, 1)),
        opacity_radii=(between(0.15, 0.22), between(0.15, 0.22), between(0.15, 0.22)),
        opacity_amount=between(0.055, 0.080),
        nodule=(between(0.34, 0.62), between(-0.35, 0.35), between(-0.22, 0.50)),
        nodule_radius=between(0.078, 0.125),  # 14 to 22 mm
        nodule_lobules=tuple((between(-0.4, 0.4), between(-0.4, 0.4)) for _ in range(2)),
        band=(between(0.36, 0.52), between(-0.2, 0.2), between(0.26, 0.42), between(0.05, 0.3)),
        band_length=between(0.16, 0.24),
        band_amount=between(0.045, 0.065),
        fracture=(between(0.56, 0.70), between(-0.25, 0.35)),
        carina=between(0.26, 0.40),
        tube_bend=between(-0.02, 0.02),
        line_tip=between(0.10, 0.26),
        battery=(between(0.46, 0.58), between(0.44, 0.54)),
        drain_end=(between(0.28, 0.44), between(0.1, 0.4), between(0.35, 0.55)),
        wires=between(0.30, 0.40),
    )


def blob(
    canvas: Canvas,
    centre: tuple[float, float],
    radii: tuple[float, float],
    amount: float,
    soft: bool = False,
    slope: float = 0.0,
) -> None:
    """Add an ellipsoid: greatest at its centre with `amount`, falling as a chord does (or evenly, if `soft`)."""
    (middle, height), (wide, high) = centre, radii
    reach = high + abs(slope) * wide
    left, right = np.searchsorted(canvas.across, (middle - wide, middle + wide))
    low, top = np.searchsorted(canvas.up, (height - reach, height + reach))
    aside = canvas.across[left:right] - middle
    above = canvas.up[low:top, None] - height
    if slope:
        above = above - slope * aside
    inside = np.maximum(1 - ((aside / wide) ** 2 + (above / high) ** 2), 0)
    canvas.plane[low:top, left:right] += amount * (inside if soft else np.sqrt(inside))


def line(canvas: Canvas, points: Points, radius: float, amount: float) -> None:
    """Add a round tube along `points` (across, up), which go steadily downward."""
    pixel = canvas.across[1] - canvas.across[0]
    drawn = max(radius, 0.75 * pixel)
    amount = amount * radius / drawn
    for (start, high), (end, low) in pairwise(points):
        first, last = np.searchsorted(canvas.up, (low, high))
        slope = (end - start) / (high - low)
        lean = np.sqrt(1 + slope * slope)
        left, right = np.searchsorted(canvas.across, (min(start, end) - lean * drawn, max(start, end) + lean * drawn))
        middle = start + slope * (high - canvas.up[first:last, None])
        away = (canvas.across[left:right] - middle) / (lean * drawn)
        canvas.plane[first:last, left:right] += amount * np.sqrt(np.maximum(1 - away * away, 0))


def sign_of(side: str) -> float:
    return -1.0 if side.startswith("right") else 1.0


def bumps(phase: Plane, width: float) -> Plane:
    """A row of round ridges, one at every whole number of `phase`; `width` is their half width."""
    away = (phase - np.floor(phase) - 0.5) / width
    ridges: Plane = np.sqrt(np.maximum(1 - away * away, 0))
    return ridges


def draw_airway(frontal: Canvas, lateral: Canvas, places: Places) -> None:
    """The trachea, air in the mediastinum, down to the carina, and the first part of both bronchi."""
    z = places.carina
    line(frontal, [(places.tube_bend, 1.3), (0, z)], 0.05, -0.024)
    for sign in (-1.0, 1.0):
        line(frontal, [(0, z), (sign * 0.16, z - 0.14)], 0.036, -0.017)
    line(lateral, [(-0.16, 1.3), (0.0, z)], 0.05, -0.024)


def draw_lesions(findings: Findings, places: Places, dome: float, frontal: Canvas, lateral: Canvas) -> None:
    if findings.opacity:
        _opacity(findings.opacity, places, frontal, lateral)
    if findings.nodule:
        x, y, z = places.nodule
        radius = places.nodule_radius
        for canvas, middle in ((frontal, sign_of(findings.nodule) * x), (lateral, y)):
            blob(canvas, (middle, z), (radius, radius), 0.40 * radius)
            for aside, above in places.nodule_lobules:
                shifted = (middle + aside * radius, z + above * radius)
                blob(canvas, shifted, (0.7 * radius, 0.7 * radius), 0.12 * radius)
    if findings.atelectasis:
        x, y, above, slope = places.band
        sign = sign_of(findings.atelectasis)
        radii = (places.band_length, 0.022)
        blob(frontal, (sign * x, dome + above), radii, places.band_amount, slope=-sign * slope)
        blob(lateral, (y, dome + above), radii, places.band_amount, slope=slope)
    if findings.edema:
        for canvas, middles in ((frontal, (-0.32, 0.32)), (lateral, (0.0,))):
            for middle in middles:
                blob(canvas, (middle, 0.04), (0.32, 0.42), 0.040, soft=True)
    if findings.fracture:
        x, z = places.fracture
        x = sign_of(findings.fracture) * x
        blob(frontal, (x, z), (0.030, 0.028), 0.070)  # ends over each other, 11 by 10 mm
        blob(frontal, (1.16 * x, z - 0.045), (0.085, 0.026), 0.035)  # the outer part, 8 mm lower
        blob(frontal, (0.90 * x, z + 0.01), (0.030, 0.028), -0.025)  # the gap


Peak = tuple[str, tuple[float, float], float]


def lesion_peaks(findings: Findings, places: Places, dome: float) -> tuple[list[Peak], list[Peak]]:
    """Where lesions that can be missed are densest on frontal and lateral: (name, point, attenuation)."""
    frontal: list[Peak] = []
    lateral: list[Peak] = []

    def add(name: str, x: float, y: float, z: float, amount: float) -> None:
        frontal.append((name, (x, z), amount))
        lateral.append((name, (y, z), amount))

    if findings.opacity:
        add("opacity", *opacity_centre(findings.opacity, places), places.opacity_amount)
    if findings.nodule:
        x, y, z = places.nodule
        add("nodule", sign_of(findings.nodule) * x, y, z, 0.40 * places.nodule_radius)
    if findings.atelectasis:
        x, y, above, _ = places.band
        add("atelectasis", sign_of(findings.atelectasis) * x, y, dome + above, places.band_amount)
    return frontal, lateral


def opacity_centre(lobe: str, places: Places) -> tuple[float, float, float]:
    """x, y, z. Height and distance from the midline are the same for a middle and a lower lobe."""
    x, depth, height = places.opacity
    if "upper" in lobe:
        return sign_of(lobe) * x, depth - 0.33, 0.22 + 0.20 * height
    anterior = "middle" in lobe or lobe == "lingula"
    return sign_of(lobe) * x, -depth if anterior else depth, -0.32 + 0.22 * height


def _opacity(lobe: str, places: Places, frontal: Canvas, lateral: Canvas) -> None:
    x, y, z = opacity_centre(lobe, places)
    wide, deep, high = places.opacity_radii
    # The same greatest chord in both directions: neither depth nor side changes the other view.
    blob(frontal, (x, z), (wide, high), places.opacity_amount, soft=True)
    blob(lateral, (y, z), (deep, high), places.opacity_amount, soft=True)


def draw_devices(findings: Findings, places: Places, depth: float, frontal: Canvas, lateral: Canvas) -> None:
    """`depth` is the body's; what lies under the skin follows it."""
    if findings.et_tube:
        tip = places.carina + float(findings.et_tube) * CM
        line(frontal, [(places.tube_bend, 1.3), (0.2 * places.tube_bend, tip)], 0.024, 0.050)
        line(lateral, [(-0.16, 1.3), (-0.05, tip)], 0.024, 0.050)
    if findings.central_line:
        sign, tip = sign_of(findings.central_line), places.line_tip
        bend = 0.56 if sign > 0 else 0.70
        line(frontal, [(sign * 0.24, 1.3), (sign * 0.19, 0.74), (-0.11, bend - 0.02), (-0.13, tip)], 0.0085, 0.085)
        line(lateral, [(-0.10, 1.3), (-0.14, 0.7), (-0.16, tip)], 0.0085, 0.085)
    if findings.pacemaker:
        x, z = places.battery
        skin = -0.84 * depth
        blob(frontal, (x, z), (0.125, 0.11), 0.18)
        blob(lateral, (skin, z), (0.035, 0.11), 0.18)
        line(frontal, [(x - 0.05, z), (0.10, z - 0.06), (-0.08, 0.15), (0.14, -0.48)], 0.006, 0.12)
        line(lateral, [(skin, z), (-0.20, z - 0.08), (-0.10, 0.15), (-0.38, -0.48)], 0.006, 0.12)
    if findings.chest_tube:
        x, y, z = places.drain_end
        sign = sign_of(findings.chest_tube)
        line(frontal, [(sign * x, z), (sign * 0.66, 0.10), (sign * 0.95, -0.16)], 0.022, 0.040)
        line(lateral, [(y, z), (0.12, 0.0), (0.0, -0.16)], 0.022, 0.040)
    if findings.sternal_wires:
        for number in range(5):
            z = places.wires - 0.13 * number
            blob(frontal, (0, z), (0.050, 0.016), 0.060, slope=0.25 if number % 2 else -0.25)
            blob(lateral, (-0.85 * depth, z), (0.020, 0.020), 0.090)
