"""One 3-D scene a study, and its two parallel projections.

Coordinates run from -1 to 1: x from the patient's right to left (the right side stands at the left of the film), y from
front to back, z from feet to head. Organs are painted into a coarse voxel box in order of priority, so that overlap is
true: fluid and free air replace lung. The frontal is the sum along y, the lateral the sum along x. An opacity is added
at full resolution as the chord of an ellipsoid: its frontal does not depend on its depth at all, and since the lungs
are mirror images of each other, nothing on a lateral tells left from right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrgen.phantom.findings import Findings

Film = NDArray[np.uint8]
Volume = NDArray[np.floating[Any]]
_NX, _NY, _NZ = 64, 48, 64
_AIR, _LUNG, _FAT_WALL, _FLUID, _BONE = 0.01, 0.10, 0.42, 0.50, 0.95
_FLUID_LEVEL = {"small": -0.50, "moderate": -0.34, "large": -0.10}

_X = np.linspace(-1, 1, _NX, dtype=np.float32)[:, None, None]
_Y = np.linspace(-1, 1, _NY, dtype=np.float32)[None, :, None]
_Z = np.linspace(-1, 1, _NZ, dtype=np.float32)[None, None, :]


@dataclass(frozen=True)
class Body:
    """What varies between patients, and between films of one; none of it depends on the findings."""

    width: float
    depth: float
    dome: float  # height of the diaphragm
    heart_tilt: float
    exposure: float
    noise: float
    ribs: float  # phase of the rib pattern


def draw_body(generator: np.random.Generator) -> Body:
    return Body(
        width=generator.uniform(0.92, 1.04),
        depth=generator.uniform(0.92, 1.04),
        dome=generator.uniform(-0.66, -0.56),
        heart_tilt=generator.uniform(-0.03, 0.03),
        exposure=generator.uniform(0.9, 1.1),
        noise=generator.uniform(0.010, 0.020),
        ribs=generator.uniform(0.0, 1.0),
    )


def draw_scene(findings: Findings, size: int, generator: np.random.Generator) -> tuple[Film, Film]:
    """Frontal and lateral, (size, size) uint8, bright where little passes through."""
    body = draw_body(generator)
    volume = _paint(findings, body, generator)
    frontal = _enlarge(volume.sum(axis=1) / _NY, size)
    lateral = _enlarge(volume.sum(axis=0) / _NX, size)
    if findings.opacity:
        front, side = _opacity(findings.opacity, body, size, generator)
        frontal, lateral = frontal + front, lateral + side
    frontal = frontal + _ribs(body, size)
    return _expose(frontal, body, generator), _expose(lateral, body, generator)


def _paint(findings: Findings, body: Body, generator: np.random.Generator) -> Volume:
    """Attenuation of every voxel, (x, y, z) float32."""
    volume = np.zeros((_NX, _NY, _NZ), dtype=np.float32)
    volume[((_X / (0.95 * body.width)) ** 2 + (_Y / (0.92 * body.depth)) ** 2 + 0 * _Z) < 1] = _FAT_WALL
    half_width = generator.uniform(0.42, 0.52) if findings.cardiomegaly else generator.uniform(0.26, 0.33)
    rim = generator.uniform(0.12, 0.22)
    for side, sign in (("right", -1.0), ("left", 1.0)):
        centre, radius_x, radius_y = sign * 0.46 * body.width, 0.37 * body.width, 0.72 * body.depth
        across, along = (_X - centre) / radius_x, _Y / radius_y
        radial = across**2 + along**2 + (np.maximum(_Z - 0.25, 0) / 0.62) ** 2
        floor = body.dome + 0.20 * np.maximum(0, 1 - across**2 - along**2)
        lung = (radial < 1) & (floor < _Z)
        volume[lung] = _LUNG
        if findings.pneumothorax == side:
            inner = ((_X - centre + sign * rim / 2) / (radius_x - rim / 2)) ** 2 + (_Y / (radius_y - rim)) ** 2
            inner = inner + (np.maximum(_Z - 0.25 + rim / 2, 0) / (0.62 - rim / 2)) ** 2
            volume[lung & (inner >= 1) & (_Z > -0.2)] = _AIR
        if findings.effusion == side:
            rise = 0.22 * np.maximum(0, sign * (_X - centre)) / radius_x + 0.12 * np.maximum(0, _Y)
            volume[lung & (_FLUID_LEVEL[findings.effusion_size] + rise > _Z)] = _FLUID
    heart = (
        ((_X - 0.10 - body.heart_tilt) / half_width) ** 2
        + ((_Y + 0.22) / (0.30 + 0.35 * half_width)) ** 2
        + ((_Z + 0.32) / 0.34) ** 2
    )
    volume[heart < 1] = _FLUID
    volume[((_X / 0.16) ** 2 + ((_Y + 0.05) / 0.30) ** 2 + 0 * _Z < 1) & (_Z > -0.3) & (_Z < 0.75)] = _FLUID
    volume[((_X / 0.11) ** 2 + ((_Y - 0.66) / 0.16) ** 2 + 0 * _Z) < 1] = _BONE
    return volume


def _opacity(lobe: str, body: Body, size: int, generator: np.random.Generator) -> tuple[Volume, Volume]:
    """Chord lengths of the opacity on the frontal and on the lateral, (size, size) each."""
    sign = -1.0 if lobe.startswith("right") else 1.0
    upper = "upper" in lobe
    anterior = "middle" in lobe or lobe == "lingula"
    x = sign * generator.uniform(0.40, 0.56) * body.width
    z = generator.uniform(0.22, 0.42) if upper else generator.uniform(-0.32, -0.12)
    depth = generator.uniform(0.22, 0.42)
    y = generator.uniform(-0.15, 0.15) if upper else (-depth if anterior else depth)
    radius_x, radius_y, radius_z = generator.uniform(0.13, 0.19, 3)
    strength = generator.uniform(0.30, 0.40)
    grid = np.linspace(-1, 1, size, dtype=np.float32)
    columns, rows = grid[None, :], -grid[:, None]
    frontal = 1 - ((columns - x) / radius_x) ** 2 - ((rows - z) / radius_z) ** 2
    lateral = 1 - ((columns - y) / radius_y) ** 2 - ((rows - z) / radius_z) ** 2
    # The same greatest chord in both directions: neither depth nor side changes the other view.
    thickness = strength * 0.16
    front, side = (thickness * np.sqrt(np.maximum(square, 0)) for square in (frontal, lateral))
    return front.astype(np.float32), side.astype(np.float32)


def _ribs(body: Body, size: int) -> Volume:
    """Thin arcs across the frontal."""
    grid = np.linspace(-1, 1, size, dtype=np.float32)
    columns, rows = grid[None, :], -grid[:, None]
    wave = np.cos(2 * np.pi * (rows * 4.5 + 1.2 * np.abs(columns) ** 2 + body.ribs))
    inside = (np.abs(columns) < 0.9 * body.width) & (np.abs(columns) > 0.12)
    ribs: Volume = (0.012 * np.maximum(0, wave - 0.6) / 0.4 * inside).astype(np.float32)
    return ribs


def _enlarge(plane: Volume, size: int) -> Volume:
    """(64 or 48, 64) with z last to (size, size) with the head on top, by linear interpolation."""
    across = _interpolation(plane.shape[0], size)
    upward = _interpolation(plane.shape[1], size)
    enlarged: Volume = (upward @ plane.T @ across.T)[::-1]
    return enlarged


def _interpolation(old: int, new: int) -> Volume:
    """Matrix (new, old) of linear interpolation weights."""
    position = np.linspace(0, old - 1, new)
    left = np.minimum(position.astype(int), old - 2)
    weight = (position - left).astype(np.float32)
    matrix = np.zeros((new, old), dtype=np.float32)
    matrix[np.arange(new), left] = 1 - weight
    matrix[np.arange(new), left + 1] = weight
    return matrix


def _expose(thickness: Volume, body: Body, generator: np.random.Generator) -> Film:
    """Attenuation along each ray to grey values, with this film's exposure and noise."""
    values = 1 - np.exp(-2.2 * body.exposure * thickness)
    values = values + generator.normal(0, body.noise, thickness.shape)
    film: Film = np.clip(np.rint(values * 330), 0, 255).astype(np.uint8)
    return film
