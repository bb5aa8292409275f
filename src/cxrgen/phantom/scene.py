"""One 3-D scene a study, and its two parallel projections.

Coordinates run from -1 to 1 (1 = 180 mm): x from the patient's right to left (the right side stands at the left of the
image), y from front to back, z from feet to head. Organs are painted into a coarse voxel box in order of priority, so
that overlap is true: heart and fluid replace lung. The frontal is the sum along y, the lateral the sum along x; finer
structures are added at full resolution (`shadows`). The lungs are mirror images, and what lies on one side is laid into
the right one for the lateral, so nothing on a lateral tells left from right.

A pixel is the same on every platform: sums are of whole numbers, and only + - * / and square roots, which every
processor rounds alike, come before the grey values are looked up in a table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrgen.phantom.findings import Extent, Findings
from cxrgen.phantom.rng import NOISE_SD, make_rng, noise, uniform
from cxrgen.phantom.structures import (
    Canvas,
    Places,
    Plane,
    blob,
    bumps,
    draw_airway,
    draw_devices,
    draw_lesions,
    lesion_peaks,
)

GreyImage = NDArray[np.uint8]
Voxels = NDArray[np.bool_]
_NX, _NY, _NZ = 64, 48, 64
_AIR, _LUNG, _WALL, _FLUID, _SPINE = 0.01, 0.10, 0.42, 0.50, 0.72
_X, _Y = np.linspace(-1, 1, _NX), np.linspace(-1, 1, _NY)
_LEVELS = np.arange(_NZ, dtype=np.int8)
_RIGHT = _X[: _NX // 2]

_STEPS, _GREY, _FINE = 1024, 330, 64  # table entries a unit of attenuation; brightest grey; fractions of a grey level
_FAINT = 4.0  # contrast to noise below which a lesion is reported with doubt
_TABLE = np.rint((1 - np.exp(-np.arange(4 * _STEPS) / _STEPS)) * _GREY * _FINE).astype(np.int32)


@dataclass(frozen=True)
class Body:
    """What varies between patients; none of it depends on the findings."""

    width: float
    depth: float
    dome: float  # height of the diaphragm's edge
    apex: float  # height of the lungs above their middle
    lung: float  # half width of a lung
    heart_tilt: float
    ribs: float  # phase of the rib pattern
    vessels: float  # phase of the vessels
    belly: tuple[float, float]  # attenuation of bowel and fat under the right and the left dome


@dataclass(frozen=True)
class Framing:
    """What varies between two studies of one patient, findings apart."""

    exposure: float
    noise: float
    zoom: float  # scene units a half image shows
    shift: tuple[float, float, float]  # of the image against the scene, in x, y, z


@dataclass(frozen=True)
class Scene:
    """All that two images are made of. `noise` seeds the grain."""

    findings: Findings
    extent: Extent
    places: Places
    body: Body
    framing: Framing
    noise: tuple[int, ...] = (0,)


def draw_body(generator: np.random.Generator) -> Body:
    return Body(
        width=uniform(generator, 0.84, 1.04),
        depth=uniform(generator, 0.84, 1.04),
        dome=uniform(generator, -0.70, -0.48),
        apex=uniform(generator, 0.50, 0.66),
        lung=uniform(generator, 0.33, 0.39),
        heart_tilt=uniform(generator, -0.05, 0.05),
        ribs=uniform(generator, 0.0, 1.0),
        vessels=uniform(generator, 0.0, 1.0),
        belly=(uniform(generator, -0.04, 0.04), uniform(generator, -0.04, 0.04)),
    )


def draw_framing(generator: np.random.Generator) -> Framing:
    return Framing(
        exposure=uniform(generator, 0.8, 1.2),
        noise=uniform(generator, 0.008, 0.020),
        zoom=uniform(generator, 0.92, 1.12),
        shift=(uniform(generator, -0.1, 0.1), uniform(generator, -0.1, 0.1), uniform(generator, -0.1, 0.1)),
    )


def draw_images(scene: Scene, size: int) -> tuple[GreyImage, GreyImage, frozenset[str]]:
    """Frontal and lateral, (size, size) uint8, bright where little passes through, row 0 the head; and what is faint.

    A lesion is faint when the greatest contrast to noise of a pixel, in either view, is under a fixed limit.
    """
    generator = make_rng(*scene.noise)
    canvases = attenuation(scene, size)
    frontal, lateral = (_expose(canvas.plane, scene.framing, generator) for canvas in canvases)
    contrast: dict[str, float] = {}
    for canvas, peaks in zip(canvases, lesion_peaks(scene.findings, scene.places, scene.body.dome)):
        for name, (across, up), amount in peaks:
            value = _contrast(canvas, across, up, amount, scene.framing)
            contrast[name] = max(contrast.get(name, 0), value)
    return frontal, lateral, frozenset(name for name, value in contrast.items() if value < _FAINT)


def attenuation(scene: Scene, size: int) -> tuple[Canvas, Canvas]:
    """What the rays to each pixel of frontal and lateral pass through, before exposure and noise."""
    findings, body, framing = scene.findings, scene.body, scene.framing
    pixels = np.linspace(-1, 1, size) * framing.zoom
    x, y, z = (pixels + shift for shift in framing.shift)
    front, side = _organs(findings, scene.extent, body)
    trunk = _WALL * body.depth * 0.92 * _chord(x, 0.95 * body.width) + (_SPINE - _WALL) * 0.16 * _chord(x, 0.11)
    flank = _WALL * body.width * 0.95 * _chord(y, 0.92 * body.depth) + (_SPINE - _WALL) * 0.11 * _chord(y - 0.66, 0.16)
    frontal = Canvas(_sampled(front, x, z) + trunk, x, z)
    lateral = Canvas(_sampled(side, y, z) + flank, y, z)
    _draw_texture(frontal, body, findings.edema, x / body.width)
    _draw_texture(lateral, body, findings.edema, y / body.depth)
    _draw_ribs(frontal, body)
    _draw_belly(frontal, lateral, body)
    draw_airway(frontal, lateral, scene.places)
    draw_lesions(findings, scene.places, body.dome, frontal, lateral)
    draw_devices(findings, scene.places, body.depth, frontal, lateral)
    return frontal, lateral


def _organs(findings: Findings, extent: Extent, body: Body) -> tuple[Plane, Plane]:
    """Attenuation of lungs, heart, mediastinum, fluid and free air over that of the body: (x, z) and (y, z)."""
    centre, wide, deep = -0.46 * body.width, body.lung * body.width, 0.72 * body.depth
    aside = ((_RIGHT - centre) / wide)[:, None]
    within = aside**2 + (_Y / deep) ** 2
    curve, drop = (0.05, 0.06) if findings.hyperinflation else (0.20, 0.0)
    top = np.where(within < 1, 0.25 + body.apex * _root(1 - within), -1)
    dome = body.dome - drop
    lung = _below(top) & ~_below(dome + curve * np.maximum(0, 1 - within))  # the right one, (x, y, z)

    half = extent.heart * (0.46 + body.lung) * body.width
    heart = ((_X - 0.10 - body.heart_tilt) / half)[:, None] ** 2 + ((_Y + 0.22) / (0.30 + 0.35 * half)) ** 2
    reach = 0.34 * _root(1 - heart)
    middle = (_X / 0.16)[:, None] ** 2 + ((_Y + 0.05) / 0.30) ** 2
    centre_organs = _below(reach - 0.32) & ~_below(-reach - 0.32)
    centre_organs |= _below(np.where(middle < 1, 0.75, -1)) & ~_below(np.full_like(middle, -0.3))
    free = {"right": lung & ~centre_organs[: _NX // 2], "left": lung[::-1] & ~centre_organs[_NX // 2 :]}

    front = (_FLUID - _WALL) * _along_y(centre_organs)
    side = (_FLUID - _WALL) * _along_x(centre_organs)
    halves = {"right": front[: _NX // 2], "left": front[_NX // 2 :]}
    for name, voxels in free.items():
        halves[name] += (_LUNG - _WALL) * _along_y(voxels)
        side += (_LUNG - _WALL) * _along_x(voxels)
    if findings.effusion:
        # Fluid gathers behind first and rises along the outer wall when there is more of it.
        rise = 0.22 * np.maximum(0, -aside) * min(max((extent.fluid - 0.18) / 0.1, 0), 1) + 0.16 * np.minimum(_Y, 0.5)
        _replace(_below(dome + extent.fluid - 0.04 + rise), _FLUID - _LUNG, findings.effusion, free, halves, side)
    if findings.pneumothorax:
        rim = extent.rim
        inner = ((_RIGHT - centre - rim / 2) / (wide - rim / 2))[:, None] ** 2 + (_Y / (deep - rim)) ** 2
        roof = np.where(inner < 1, 0.25 - rim / 2 + (body.apex - rim / 2) * _root(1 - inner), -1)
        outside = ~_below(np.maximum(roof, -0.2))
        _replace(outside, _AIR - _LUNG, findings.pneumothorax, free, halves, side)
    return front, side


def _replace(
    region: Voxels, amount: float, where: str, free: dict[str, Voxels], halves: dict[str, Plane], lateral: Plane
) -> None:
    """Change the lung within `region` (voxels of the right one) on the side `where`; on the lateral, on the right."""
    right = free["right"] & region
    halves[where] += amount * _along_y(right if where == "right" else free["left"] & region[::-1])
    lateral += amount * _along_x(right)


def _root(values: Plane) -> Plane:
    roots: Plane = np.sqrt(np.maximum(values, 0))
    return roots


def _chord(coordinate: Plane, radius: float) -> Plane:
    return _root(1 - (coordinate / radius) ** 2)


def _below(height: Plane) -> Voxels:
    """The voxels under a height (x, y), as (x, y, z)."""
    count = np.clip(np.ceil((height + 1) * ((_NZ - 1) / 2)), 0, _NZ).astype(np.int8)
    voxels: Voxels = count[..., None] > _LEVELS
    return voxels


def _along_y(voxels: Voxels) -> Plane:
    counts: Plane = voxels.view(np.uint8).sum(axis=1, dtype=np.uint8) / _NY
    return counts


def _along_x(voxels: Voxels) -> Plane:
    counts: Plane = voxels.view(np.uint8).sum(axis=0, dtype=np.uint8) / _NX
    return counts


def _sampled(plane: Plane, across: Plane, up: Plane) -> Plane:
    """A plane (across, up) of voxel sums at an image's coordinates, linearly between voxels, as (up, across)."""
    rows, upper = _between(plane.shape[1], up)
    columns, outer = _between(plane.shape[0], across)
    turned = plane.T
    by_row = turned[rows] * (1 - upper)[:, None] + turned[rows + 1] * upper[:, None]
    sampled: Plane = by_row[:, columns] * (1 - outer) + by_row[:, columns + 1] * outer
    return sampled


def _between(voxels: int, coordinates: Plane) -> tuple[NDArray[np.intp], Plane]:
    """The voxel before each coordinate and the share of the next; beyond the box its edge is repeated."""
    position = np.clip((coordinates + 1) * ((voxels - 1) / 2), 0, voxels - 1)
    before = np.minimum(position.astype(np.intp), voxels - 2)
    return before, position - before


def _draw_texture(canvas: Canvas, body: Body, edema: bool, across: Plane) -> None:
    """Vessels as a fan of ridges from the hilum; in edema they are wider and short septal lines stand at the edge."""
    outward = np.abs(across)
    inside = (outward > 0.12) & (outward < 0.78)
    rows = slice(*np.searchsorted(canvas.up, (-0.55, 0.65)))
    height = canvas.up[rows, None]
    fan = bumps((height - 0.05) / (outward + 0.30) * 3 + body.vessels, 0.30 if edema else 0.18)
    fading = np.maximum(0.8 - outward, 0) * inside
    canvas.plane[rows] += (0.026 if edema else 0.016) * fan * fading
    if edema:
        rows = slice(*np.searchsorted(canvas.up, (-0.40, -0.12)))
        band = (outward > 0.66) & (outward < 0.78)
        canvas.plane[rows] += 0.014 * bumps(canvas.up[rows, None] * 14, 0.25) * band


def _draw_ribs(frontal: Canvas, body: Body) -> None:
    inside = (np.abs(frontal.across) < 0.9 * body.width) & (np.abs(frontal.across) > 0.12)
    phase = frontal.up[:, None] * 4.5 + 1.2 * frontal.across**2 + body.ribs
    frontal.plane[...] += 0.022 * bumps(phase, 0.16) * inside


def _contrast(canvas: Canvas, across: float, up: float, amount: float, framing: Framing) -> float:
    """How far a structure of `amount` stands out at a point of an image, in standard deviations of its noise."""
    row, column = np.searchsorted(canvas.up, up), np.searchsorted(canvas.across, across)
    if not (0 < row < len(canvas.up) and 0 < column < len(canvas.across)):
        return 0.0
    gain = 2.2 * framing.exposure * _STEPS
    here = int(min(max(canvas.plane[row, column] * gain, 0), len(_TABLE) - 1))
    without = int(min(max((canvas.plane[row, column] - amount) * gain, 0), len(_TABLE) - 1))
    return float(_TABLE[here] - _TABLE[without]) / (framing.noise * _GREY * _FINE)


def _draw_belly(frontal: Canvas, lateral: Canvas, body: Body) -> None:
    """What lies under the domes in front: on a frontal it may look like fluid behind, and differs between the sides."""
    for sign, amount in zip((-1.0, 1.0), body.belly):
        blob(frontal, (sign * 0.46 * body.width, body.dome + 0.06), (0.34, 0.14), amount, soft=True)
        blob(lateral, (-0.20, body.dome - 0.02), (0.36, 0.14), amount, soft=True)


def _expose(plane: Plane, framing: Framing, generator: np.random.Generator) -> GreyImage:
    """Attenuation along each ray to grey values, with this study's exposure and noise."""
    index = np.clip(plane * (2.2 * framing.exposure * _STEPS), 0, len(_TABLE) - 1).astype(np.intp)
    grain = noise(generator, plane.size).reshape(plane.shape)
    strength = int(framing.noise * _GREY * _FINE / NOISE_SD * 256)
    grey = (_TABLE.take(index) + (grain * strength >> 8) + _FINE // 2) // _FINE
    image: GreyImage = np.clip(grey[::-1], 0, 255).astype(np.uint8)
    return image
