"""One camera's pictures of a scene, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mvtrain.synth.keyed import Purpose, generator
from mvtrain.synth.parts import Part, light_of_hits
from mvtrain.synth.raycast import rasterise
from mvtrain.synth.room import floor_points, room_light
from mvtrain.synth.scene import Scene
from mvtrain.synth.sensor import Image, develop, expose, make_sensor
from mvtrain.synth.shadows import casters_of, floor_shadow
from mvtrain.synth.shapes import Floats, Floats32
from mvtrain.synth.view import View

CHUNK_PIXELS = 1_500_000
"""Pixels rendered at once: enough to spread NumPy's overhead, few enough for some 50 MB."""


def render(scene: Scene, view: View, *, seed: int, number: int, sensor_noise: float) -> Iterator[Image]:
    """Frames of the scene as camera `number` records them, in order.

    Args:
        scene: over T frames.
        view: of the camera.
        seed: of the spec.
        number: the camera's position.
        sensor_noise: standard deviation in grey levels.

    Yields:
        T images (H, W, 3), BGR.
    """
    sensor = make_sensor(view, seed, scene.number, number, sensor_noise)
    empty_light, floor = room_light(scene.room, view), floor_points(view)
    empty = develop(sensor, empty_light, slice(None))
    parts, casters = scene.body + scene.occluders, casters_of(scene.skeleton)
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


def changed_pixels(
    parts: list[Part], casters: list[tuple[Floats, float]], empty_light: Floats32, floor: Floats32, view: View
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats32]:
    """Where a solid or a shadow changes the picture of the empty room: frames (N,), pixels (N,), linear RGB (N, 3)."""
    depth, owner = rasterise([part.shape for part in parts], view)
    shadow = floor_shadow(casters, floor, view)
    dark_frames, dark_pixels = np.nonzero((shadow < 0.999) & (owner < 0))
    dark = empty_light[dark_pixels] * shadow[dark_frames, dark_pixels, None]
    frames, pixels = np.nonzero(owner >= 0)
    lit = light_of_hits(parts, depth[frames, pixels], owner[frames, pixels], frames, pixels, view)
    return np.concatenate([dark_frames, frames]), np.concatenate([dark_pixels, pixels]), np.concatenate([dark, lit])
