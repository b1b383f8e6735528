"""Paint of solids, two colors in a procedural pattern, and its shading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mvtrain.synth.raycast import Floats32, Shape, View, normals
from mvtrain.synth.spec import Floats

TO_LIGHT = np.array([0.38, -0.30, 0.87]) / np.linalg.norm([0.38, -0.30, 0.87])
"""Direction to the lamp, in the world."""

LAMP = np.array([0.98, 0.93, 0.86])

SKY = np.array([0.36, 0.38, 0.42])

GROUND = np.array([0.20, 0.18, 0.16])
"""Linear RGB of the lamp, and of the light from above and from the floor."""

FLOOR_LIGHT = LAMP * TO_LIGHT[2] + SKY
"""Light on the floor away from all shadows."""

_GRAIN = np.array([[1.9, 0.7, -0.4, 0.3], [-0.5, 1.7, 1.1, 1.9], [0.8, -1.2, 1.6, 4.1]])


@dataclass(frozen=True, kw_only=True)
class Material:
    """Paint of one solid; colors are linear RGB.

    Attributes:
        color: (3,) ground color.
        second: (3,) color of spots or stripes.
        under: (3,) color of surfaces that face down.
        waves: (J, 4) sinusoids, three frequencies in rad/mm along the solid's axes and a phase; the pattern is their
            mean.
        threshold: Value of the pattern above which the second color begins, between -1 and 1.
        grain: Relative amplitude of fine streaks, such as fur.
        gloss: Strength of the highlight.
    """

    color: Floats
    second: Floats
    under: Floats
    waves: Floats = field(default_factory=lambda: np.zeros((1, 4)))
    threshold: float = 2.0
    grain: float = 0.0
    gloss: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Part:
    """A solid and its paint."""

    shape: Shape
    material: Material

    def at(self, frames: slice) -> Part:
        """Return the part in some of its frames."""
        return Part(shape=self.shape.at(frames), material=self.material)


def plain(color: Floats, *, gloss: float = 0.0, grain: float = 0.0) -> Material:
    """Return a paint of one color."""
    return Material(color=color, second=color, under=color, gloss=gloss, grain=grain)


def stripes(color: Floats, second: Floats, axis: int, width: float) -> Material:
    """Return a paint with stripes of `width` mm across one of the solid's axes."""
    wave = np.zeros((1, 4))
    wave[0, axis] = np.pi / width
    return Material(color=color, second=second, under=color, waves=wave, threshold=0.0, gloss=0.1)


def random_waves(rng: np.random.Generator, wavelength: float, num_waves: int = 5) -> Floats:
    """Draw (J, 4) waves in random directions with wavelengths around the given number of mm."""
    direction = rng.normal(size=(num_waves, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    frequency = 2 * np.pi / (wavelength * rng.uniform(0.7, 1.4, (num_waves, 1)))
    return np.concatenate([direction * frequency, 2 * np.pi * rng.random((num_waves, 1))], axis=1)


def light_of_hits(
    parts: Sequence[Part],
    depth: Floats32,
    owner: npt.NDArray[np.int16],
    frames: npt.NDArray[np.intp],
    pixels: npt.NDArray[np.intp],
    view: View,
) -> Floats32:
    """Return (N, 3) linear RGB of N pixels that see a solid.

    Args:
        parts: Parts over T frames.
        depth: (N,) distance along the ray in mm.
        owner: (N,) position in `parts`, none negative.
        frames: (N,) frame of each pixel.
        pixels: (N,) pixels, counted row by row.
        view: View of the camera.
    """
    light = np.empty((len(depth), 3), dtype=np.float32)
    order = np.argsort(owner, kind="stable")
    bounds = np.searchsorted(owner[order], np.arange(len(parts) + 1))
    origin = view.origin.astype(np.float32)
    for part, start, stop in zip(parts, bounds[:-1], bounds[1:], strict=True):
        if start == stop:
            continue
        mine = order[start:stop]
        ray = view.directions[:, pixels[mine]].T
        points = origin + depth[mine, None] * ray
        outward, local = normals(part.shape, frames[mine], points)
        color = paint(part.material, local, outward)
        light[mine] = shade(color, outward, -ray, points[:, 2], part.material.gloss)
    return light


def paint(material: Material, local: Floats32, world_normals: Floats32) -> Floats32:
    """Return (N, 3) linear RGB at surface points (N, 3) in mm along the solid's axes."""
    color = np.broadcast_to(material.color.astype(np.float32), local.shape)
    if material.threshold < 1:
        pattern = _wave_mean(material.waves, local)
        color = _mix(color, material.second, _step((pattern - material.threshold) / np.float32(0.12) + np.float32(0.5)))
    if not np.array_equal(material.under, material.color):
        color = _mix(color, material.under, _step((np.float32(0.1) - world_normals[:, 2]) * np.float32(1.4)))
    if material.grain:
        color = color * (1 + np.float32(material.grain) * _wave_mean(_GRAIN, local))[:, None]
    return color


def shade(color: Floats32, normals: Floats32, to_camera: Floats32, height: Floats32, gloss: float) -> Floats32:
    """Return (N, 3) light from a surface to the camera: lamp, sky, floor, a highlight; darker close to the floor.

    Args:
        color: (N, 3) linear RGB of the surface.
        normals: (N, 3) normals in the world.
        to_camera: (N, 3) unit vectors to the camera in the world.
        height: (N,) height above the floor in mm.
        gloss: Strength of the highlight.
    """
    light, lamp = TO_LIGHT.astype(np.float32), LAMP.astype(np.float32)
    facing = _dot(normals, light)
    # Fur scatters: light reaches a little past the edge of the lit side.
    lit = np.maximum((facing + np.float32(0.15)) / np.float32(1.15), 0)
    up = (normals[:, 2] * np.float32(0.5) + np.float32(0.5))[:, None]
    ambient = up * SKY.astype(np.float32) + (1 - up) * GROUND.astype(np.float32)
    ambient = ambient * (np.float32(0.45) + np.float32(0.55) * _step(height / np.float32(110.0)))[:, None]
    result = color * (lit[:, None] * lamp + ambient)
    if gloss:
        halfway = to_camera + light
        halfway = halfway / np.sqrt(_dot(halfway, halfway))[:, None]
        shine = np.maximum(_dot(normals, halfway), 0)
        for _ in range(5):
            shine = shine * shine
        result = result + np.float32(gloss) * (shine * (facing > 0))[:, None] * lamp
    return result


def _wave_mean(waves: Floats, points: Floats32) -> Floats32:
    # Written out: a matrix product's rounding could depend on the number of rows.
    total = np.zeros(len(points), dtype=np.float32)
    for x, y, z, phase in waves.astype(np.float32):
        total += np.sin(x * points[:, 0] + y * points[:, 1] + z * points[:, 2] + phase)
    return total / np.float32(len(waves))


def _mix(first: Floats32, second: Floats, amount: Floats32) -> Floats32:
    return first + amount[:, None] * (second.astype(np.float32) - first)


def _step(value: Floats32) -> Floats32:
    """Return the smooth step from 0 at 0 to 1 at 1."""
    value = np.clip(value, 0, 1)
    return value * value * (3 - 2 * value)


def _dot(first: Floats32, second: Floats32) -> Floats32:
    product = first * second
    return product[..., 0] + product[..., 1] + product[..., 2]
