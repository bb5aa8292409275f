"""One 3-D scene a study, and its two parallel projections.

Coordinates run from -1 to 1: x from the patient's right to left (the right side stands at the left of the film), y from
front to back, z from feet to head. Organs are painted into a coarse voxel box in order of priority, so that overlap is
true: fluid and free air replace lung. The frontal is the sum along y, the lateral the sum along x. An opacity is added
at full resolution as the chord of an ellipsoid: its frontal does not depend on its depth at all, and since the lungs
are mirror images of each other, nothing on a lateral tells left from right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrgen.phantom.findings import Findings

Film = NDArray[np.uint8]
Volume = NDArray[np.float32]
Plane = NDArray[np.float64]
_NX, _NY, _NZ = 64, 48, 64
_AIR, _LUNG, _FAT_WALL, _FLUID, _BONE = 0.01, 0.10, 0.42, 0.50, 0.95
_FLUID_DEPTH = {"small": 0.16, "moderate": 0.30, "large": 0.50}  # above the edge of the diaphragm

_X = np.linspace(-1, 1, _NX, dtype=np.float32)[:, None, None]
_Y = np.linspace(-1, 1, _NY, dtype=np.float32)[None, :, None]
_Z = np.linspace(-1, 1, _NZ, dtype=np.float32)[None, None, :]


@dataclass(frozen=True)
class Body:
    """What varies between patients, and between films of one; none of it depends on the findings."""

    width: float
    depth: float
    dome: float  # height of the diaphragm
    apex: float  # height of the lungs above their middle
    lung: float  # half width of a lung
    heart_tilt: float
    exposure: float
    noise: float
    ribs: float  # phase of the rib pattern
    zoom: float  # scene units a half film shows
    shift: tuple[float, float, float]  # of the film against the scene, in x, y, z


def draw_body(generator: np.random.Generator) -> Body:
    return Body(
        width=generator.uniform(0.84, 1.04),
        depth=generator.uniform(0.84, 1.04),
        dome=generator.uniform(-0.70, -0.48),
        apex=generator.uniform(0.50, 0.66),
        lung=generator.uniform(0.33, 0.39),
        heart_tilt=generator.uniform(-0.05, 0.05),
        exposure=generator.uniform(0.8, 1.2),
        noise=generator.uniform(0.010, 0.025),
        ribs=generator.uniform(0.0, 1.0),
        zoom=generator.uniform(0.92, 1.12),
        shift=(generator.uniform(-0.1, 0.1), generator.uniform(-0.1, 0.1), generator.uniform(-0.1, 0.1)),
    )


def draw_scene(findings: Findings, size: int, generator: np.random.Generator) -> tuple[Film, Film]:
    """Frontal and lateral, (size, size) uint8, bright where little passes through."""
    body = draw_body(generator)
    volume = _paint(findings, body, generator)
    pixels = np.linspace(-1, 1, size) * body.zoom
    x, y, z = (pixels + shift for shift in body.shift)  # scene coordinate of each film column or row
    frontal = _project(volume.sum(axis=1) / _NY, x, z)
    lateral = _project(volume.sum(axis=0) / _NX, y, z)
    if findings.opacity:
        front, side = _opacity(findings.opacity, body, (x, y, z), generator)
        frontal, lateral = frontal + front, lateral + side
    frontal = frontal + _ribs(body, x, z)
    # Row 0 of a film is the head.
    return _expose(frontal[::-1], body, generator), _expose(lateral[::-1], body, generator)


def _paint(findings: Findings, body: Body, generator: np.random.Generator) -> Volume:
    """Attenuation of every voxel, (x, y, z) float32."""
    volume = np.zeros((_NX, _NY, _NZ), dtype=np.float32)
    volume[((_X / (0.95 * body.width)) ** 2 + (_Y / (0.92 * body.depth)) ** 2 + 0 * _Z) < 1] = _FAT_WALL
    half_width = generator.uniform(0.42, 0.52) if findings.cardiomegaly else generator.uniform(0.26, 0.33)
    rim = generator.uniform(0.08, 0.18)
    for side, sign in (("right", -1.0), ("left", 1.0)):
        centre, radius_x, radius_y = sign * 0.46 * body.width, body.lung * body.width, 0.72 * body.depth
        across, along = (_X - centre) / radius_x, _Y / radius_y
        radial = across**2 + along**2 + (np.maximum(_Z - 0.25, 0) / body.apex) ** 2
        floor = body.dome + 0.20 * np.maximum(0, 1 - across**2 - along**2)
        lung = (radial < 1) & (floor < _Z)
        volume[lung] = _LUNG
        if findings.pneumothorax == side:
            inner = ((_X - centre + sign * rim / 2) / (radius_x - rim / 2)) ** 2 + (_Y / (radius_y - rim)) ** 2
            inner = inner + (np.maximum(_Z - 0.25 + rim / 2, 0) / (body.apex - rim / 2)) ** 2
            volume[lung & (inner >= 1) & (_Z > -0.2)] = _AIR
        if findings.effusion == side:
            rise = 0.22 * np.maximum(0, sign * (_X - centre)) / radius_x + 0.12 * np.maximum(0, _Y)
            level = body.dome + _FLUID_DEPTH[findings.effusion_size]
            volume[lung & (level + rise > _Z)] = _FLUID
    heart = (
        ((_X - 0.10 - body.heart_tilt) / half_width) ** 2
        + ((_Y + 0.22) / (0.30 + 0.35 * half_width)) ** 2
        + ((_Z + 0.32) / 0.34) ** 2
    )
    volume[heart < 1] = _FLUID
    volume[((_X / 0.16) ** 2 + ((_Y + 0.05) / 0.30) ** 2 + 0 * _Z < 1) & (_Z > -0.3) & (_Z < 0.75)] = _FLUID
    volume[((_X / 0.11) ** 2 + ((_Y - 0.66) / 0.16) ** 2 + 0 * _Z) < 1] = _BONE
    return volume


def _opacity(
    lobe: str, body: Body, axes: tuple[Plane, Plane, Plane], generator: np.random.Generator
) -> tuple[Plane, Plane]:
    """What the opacity adds to the frontal (z, x) and to the lateral (z, y)."""
    sign = -1.0 if lobe.startswith("right") else 1.0
    upper = "upper" in lobe
    anterior = "middle" in lobe or lobe == "lingula"
    x = sign * generator.uniform(0.40, 0.56) * body.width
    z = generator.uniform(0.22, 0.42) if upper else generator.uniform(-0.30, -0.10)
    depth = generator.uniform(0.22, 0.42)
    y = generator.uniform(-0.15, 0.15) if upper else (-depth if anterior else depth)
    radius_x, radius_y, radius_z = generator.uniform(0.12, 0.18, 3)
    # The same greatest chord in both directions: neither depth nor side changes the other view.
    thickness = generator.uniform(0.045, 0.065)
    up = ((axes[2] - z) / radius_z)[:, None] ** 2
    frontal = 1 - ((axes[0] - x) / radius_x)[None, :] ** 2 - up
    lateral = 1 - ((axes[1] - y) / radius_y)[None, :] ** 2 - up
    return thickness * np.sqrt(np.maximum(frontal, 0)), thickness * np.sqrt(np.maximum(lateral, 0))


def _ribs(body: Body, x: Plane, z: Plane) -> Plane:
    """Thin arcs across the frontal, (z, x)."""
    wave = np.cos(2 * np.pi * (z[:, None] * 4.5 + 1.2 * x[None, :] ** 2 + body.ribs))
    inside = (np.abs(x) < 0.9 * body.width) & (np.abs(x) > 0.12)
    ribs: Plane = 0.012 * np.maximum(0, wave - 0.6) / 0.4 * inside[None, :]
    return ribs


def _project(plane: Volume, across: Plane, up: Plane) -> Plane:
    """A summed volume (x or y, z) sampled at the scene coordinates of a film, (up, across)."""
    projected: Plane = _interpolation(plane.shape[1], up) @ plane.T @ _interpolation(plane.shape[0], across).T
    return projected


def _interpolation(voxels: int, coordinates: Plane) -> Plane:
    """Matrix (coordinates, voxels) of linear interpolation weights; beyond the box its edge is repeated."""
    position = np.clip((coordinates + 1) / 2 * (voxels - 1), 0, voxels - 1)
    left = np.minimum(position.astype(int), voxels - 2)
    rows = np.arange(len(coordinates))
    matrix = np.zeros((len(coordinates), voxels))
    matrix[rows, left] = 1 - (position - left)
    matrix[rows, left + 1] = position - left
    return matrix


def _expose(thickness: Plane, body: Body, generator: np.random.Generator) -> Film:
    """Attenuation along each ray to grey values, with this film's exposure and noise."""
    values = 1 - np.exp(-2.2 * body.exposure * thickness)
    values = values + generator.normal(0, body.noise, thickness.shape)
    film: Film = np.clip(np.rint(values * 330), 0, 255).astype(np.uint8)
    return film
