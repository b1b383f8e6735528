"""Keypoints of a moving subject as cameras with clocks of their own record them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.interpolate import CubicSpline

from mvgeom import CameraGroup, project
from mvgeom.clocks import Clocks

NUM_KEYPOINTS = 6

Subject = Callable[[np.ndarray], np.ndarray]
"""World points (N, K, 3) at times (N,) in frames."""


def irregular(seed: int, num_frames: int = 200, speed: float = 1.0) -> Subject:
    """A subject that walks and moves its limbs without a period."""
    rng = np.random.default_rng(seed)
    knots = np.arange(-100, num_frames + 110, 10.0)
    limbs = CubicSpline(knots, rng.normal(0, 0.05 * speed, (len(knots), NUM_KEYPOINTS, 3)))
    rest = rng.uniform(-0.2, 0.2, (NUM_KEYPOINTS, 3))
    return lambda times: limbs(times) + rest


def periodic(period: float) -> Subject:
    """A subject that repeats itself exactly."""
    rng = np.random.default_rng(0)
    rest, size, phase = rng.uniform(-0.2, 0.2, (3, NUM_KEYPOINTS, 3))
    return lambda times: rest + size * np.sin(2 * np.pi * times[:, None, None] / period + 20 * phase)


def record(
    cameras: CameraGroup,
    subject: Subject,
    num_frames: int = 200,
    *,
    late: Sequence[float],
    drift: Sequence[float] | None = None,
    noise: float = 0.5,
    seed: int = 0,
) -> np.ndarray:
    """Keypoints (N, V, K, 2) of cameras that show things so many frames late, and gain so many frames per frame."""
    rng = np.random.default_rng(seed)
    views = []
    for view, name in enumerate(cameras.names):
        times = (np.arange(num_frames) - late[view]) / (1 + (0 if drift is None else drift[view]))
        views.append(project(subject(times), cameras.select([name]))[:, 0])
    points = np.stack(views, axis=1)
    return points + noise * rng.normal(size=points.shape)


def same_clocks(one: Clocks, other: Clocks) -> bool:
    """Return True if two clocks are equal in all values."""
    fields = ("offset", "drift", "offset_std", "drift_std")
    equal = all(np.array_equal(getattr(one, field), getattr(other, field), equal_nan=True) for field in fields)
    facts = ("names", "reference", "frame_rate")
    return equal and all(getattr(one, fact) == getattr(other, fact) for fact in facts)
