"""Torsos of widely varied shape, seen from the front and from the side, for what must tell a frontal from a lateral.

The scene of a phantom study is one anatomy with fixed landmarks; a classifier that learns from it alone knows its
drawing, not a chest. Here a coarse voxel box is filled anew with every draw: trunk, neck, shoulders, arms, lungs,
heart, spine, bowel, each of random size, place and density, turned a little about the body's axis, then summed along y
and along x. There is no report and no finding, and the detail is that of an image of 64 pixels a side. Not used by
`cxrgen phantom`, whose images stay as they are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
GreyImage = NDArray[np.uint8]
SIDE = 64  # pixels and voxels
_AXIS = np.linspace(-1, 1, SIDE, dtype=np.float32)


class _Box(NamedTuple):
    """Coordinates (x, y, z) of every voxel, broadcast: patient's right to left, front to back, feet to head."""

    x: Floats
    y: Floats
    z: Floats


def draw_torso(generator: np.random.Generator) -> tuple[GreyImage, GreyImage]:
    """One torso from the front and from the side, (SIDE, SIDE) uint8 each, bright where little passes through."""
    density = _filled(generator, _turned(generator))
    front, side = density.sum(axis=1).T[::-1], density.sum(axis=0).T[::-1]
    strength = generator.uniform(0.8, 2.6) / SIDE
    return _exposed(front, strength, generator), _exposed(side, strength * generator.uniform(0.7, 1.1), generator)


def _turned(generator: np.random.Generator) -> _Box:
    """The box, turned about the body's axis by a few degrees, shifted and scaled."""
    turn, zoom = generator.normal(0, 0.10), generator.uniform(0.75, 1.10)
    x, y, z = (zoom * _AXIS.reshape(shape) for shape in ((-1, 1, 1), (1, -1, 1), (1, 1, -1)))
    shift = generator.uniform(-0.12, 0.12, 3)
    x, y, z = x + shift[0], y + shift[1], z + shift[2]
    return _Box(x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn), z)


def _filled(generator: np.random.Generator, box: _Box) -> Floats:
    """The density of every voxel (x, y, z); what is painted later lies over what was painted before."""
    draw = generator.uniform
    wide, deep = draw(0.62, 0.95), draw(0.40, 0.66)
    density = np.zeros((SIDE, SIDE, SIDE), np.float32)
    trunk = _trunk(generator, box, wide, deep)
    density[trunk] = 1.0
    for sign in (-1.0, 1.0):
        _arm(generator, box, density, sign * wide)
        if generator.random() < 0.4:
            breast = _ellipsoid(box, (sign * wide / 2, -deep, draw(-0.4, 0.1)), (0.3 * wide, 0.25, draw(0.12, 0.3)))
            density[breast] = draw(0.8, 1.0)
    _chest(generator, box, density, (wide, deep), trunk)
    _bones(generator, box, density, (wide, deep), trunk)
    return density


def _trunk(generator: np.random.Generator, box: _Box, wide: float, deep: float) -> NDArray[np.bool_]:
    """Body and neck: a rounded cylinder that narrows above the shoulders and leans a little."""
    shoulders, slope = generator.uniform(0.45, 0.75), generator.uniform(0.15, 0.45)
    narrowed = np.clip((box.z - shoulders) / slope, 0, 1)
    neck = generator.uniform(0.18, 0.30)
    half_width = wide * (1 - narrowed) + neck * narrowed
    half_depth = deep * (1 + generator.uniform(-0.2, 0.3) * -box.z) * (1 - narrowed) + neck * narrowed
    lean = generator.normal(0, 0.08) * box.z
    inside: NDArray[np.bool_] = np.abs(box.x / half_width) ** 2.5 + np.abs((box.y - lean) / half_depth) ** 2.5 < 1
    return inside


def _arm(generator: np.random.Generator, box: _Box, density: Floats, side: float) -> None:
    """A shoulder, and mostly an arm that hangs, stands off or is raised; flesh about a bone."""
    draw = generator.uniform
    shoulder = (side * draw(0.85, 1.05), draw(-0.1, 0.15), draw(0.42, 0.68))
    density[_ellipsoid(box, shoulder, (0.22, 0.2, 0.22))] = draw(0.9, 1.2)
    if generator.random() < 0.75:
        away, ahead, up = draw(0.0, 0.5) * np.sign(side), draw(-0.5, 0.3), draw(-1.0, 1.0)
        for radius, amount in ((draw(0.13, 0.2), 1.0), (0.06, draw(1.4, 2.0))):
            density[_cylinder(box, shoulder, (away, ahead, up), radius)] = amount


def _chest(
    generator: np.random.Generator, box: _Box, density: Floats, size: tuple[float, float], trunk: NDArray[np.bool_]
) -> None:
    """Lungs above the domes of the diaphragm, with what may dim them; heart and great vessels; bowel gas below."""
    draw, (wide, deep) = generator.uniform, size
    dome, top = draw(-0.65, -0.15), draw(0.45, 0.75)
    gap = draw(0.06, 0.16)
    air = draw(0.15, 0.45)
    for sign in (-1.0, 1.0):
        centre = sign * (gap + (0.86 * wide - gap) / 2)
        lung = _ellipsoid(
            box, (centre, draw(-0.05, 0.1), draw(-0.2, 0.1)), ((0.86 * wide - gap) / 1.8, draw(0.8, 0.95) * deep, top)
        )
        height = dome + draw(-0.06, 0.06) + draw(0.1, 0.3) * (1 - (box.y / deep) ** 2) - draw(0.0, 0.35) * box.y / deep
        height = height - draw(0.0, 0.2) * np.abs((box.x - centre) / wide)
        lung = lung & (box.z > height) & trunk
        density[lung] = air * draw(0.85, 1.15)
        if generator.random() < 0.12:  # one whole lung, or the lower part of it, is white
            density[lung & (box.z < draw(-0.3, 0.9))] = draw(0.7, 1.05)
        for _ in range(generator.poisson(0.7)):
            place = (centre + draw(-0.2, 0.2), draw(-0.4, 0.4), draw(-0.4, 0.5))
            density[lung & _ellipsoid(box, place, tuple(draw(0.08, 0.35, 3)))] = draw(0.4, 1.0)
    middle = (box.x / gap) ** 2 + ((box.y - draw(-0.1, 0.15)) / (draw(0.45, 0.9) * deep)) ** 2
    density[(middle < 1) & (box.z < draw(0.4, 0.8)) & trunk] = draw(0.9, 1.1)
    half = draw(0.24, 0.48) * wide
    heart = _ellipsoid(box, (draw(0.02, 0.16), draw(-0.55, -0.1) * deep, dome + draw(0.1, 0.4)), (half, half, half))
    density[heart & trunk] = draw(0.95, 1.15)
    if generator.random() < 0.5:
        gas = _ellipsoid(box, (draw(0.1, 0.5), draw(-0.2, 0.2), dome - draw(0.05, 0.25)), tuple(draw(0.06, 0.22, 3)))
        density[gas & trunk] = draw(0.05, 0.4)
    airway = ((box.x - draw(-0.03, 0.03)) ** 2 + (box.y - draw(-0.05, 0.1)) ** 2 < draw(0.03, 0.06) ** 2) & (
        box.z > 0.2
    )
    density[airway & trunk] = 0.1


def _bones(
    generator: np.random.Generator, box: _Box, density: Floats, size: tuple[float, float], trunk: NDArray[np.bool_]
) -> None:
    """Spine with its vertebrae, breastbone, ribs in the wall, collar bones and shoulder blades."""
    draw, (wide, deep) = generator.uniform, size
    behind = draw(0.5, 0.75) * deep - draw(0.0, 0.35) * box.z**2 + draw(-0.1, 0.1) * box.z
    aside = draw(-0.06, 0.06) * np.sin(draw(1, 3) * box.z)
    spine = ((box.x - aside) / draw(0.08, 0.14)) ** 2 + ((box.y - behind) / draw(0.10, 0.17)) ** 2 < 1
    bone = draw(1.2, 2.2)
    disc = np.sin(box.z * draw(16, 26) + draw(0, 6)) > 0.5
    density[spine & trunk] = bone
    density[spine & trunk & disc] = 0.8 * bone
    sternum = (np.abs(box.x) < 0.08) & (np.abs(box.y + draw(0.85, 0.95) * deep) < 0.05) & (np.abs(box.z - 0.1) < 0.4)
    density[sternum & trunk] = bone * 0.8
    shell = np.abs(np.abs(box.x / (0.9 * wide)) ** 2.2 + np.abs(box.y / (0.92 * deep)) ** 2.2 - 0.95) < 0.12
    ribs = np.sin(draw(12, 20) * (box.z + draw(0.1, 0.5) * box.y) + draw(0, 6)) > draw(0.2, 0.7)
    density[shell & ribs & trunk & (box.z > draw(-0.7, -0.2)) & (box.z < 0.65)] = draw(1.1, 1.9)
    for sign in (-1.0, 1.0):
        clavicle = (sign * 0.1, -0.5 * deep, draw(0.42, 0.6)), (sign * 0.8, draw(0, 0.5), draw(0.0, 0.3)), 0.045
        density[_cylinder(box, *clavicle) & trunk] = bone * 0.8
        blade = _ellipsoid(box, (sign * draw(0.6, 0.9) * wide, draw(0.6, 0.85) * deep, 0.3), (0.2, 0.05, 0.25))
        density[blade] = draw(1.0, 1.5)


def _ellipsoid(box: _Box, centre: tuple[float, ...], radii: tuple[float, ...]) -> NDArray[np.bool_]:
    parts = (((axis - middle) / radius) ** 2 for axis, middle, radius in zip(box, centre, radii))
    inside: NDArray[np.bool_] = np.asarray(sum(parts) < 1)
    return inside


def _cylinder(box: _Box, start: tuple[float, ...], direction: tuple[float, ...], radius: float) -> NDArray[np.bool_]:
    """The half-infinite rod from `start` in `direction`."""
    unit = np.asarray(direction, np.float32) / (np.linalg.norm(direction) + 1e-6)
    away = [axis - begin for axis, begin in zip(box, start)]
    along = sum(part * step for part, step in zip(away, unit))
    inside: NDArray[np.bool_] = (along > 0) & (sum(part**2 for part in away) - along**2 < radius**2)
    return inside


def _exposed(paths: Floats, strength: float, generator: np.random.Generator) -> GreyImage:
    """The amount of tissue on each ray to grey, by a curve between an exponential and a straight line."""
    amount = paths * strength
    curve = generator.random()
    grey = curve * (1 - np.exp(-amount)) + (1 - curve) * amount / max(float(amount.max()), 1e-6)
    grey = grey - grey.min()
    image: GreyImage = np.rint(grey * (255 / max(float(grey.max()), 1e-6))).astype(np.uint8)
    return image
