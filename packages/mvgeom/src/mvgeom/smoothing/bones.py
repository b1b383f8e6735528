"""Lengths of bones: what one keypoint tells of another that is seen badly.

Trajectories of different keypoints are independent until here. The lengths of a frame's bones then condition the
positions of that frame, all at once, given what all views and times say of each. They couple the keypoints of a frame,
not frames: errors of a trajectory last, and the same length in the next frame is hardly new evidence. So nothing is
counted twice, and what the lengths in other frames could add is left to the standard deviations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mvgeom._arrays import check_number
from mvgeom.errors import InputError

__all__ = ["Bone", "check_bones", "hold_lengths", "measure_bones", "named_bones"]

Floats = npt.NDArray[np.float64]

LEAST_FRAMES = 20
"""Fewest frames with a confident length that a bone is measured in."""

CONFIDENT = 0.5
"""Share of the frames that are confident: those with the least uncertain length."""

MAX_UNCERTAINTY = 0.3
"""Largest standard deviation of a confident length, as a share of it."""

LEAST_SPREAD = 0.5
"""Least standard deviation of a bone's length, as a share of that of the lengths of confident frames: noise that is
stated too large would pass for a bone that does not stretch."""

STIFFEST = 0.005
"""Least standard deviation as a share of the length."""

STRETCHES = 8
"""Parts of a recording whose medians tell how well the length is known, because errors last."""

SURPRISE = 3.0
"""Deviations of a distance from its length, in what is expected of it, beyond which it counts for less."""

CHUNK = 1000
"""Frames that are conditioned at a time, which limits memory."""

PASSES = 5
"""Linearizations about the present positions."""


@dataclass(frozen=True, kw_only=True)
class Bone:
    """Two keypoints whose distance varies little.

    Attributes:
        first: Number of a keypoint.
        second: Number of another one.
        length: Their distance in the world's unit; None if it is to be measured.
        std: Standard deviation of the distance over frames, with what is not known of the length; None if it is to be
            measured. A bone without it holds nothing.
    """

    first: int
    second: int
    length: float | None = None
    std: float | None = None


def check_bones(bones: Sequence[Bone], num_keypoints: int) -> None:
    """Check that bones are between two of the keypoints, each once.

    Raises:
        InputError: `out-of-range` for another number, the same twice, or a length or deviation that is not positive;
            `duplicate-name` for a bone that is given twice.
    """
    seen = set()
    for bone in bones:
        for name, number in (("first", bone.first), ("second", bone.second)):
            check_number(number, f"bones: {name}", whole=True)
        for name, size in (("length", bone.length), ("std", bone.std)):
            if size is not None:
                check_number(size, f"bones: {name}")
        ends = frozenset((bone.first, bone.second))
        if len(ends) != 2 or not all(0 <= end < num_keypoints for end in ends):
            raise InputError(
                f"bones: found keypoints {bone.first} and {bone.second}, expected two different numbers below "
                f"{num_keypoints}",
                code="out-of-range",
                argument="bones",
                found=(bone.first, bone.second),
            )
        for name, value in (("length", bone.length), ("std", bone.std)):
            if value is not None and not (np.isfinite(value) and value > 0):
                raise InputError(
                    f"bones: {name} of the bone between keypoints {bone.first} and {bone.second}: found {value}, "
                    "expected a number above 0",
                    code="out-of-range",
                    argument="bones",
                    found=value,
                )
        if ends in seen:
            raise InputError(
                f"bones: found the bone between keypoints {bone.first} and {bone.second} twice",
                code="duplicate-name",
                argument="bones",
                found=(bone.first, bone.second),
            )
        seen.add(ends)


def named_bones(
    keypoint_names: Sequence[str], pairs: Sequence[tuple[str, str]], lengths: Sequence[tuple[str, str, float]]
) -> tuple[Bone, ...]:
    """Return bones by the numbers of their keypoints.

    Args:
        keypoint_names: Names of the keypoints.
        pairs: Bones whose length is measured, unless it is given.
        lengths: Bones with their lengths.

    Raises:
        InputError: `unknown-choice` for a name that is not one of the keypoints; as `check_bones`.
    """
    known: dict[frozenset[str], tuple[str, str, float | None]] = {frozenset(pair): (*pair, None) for pair in pairs}
    known |= {frozenset(bone[:2]): bone for bone in lengths}
    for name in (name for bone in known.values() for name in bone[:2]):
        if name not in keypoint_names:
            raise InputError(
                f"bones: unknown keypoint, found {name}, expected one of {', '.join(keypoint_names)}",
                code="unknown-choice",
                argument="bones",
                found=name,
                expected=tuple(keypoint_names),
            )
    number = {name: position for position, name in enumerate(keypoint_names)}
    bones = tuple(
        Bone(first=number[first], second=number[second], length=given) for first, second, given in known.values()
    )
    check_bones(bones, len(keypoint_names))
    return bones


def measure_bones(points: Floats, covariance: Floats, bones: Sequence[Bone]) -> tuple[Bone, ...]:
    """Measure the lengths and deviations that are not given, in the frames that know them best.

    The length is the median over confident frames. The deviation is the larger of what the lengths vary beyond the
    uncertainty of the positions and half of their variation, and what is not known of the length.

    Args:
        points: (N, K, D) smoothed positions; NaN is missing.
        covariance: (N, K, D, D) their covariances.
        bones: Bones.

    Returns:
        The bones; those with too few confident frames have no deviation, and hold nothing.
    """
    return tuple(bone if bone.std is not None and bone.length else _measure(points, covariance, bone) for bone in bones)


def _measure(points: Floats, covariance: Floats, bone: Bone) -> Bone:
    difference = points[:, bone.first] - points[:, bone.second]
    spread = covariance[:, bone.first] + covariance[:, bone.second]
    distance = np.linalg.norm(difference, axis=-1)
    known = np.flatnonzero(np.isfinite(distance) & (distance > 0) & np.isfinite(spread).all((-2, -1)))
    if len(known) == 0:
        return replace(bone, std=None)
    direction = difference[known] / distance[known, None]
    variance = np.einsum("ni,nij,nj->n", direction, spread[known], direction)
    across = np.trace(spread[known], axis1=-2, axis2=-1) - variance
    # Noise across the bone lengthens it.
    length = distance[known] - across / (2 * distance[known])
    # Not relative to each frame's distance, which would choose the frames where noise makes it long.
    uncertain = np.sqrt(variance + across)
    confident = (uncertain <= np.quantile(uncertain, CONFIDENT)) & (uncertain < MAX_UNCERTAINTY * np.median(length))
    if confident.sum() < LEAST_FRAMES:
        return replace(bone, std=None)
    values, noise = length[confident], float(np.median(variance[confident]))
    median = float(np.median(values))
    variation = (1.4826 * float(np.median(np.abs(values - median)))) ** 2
    parts = [float(np.median(part)) for part in np.array_split(values, STRETCHES)]
    unknown = float(np.var(parts, ddof=1)) / STRETCHES
    target = median if bone.length is None else bone.length
    # A length that is given for other places than those of the keypoints is as far off as they are.
    off = max(0.0, (median - target) ** 2 - unknown)
    square = max(variation - noise, LEAST_SPREAD**2 * variation) + unknown + off
    return replace(bone, length=target, std=max(float(np.sqrt(square)), STIFFEST * target))


def hold_lengths(points: Floats, covariance: Floats, bones: Sequence[Bone]) -> tuple[Floats, Floats]:
    """Condition the positions of each frame on the lengths of its bones.

    Each distance is linearized about the present positions, and its deviation has what the linear form neglects: the
    bow of the sphere around the other keypoint, by the uncertainty across the bone.

    Args:
        points: (N, K, D) positions; NaN is missing.
        covariance: (N, K, D, D) their covariances; different keypoints are independent.
        bones: Bones; those without a deviation hold nothing.

    Returns:
        Positions and covariances of each keypoint.
    """
    held = [bone for bone in bones if bone.length is not None and bone.std is not None]
    if not held:
        return points, covariance
    parts = [slice(start, start + CHUNK) for start in range(0, len(points), CHUNK)]
    conditioned = [_hold(points[part], covariance[part], held) for part in parts]
    return np.concatenate([each[0] for each in conditioned]), np.concatenate([each[1] for each in conditioned])


def _hold(points: Floats, covariance: Floats, held: Sequence[Bone]) -> tuple[Floats, Floats]:
    """Condition some frames on bones with length and deviation."""
    length, num_keypoints, dims = points.shape
    first, second = (np.array([getattr(bone, name) for bone in held]) for name in ("first", "second"))
    target, own = (np.array([getattr(bone, name) for bone in held], dtype=np.float64) for name in ("length", "std"))
    there: npt.NDArray[np.bool_] = np.all(np.isfinite(points), axis=-1) & np.all(np.isfinite(covariance), axis=(-2, -1))
    both = there[:, first] & there[:, second]
    start = np.where(there[..., None], points, 0.0)
    prior = np.where(there[..., None, None], covariance, 0.0)
    number = np.arange(len(held))
    spread = prior[:, first] + prior[:, second]
    present = start
    for _ in range(PASSES):
        difference = present[:, first] - present[:, second]
        distance = np.linalg.norm(difference, axis=-1)
        usable = both & (distance > 1e-6 * target)
        direction = np.where(usable[..., None], difference / np.where(usable, distance, 1.0)[..., None], 0.0)
        rows = np.zeros((length, len(held), num_keypoints, dims))
        rows[:, number, first], rows[:, number, second] = direction, -direction
        across = spread - _outer(direction, (direction[..., None, :] @ spread)[..., 0, :])
        across = across - _outer((across @ direction[..., None])[..., 0], direction)
        bow = (
            np.trace(across @ across, axis1=-2, axis2=-1) / 2 + np.trace(across, axis1=-2, axis2=-1) ** 2 / 4
        ) / target**2
        # (N, B, K, D): covariance of each position with each length.
        gain = (rows[:, :, :, None, :] @ prior[:, None])[..., 0, :]
        total = np.einsum("nbkd,nckd->nbc", rows, gain)
        moved = np.einsum("nbkd,nkd->nb", rows, present - start)
        innovation = np.where(usable, target - distance + moved, 0.0)
        alone = total[:, number, number] + own**2 + bow
        # A position that is off by more than it says must not take its neighbors along.
        excess = np.maximum(innovation**2 / SURPRISE**2 - alone, 0.0)
        total[:, number, number] += np.where(usable, own**2 + bow + excess, 1.0)
        weighted = np.linalg.solve(total, innovation[..., None])[..., 0]
        present = start + np.einsum("nbkd,nb->nkd", gain, weighted)
    solved = np.linalg.solve(total, gain.reshape(length, len(held), -1)).reshape(gain.shape)
    reduced = prior - np.einsum("nbki,nbkj->nkij", gain, solved)
    reduced = (reduced + np.swapaxes(reduced, -1, -2)) / 2
    return (
        np.where(there[..., None], present, points),
        np.where(there[..., None, None], reduced, covariance),
    )


def _outer(first: Floats, second: Floats) -> Floats:
    return np.asarray(first[..., :, None] * second[..., None, :])
