"""Checks of the arguments of `smooth`, and the observations that they make."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mvgeom._arrays import as_float64
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.smoothing.noise import covariance_from_likelihood
from mvgeom.smoothing.shared_error import SharedError
from mvgeom.smoothing.trajectories import Observations

__all__ = ["check_shared", "make_observations"]

Floats = npt.NDArray[np.float64]

_ROUNDING = 1e-6
"""Share of a covariance's largest entry that is rounding, also of float32."""


def make_observations(
    points: Floats,
    cameras: CameraGroup | None,
    likelihood: Floats | None,
    covariance: Floats | None,
    times: Floats | None,
) -> tuple[Observations, float]:
    """Check the arguments of `smooth`; return observations with times in typical steps, and the typical step."""
    points = as_float64(points, "points")
    if points.ndim != 4 or points.shape[-1] != 2 or 0 in points.shape:
        raise InputError(
            f"points: wrong shape, found {points.shape}, expected (N, V, K, 2) with at least one of each",
            code="wrong-shape",
            argument="points",
            found=points.shape,
        )
    points = np.where(np.isfinite(points).all(axis=-1, keepdims=True), points, np.nan)
    num_frames, num_views = points.shape[:2]
    if cameras is None and num_views != 1:
        raise InputError(
            f"cameras: None is for a single view, found {num_views} views. Give their cameras, or one view at a time.",
            code="missing-argument",
            argument="cameras",
            found=num_views,
        )
    if cameras is not None and (len(cameras) != num_views or cameras.batch_shape):
        raise InputError(
            f"points: wrong shape, found {points.shape}, expected (N, {len(cameras)}, K, 2) for {list(cameras.names)}",
            code="wrong-shape",
            argument="points",
            found=points.shape,
        )
    times = np.arange(num_frames, dtype=np.float64) if times is None else as_float64(times, "times")
    if times.shape != (num_frames,):
        raise InputError(
            f"times: wrong shape, found {times.shape}, expected ({num_frames},)",
            code="wrong-shape",
            argument="times",
            found=times.shape,
        )
    if not np.isfinite(times).all():
        raise InputError("times: found NaN or infinity, expected numbers", code="not-finite", argument="times")
    steps = np.diff(times)
    if not (steps > 0).all():
        row = int(np.flatnonzero(steps <= 0)[0]) + 1
        raise InputError(
            f"times: found {times[row]:g} after {times[row - 1]:g} at row {row}, expected increasing times",
            code="out-of-range",
            argument="times",
            row=row,
        )
    step = float(np.median(steps)) if len(steps) else 1.0
    stated = _stated_covariance(points, likelihood, covariance)
    excess = np.ones(points.shape[:-1])
    return Observations(points=points, covariance=stated, excess=excess, times=times / step, cameras=cameras), step


def check_shared(shared: SharedError | None, observations: Observations) -> None:
    """Check that shared errors fit the keypoints, and that there are cameras."""
    if shared is None:
        return
    if observations.cameras is None:
        raise InputError(
            "cameras: None is for a single view, which shares its errors with no other. Give cameras, or leave shared "
            "out.",
            code="missing-argument",
            argument="cameras",
        )
    expected = observations.points.shape[2:3]
    if np.shape(shared.std) != expected:
        raise InputError(
            f"shared: wrong shape of std, found {np.shape(shared.std)}, expected {expected}",
            code="wrong-shape",
            argument="shared",
            found=np.shape(shared.std),
        )


def _stated_covariance(points: Floats, likelihood: Floats | None, covariance: Floats | None) -> Floats:
    """Return stated covariances (N, V, K, 2, 2) in px^2; 0 where nothing is stated or the keypoint is missing."""
    if likelihood is not None and covariance is not None:
        raise InputError(
            "likelihood and covariance exclude each other. Give one of them.",
            code="excluded-options",
            argument="likelihood",
            other="covariance",
        )
    given = likelihood if covariance is None else covariance
    shape = points.shape[:3] if covariance is None else (*points.shape, 2)
    name = "likelihood" if covariance is None else "covariance"
    if given is None:
        return np.zeros((*points.shape, 2))
    given = as_float64(given, name)
    if given.shape != shape:
        raise InputError(
            f"{name}: wrong shape, found {given.shape}, expected {shape} as for the points",
            code="wrong-shape",
            argument=name,
            found=given.shape,
        )
    if covariance is None:
        return covariance_from_likelihood(given)
    present: npt.NDArray[np.bool_] = np.all(np.isfinite(points), axis=-1)
    if not np.isfinite(given[present]).all():
        raise InputError(
            "covariance: found NaN or infinity beside a keypoint, expected px^2", code="not-finite", argument=name
        )
    values = given[present]
    largest = np.abs(values).max((-2, -1), initial=0.0)
    alike = np.abs(values[..., 0, 1] - values[..., 1, 0]) <= _ROUNDING * largest
    if not (alike & (np.linalg.eigvalsh(values)[..., 0] >= -_ROUNDING * largest)).all():
        raise InputError(
            "covariance: found a matrix that is not symmetric with a variance of 0 or more in all directions, expected "
            "covariances in px^2",
            code="out-of-range",
            argument=name,
        )
    return np.where(present[..., None, None], given, 0.0)
