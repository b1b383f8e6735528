"""Random numbers keyed by their purpose.

Each purpose has its own counter-based stream, so that the order of the work, the number of workers and the length of
other streams have no effect.
"""

from __future__ import annotations

import enum

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Purpose(enum.IntEnum):
    """Purpose of a stream. The numbers belong to a seed's results: new purposes go to the end."""

    RIG = 0
    RIG_SHIFT = 1
    ANIMAL = 2
    MOTION = 3
    OCCLUDERS = 4
    ROOM = 5
    SENSOR = 6
    SENSOR_NOISE = 7
    LABELED_FRAMES = 8
    LABEL_NOISE = 9
    MISSING_LABELS = 10


def generator(seed: int, purpose: Purpose, *where: int) -> np.random.Generator:
    """Make the stream of one purpose at one place, such as (session, camera, frame)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(int(purpose), *where))))


def smooth_noise(rng: np.random.Generator, times: Floats, fastest: float, num_waves: int = 6) -> Floats:
    """Draw a smooth random function of time with mean 0 and standard deviation 1 over all such functions.

    Args:
        rng: Generator of the waves; the number of draws does not depend on `times`.
        times: (T,) times in s.
        fastest: Highest frequency in Hz.
        num_waves: Number of sinusoids in the sum.

    Returns:
        (T,) values, within 2 of 0 most of the time.
    """
    frequencies = fastest * (0.15 + 0.85 * rng.random(num_waves))
    phases = 2 * np.pi * rng.random(num_waves)
    waves = np.sin(2 * np.pi * frequencies * times[:, None] + phases)
    return waves.sum(axis=1) * np.sqrt(2 / num_waves)
