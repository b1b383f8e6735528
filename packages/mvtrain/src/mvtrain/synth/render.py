"""Rendering: light and shadows, and the sensor with exposure, color cast, vignetting, tone curve, blur and noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mvtrain.synth.animal import Skeleton
from mvtrain.synth.materials import FLOOR_LIGHT, LAMP, TO_LIGHT, Part, light_of_hits
from mvtrain.synth.raycast import Floats32, Shape, View, candidates, rasterize
from mvtrain.synth.room import floor_points, room_light
from mvtrain.synth.scene import Scene
from mvtrain.synth.spec import Floats, Purpose, generator

Image = npt.NDArray[np.uint8]

_CURVE_STEPS = 4096

_CASTERS = {
    "pelvis": 34.0,
    "trunk_middle": 36.0,
    "chest": 34.0,
    "neck": 24.0,
    "head": 22.0,
    "nose": 9.0,
    "tail_1": 9.0,
    "tail_mid": 8.0,
    "tail_3": 7.0,
    "tail_tip": 6.0,
    "left_knee": 15.0,
    "right_knee": 15.0,
    "left_elbow": 12.0,
    "right_elbow": 12.0,
    "left_front_paw": 10.0,
    "right_front_paw": 10.0,
    "left_hind_paw": 11.0,
    "right_hind_paw": 11.0,
}
"""Radii in mm of the balls that cast the animal's shadow, for an animal of size 1."""

_DEEPEST = float((LAMP * TO_LIGHT[2] / FLOOR_LIGHT).mean())
"""Fraction of the floor's light that comes from the lamp, which a shadow can remove."""

CHUNK_PIXELS = 1_500_000
"""Number of pixels rendered at once: large enough for a small overhead of NumPy, small enough for about 50 MB."""


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """Properties of one camera's sensor.

    Attributes:
        gain: (H*W, 3) float32 factor on linear RGB: exposure, color cast and vignetting.
        curve: (4096,) uint8 gray levels of linear values from 0 to 1.
        blur: Standard deviation of the blur in px.
        noise: (n,) int16 long strip of noise, from which each image gets a piece.
    """

    gain: Floats32
    curve: Image
    blur: float
    noise: npt.NDArray[np.int16]


def render(scene: Scene, view: View, *, seed: int, number: int, sensor_noise: float) -> Iterator[Image]:
    """Render the images of camera `number` in order of time.

    Args:
        scene: Scene over T frames.
        view: View of the camera.
        seed: Random seed of the spec.
        number: Position of the camera.
        sensor_noise: Standard deviation of the noise in gray levels.

    Yields:
        T images (H, W, 3), BGR.
    """
    sensor = make_sensor(view, seed, scene.number, number, sensor_noise)
    empty_light, floor = room_light(scene.room, view), floor_points(view)
    empty = develop(sensor, empty_light, slice(None))
    parts, casters = scene.body + scene.occluders, shadow_casters(scene.skeleton)
    count, step = len(scene.skeleton.keypoints), max(1, CHUNK_PIXELS // (view.width * view.height))
    for start in range(0, count, step):
        stop = min(start + step, count)
        frames, pixels, light = changed_pixels(
            [part.at(slice(start, stop)) for part in parts],
            [(center[start:stop], radius) for center, radius in casters],
            empty_light,
            floor,
            view,
        )
        sharp = np.repeat(empty[None], stop - start, axis=0)
        sharp[frames, pixels] = develop(sensor, light, pixels)
        for frame, image in enumerate(sharp.reshape(-1, view.height, view.width, 3), start=start):
            yield expose(sensor, image, generator(seed, Purpose.SENSOR_NOISE, scene.number, number, frame))


def make_sensor(view: View, seed: int, session: int, number: int, noise: float) -> Sensor:
    """Make the sensor of camera `number`; its settings differ a little from session to session.

    Args:
        view: View of the camera.
        seed: Random seed of the spec.
        session: Position of the session.
        number: Position of the camera.
        noise: Standard deviation of the noise in gray levels.
    """
    rng = generator(seed, Purpose.SENSOR, session, number)
    exposure, cast, gamma = rng.uniform(0.88, 1.15), rng.uniform(0.94, 1.06, 3), rng.uniform(2.0, 2.3)
    middle = view.camera.rotation[0, 2]
    off_axis = (view.directions.T @ middle.astype(np.float32)) ** rng.uniform(2.0, 4.0)
    levels = (np.arange(_CURVE_STEPS) + 0.5) / _CURVE_STEPS
    strip = generator(seed, Purpose.SENSOR_NOISE, session, number).normal(0, noise, 4 * 3 * view.width * view.height)
    return Sensor(
        gain=(off_axis[:, None] * (exposure * cast)).astype(np.float32),
        curve=np.round(255 * levels ** (1 / gamma)).astype(np.uint8),
        blur=float(rng.uniform(0.45, 0.75)),
        noise=np.round(strip).astype(np.int16),
    )


def develop(sensor: Sensor, light: Floats32, pixels: npt.NDArray[np.intp] | slice) -> Image:
    """Return (N, 3) BGR gray levels of (N, 3) linear RGB at the given pixels, before blur and noise."""
    level = light * sensor.gain[pixels] * np.float32(_CURVE_STEPS)
    return sensor.curve[np.clip(level, 0, _CURVE_STEPS - 1).astype(np.intp)][:, ::-1]


def expose(sensor: Sensor, sharp: Image, rng: np.random.Generator) -> Image:
    """Return the image as recorded: (H, W, 3) blurred and noisy.

    Args:
        sensor: Sensor of the camera.
        sharp: (H, W, 3) gray levels from `develop`.
        rng: Generator of the frame.
    """
    blurred = cv2.GaussianBlur(sharp, (5, 5), sensor.blur, borderType=cv2.BORDER_REPLICATE)
    start = int(rng.integers(0, len(sensor.noise) - sharp.size))
    piece = sensor.noise[start : start + sharp.size].reshape(sharp.shape)
    return np.asarray(cv2.add(blurred, piece, dtype=cv2.CV_8U), dtype=np.uint8)


def changed_pixels(
    parts: list[Part], casters: list[tuple[Floats, float]], empty_light: Floats32, floor: Floats32, view: View
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats32]:
    """Find pixels where a solid or a shadow changes the empty room: frames (N,), pixels (N,), linear RGB (N, 3)."""
    depth, owner = rasterize([part.shape for part in parts], view)
    shadow = floor_shadow(casters, floor, view)
    dark_frames, dark_pixels = np.nonzero((shadow < 0.999) & (owner < 0))
    dark = empty_light[dark_pixels] * shadow[dark_frames, dark_pixels, None]
    frames, pixels = np.nonzero(owner >= 0)
    lit = light_of_hits(parts, depth[frames, pixels], owner[frames, pixels], frames, pixels, view)
    return np.concatenate([dark_frames, frames]), np.concatenate([dark_pixels, pixels]), np.concatenate([dark, lit])


def shadow_casters(skeleton: Skeleton) -> list[tuple[Floats, float]]:
    """Return centers (T, 3) and radii of the balls that cast the animal's shadow."""
    return [(skeleton.joints[name], radius * skeleton.size) for name, radius in _CASTERS.items()]


def floor_shadow(casters: list[tuple[Floats, float]], floor: Floats32, view: View) -> Floats32:
    """Return (T, H*W) the factor on the floor's light, 1 away from all shadows.

    Args:
        casters: Centers (T, 3) in the world and radii of balls.
        floor: (H*W, 2) points where the pixels' rays meet the floor.
        view: View of the camera.
    """
    spots, depths = zip(*[_patch(center, radius) for center, radius in casters], strict=True)
    lit = np.ones((len(casters[0][0]), len(floor)), dtype=np.float32)
    for spot, depth, (frames, pixels) in zip(spots, depths, candidates(spots, view), strict=True):
        if len(frames) == 0:
            continue
        center, reach = spot.center[frames, :2].astype(np.float32), spot.extent[frames, :1].astype(np.float32)
        x, y = (((floor[:, i][pixels] - center[:, i, None]) / reach) ** 2 for i in range(2))
        weight = np.maximum(1 - x - y, 0) ** 2
        flat = (frames[:, None] * lit.shape[1] + pixels).ravel()
        lit.ravel()[flat] *= (1 - depth[frames, None] * weight).ravel()
    return 1 - np.float32(_DEEPEST) * (1 - lit)


def _patch(center: Floats, radius: float) -> tuple[Shape, Floats32]:
    """Return the shadow of a ball, as a flat disc on the floor, and (T,) the part of the light that it removes."""
    height = center[:, 2]
    # The lamp is not a point: the higher the ball, the wider and paler its shadow.
    spread = 0.75 * radius + 0.16 * height
    spot = center - height[:, None] * TO_LIGHT / TO_LIGHT[2]
    extent = np.stack([2.4 * spread, 2.4 * spread, np.full_like(height, 0.5)], axis=-1)
    axes = np.broadcast_to(np.eye(3), (len(center), 3, 3))
    depth = 0.9 * np.minimum((radius / spread) ** 2, 1.0)
    return Shape(kind="ball", center=spot, axes=axes, extent=extent), depth.astype(np.float32)
