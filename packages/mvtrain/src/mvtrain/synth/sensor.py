"""From light to the pixels of one camera: exposure, colour cast, vignetting, tone curve, blur and noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mvtrain.synth.keyed import Purpose, generator
from mvtrain.synth.shapes import Floats32
from mvtrain.synth.view import View

Image = npt.NDArray[np.uint8]

_CURVE_STEPS = 4096


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """How one camera turns light into numbers.

    Attributes:
        gain: (H*W, 3) float32 on linear RGB: exposure, colour cast and vignetting.
        curve: (4096,) uint8, grey level of linear values from 0 to 1.
        blur: standard deviation in px.
        noise: (n,) int16 a long strip of noise, from which each frame takes a piece.
    """

    gain: Floats32
    curve: Image
    blur: float
    noise: npt.NDArray[np.int16]


def make_sensor(view: View, seed: int, session: int, number: int, noise: float) -> Sensor:
    """The sensor of camera `number`; its settings differ a little from session to session.

    Args:
        view: of the camera.
        seed: of the spec.
        session: its position.
        number: the camera's position.
        noise: standard deviation in grey levels.
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
    """(N, 3) BGR grey levels of (N, 3) linear RGB that falls on the given pixels; neither blur nor noise yet."""
    level = light * sensor.gain[pixels] * np.float32(_CURVE_STEPS)
    return sensor.curve[np.clip(level, 0, _CURVE_STEPS - 1).astype(np.intp)][:, ::-1]


def expose(sensor: Sensor, sharp: Image, rng: np.random.Generator) -> Image:
    """The frame as recorded: (H, W, 3) blurred and noisy.

    Args:
        sensor: of the camera.
        sharp: (H, W, 3) developed.
        rng: of this frame.
    """
    blurred = cv2.GaussianBlur(sharp, (5, 5), sensor.blur, borderType=cv2.BORDER_REPLICATE)
    start = int(rng.integers(0, len(sensor.noise) - sharp.size))
    piece = sensor.noise[start : start + sharp.size].reshape(sharp.shape)
    return np.asarray(cv2.add(blurred, piece, dtype=cv2.CV_8U), dtype=np.uint8)
