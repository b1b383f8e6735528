"""Kinematics of keypoints with standard deviations: velocity, speed, lengths of bones, angles of joints.

Standard deviations are propagated to first order from the covariances of the positions and velocities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mvgeom._arrays import as_float64
from mvgeom.errors import InputError
from mvgeom.short_repr import short_repr

__all__ = ["Kinematics", "compute_kinematics", "joints_of_bones"]

Floats = npt.NDArray[np.float64]

_STRAIGHT = 1e-6
"""Sine of an angle below which the bones have no plane in which they could be told to turn."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Kinematics:
    """Kinematics of K keypoints, B bones and A joints over N frames; NaN where a position or velocity is missing.

    Attributes:
        velocity: (N, K, D) velocities, in the positions' unit per unit of time.
        velocity_std: (N, K, D) their standard deviations along the axes.
        speed: (N, K) lengths of the velocities.
        speed_std: (N, K) their standard deviations.
        length: (N, B) lengths of the bones, in the positions' unit.
        length_std: (N, B) their standard deviations.
        angle: (N, A) angles between two bones, from 0 to 180 degrees; 180 is straight.
        angle_std: (N, A) their standard deviations in degrees.
    """

    velocity: Floats
    velocity_std: Floats
    speed: Floats
    speed_std: Floats
    length: Floats
    length_std: Floats
    angle: Floats
    angle_std: Floats

    __repr__ = short_repr


def compute_kinematics(
    points: Floats,
    covariance: Floats,
    velocity: Floats | None = None,
    velocity_covariance: Floats | None = None,
    *,
    times: Floats | None = None,
    bones: Sequence[tuple[int, int]] = (),
    joints: Sequence[tuple[int, int, int]] = (),
) -> Kinematics:
    """Compute velocity, speed, lengths of bones and angles of joints, with standard deviations.

    The errors of different keypoints count as independent, and so do those of different frames, if velocities follow
    from positions. Standard deviations are of first order: that of a speed or angle holds where the velocity or the
    bones are longer than their own standard deviations.

    Args:
        points: (N, K, D) positions, D 2 or 3; NaN is missing.
        covariance: (N, K, D, D) their covariances.
        velocity: (N, K, D) velocities, such as those of `smooth`; None takes central differences of the positions,
            forward or backward at the ends and beside a missing one.
        velocity_covariance: (N, K, D, D) covariances of the velocities, given with them.
        times: (N,) times of the frames, increasing, for velocities from positions; None for 0, 1, 2, ...
        bones: Pairs of keypoints, by number.
        joints: Triples of keypoints, by number: the angle is at the second.

    Raises:
        InputError: `wrong-shape`, if shapes are inconsistent; `missing-argument`, if only one of velocity and its
            covariance is given; `out-of-range`, if times do not increase, or a bone or joint has a keypoint that does
            not exist, or one twice.
    """
    points, covariance = as_float64(points, "points"), as_float64(covariance, "covariance")
    if points.ndim != 3:
        raise InputError(
            f"points: wrong shape, found {points.shape}, expected (N, K, D)",
            code="wrong-shape",
            argument="points",
            found=points.shape,
        )
    square = (*points.shape, points.shape[-1])
    if (velocity is None) != (velocity_covariance is None):
        raise InputError(
            "velocity and velocity_covariance: found only one of them, expected both or none",
            code="missing-argument",
            argument="velocity_covariance" if velocity_covariance is None else "velocity",
        )
    _check_shape("covariance", covariance, square)
    _check_groups("bones", bones, points.shape[1], 2)
    _check_groups("joints", joints, points.shape[1], 3)
    if velocity is None or velocity_covariance is None:
        velocity, velocity_covariance = _differences(points, covariance, times)
    velocity = as_float64(velocity, "velocity")
    velocity_covariance = as_float64(velocity_covariance, "velocity_covariance")
    _check_shape("velocity", velocity, points.shape)
    _check_shape("velocity_covariance", velocity_covariance, square)
    speed, speed_std = _length(velocity, velocity_covariance)
    first, second = (np.array([bone[end] for bone in bones], dtype=int) for end in range(2))
    length, length_std = _length(points[:, first] - points[:, second], covariance[:, first] + covariance[:, second])
    angle, angle_std = _angles(points, covariance, joints)
    return Kinematics(
        velocity=velocity,
        velocity_std=np.sqrt(np.diagonal(velocity_covariance, axis1=-2, axis2=-1)),
        speed=speed,
        speed_std=speed_std,
        length=length,
        length_std=length_std,
        angle=np.degrees(angle),
        angle_std=np.degrees(angle_std),
    )


def joints_of_bones(bones: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return the joints (end, joint, end) of a skeleton: every two bones that share a keypoint, in their order."""
    joints = []
    for number, one in enumerate(bones):
        for other in bones[number + 1 :]:
            shared = set(one) & set(other)
            if len(shared) == 1:
                (joint,) = shared
                start, end = (bone[0] if bone[1] == joint else bone[1] for bone in (one, other))
                joints.append((start, joint, end))
    return joints


def _differences(points: Floats, covariance: Floats, times: Floats | None) -> tuple[Floats, Floats]:
    """Return velocities from the neighbors of each frame, and their covariances; NaN where there is no neighbor."""
    number = len(points)
    times = np.arange(number, dtype=np.float64) if times is None else as_float64(times, "times")
    _check_shape("times", times, (number,))
    if not (np.diff(times) > 0).all():
        row = int(np.flatnonzero(~(np.diff(times) > 0))[0]) + 1
        raise InputError(
            f"times: found {times[row]:g} after {times[row - 1]:g} at row {row}, expected increasing times",
            code="out-of-range",
            argument="times",
            row=row,
        )
    rows = np.arange(number)
    known = np.asarray(np.isfinite(points).all(-1))
    before, after = np.maximum(rows - 1, 0), np.minimum(rows + 1, number - 1)
    start = np.where(known[before], before[:, None], rows[:, None])
    end = np.where(known[after], after[:, None], rows[:, None])
    duration = times[end] - times[start]
    usable = known & (duration > 0)
    step = np.where(usable, duration, 1.0)[..., None]
    keypoints = np.arange(points.shape[1])
    velocity = (points[end, keypoints] - points[start, keypoints]) / step
    spread = (covariance[end, keypoints] + covariance[start, keypoints]) / step[..., None] ** 2
    return np.where(usable[..., None], velocity, np.nan), np.where(usable[..., None, None], spread, np.nan)


def _length(vectors: Floats, covariance: Floats) -> tuple[Floats, Floats]:
    """Return the lengths (...) of vectors (..., D), and their standard deviations."""
    length = np.linalg.norm(vectors, axis=-1)
    direction = vectors / np.where(length > 0, length, 1.0)[..., None]
    variance = np.einsum("...i,...ij,...j->...", direction, covariance, direction)
    # Without a direction, that of the largest variance.
    return length, np.sqrt(np.where(length > 0, variance, _largest_variance(covariance)))


def _angles(points: Floats, covariance: Floats, joints: Sequence[tuple[int, int, int]]) -> tuple[Floats, Floats]:
    """Return the angles (N, A) in radians, and their standard deviations.

    The angle between unit vectors u and w changes with the end of u's bone of length l by (u cos - w) / (l sin): across
    the bone in the plane of both.
    """
    start, joint, end = (np.array([each[place] for each in joints], dtype=int) for place in range(3))
    one, other = points[:, start] - points[:, joint], points[:, end] - points[:, joint]
    lengths = [np.linalg.norm(each, axis=-1) for each in (one, other)]
    valid = (lengths[0] > 0) & (lengths[1] > 0)
    lengths = [np.where(valid, length, np.nan) for length in lengths]
    units = [each / length[..., None] for each, length in zip((one, other), lengths, strict=True)]
    cosine = (units[0] * units[1]).sum(-1)
    across = [units[0] * cosine[..., None] - units[1], units[1] * cosine[..., None] - units[0]]
    sine = np.linalg.norm(across[0], axis=-1)
    straight = sine < _STRAIGHT
    scale = np.where(straight, 1.0, sine)
    gradients = [each / (scale * length)[..., None] for each, length in zip(across, lengths, strict=True)]
    gradients.append(-gradients[0] - gradients[1])
    places = (start, end, joint)
    variance = sum(
        np.einsum("...i,...ij,...j->...", gradient, covariance[:, place], gradient)
        for gradient, place in zip(gradients, places, strict=True)
    )
    # Bones in a line have no plane: an error across them in any direction turns them.
    sign = np.sign(cosine)
    factors = (1 / lengths[0], 1 / lengths[1], 1 / lengths[0] - sign / lengths[1])
    widest = sum(
        factor**2 * _largest_variance(covariance[:, place]) for factor, place in zip(factors, places, strict=True)
    )
    angle = np.where(valid, np.arctan2(sine, cosine), np.nan)
    return angle, np.where(valid, np.sqrt(np.where(straight, widest, variance)), np.nan)


def _largest_variance(covariance: Floats) -> Floats:
    """Return the largest variances (...) in any direction; NaN where covariances (..., D, D) are."""
    known = np.asarray(np.isfinite(covariance).all((-2, -1)))
    largest = np.linalg.eigvalsh(np.where(known[..., None, None], covariance, 0.0))[..., -1]
    return np.asarray(np.where(known, np.maximum(largest, 0.0), np.nan))


def _check_shape(name: str, values: Floats, expected: tuple[int, ...]) -> None:
    if np.shape(values) != expected:
        raise InputError(
            f"{name}: wrong shape, found {np.shape(values)}, expected {expected} as for the points",
            code="wrong-shape",
            argument=name,
            found=np.shape(values),
        )


def _check_groups(name: str, groups: Sequence[tuple[int, ...]], num_keypoints: int, size: int) -> None:
    for group in np.atleast_1d(as_float64(groups, name)):
        found = tuple(np.ravel(group).tolist())
        exist = all(each in range(num_keypoints) for each in found)
        if np.shape(group) != (size,) or len(set(found)) != size or not exist:
            shown = ", ".join(f"{each:g}" for each in found)
            raise InputError(
                f"{name}: found ({shown}), expected {size} different numbers of keypoints from 0 to "
                f"{num_keypoints - 1}",
                code="out-of-range",
                argument=name,
                found=found,
            )
