"""Scale of a world from known distances between keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mvgeom._arrays import check_number
from mvgeom.calibration.boards import Floats
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.robust import triangulate_robust
from mvgeom.triangulation import covariance

__all__ = ["KnownLength", "MeasuredLength", "Scale", "find_scale"]

_MIN_FRAMES = 5
_NUM_STRETCHES = 10
_OUTLIER_SIGMAS = 4.0


@dataclass(frozen=True, kw_only=True)
class KnownLength:
    """A known distance of two keypoints.

    Attributes:
        first: Name of a keypoint.
        second: Name of another one.
        length: Their distance; its unit becomes the world's.
    """

    first: str
    second: str
    length: float


@dataclass(frozen=True, kw_only=True)
class MeasuredLength:
    """A known distance, measured in the calibrated rig.

    Attributes:
        known: The known distance.
        measured: Its mean in the world's final unit.
        spread: Standard deviation of that mean.
        variation: Standard deviation over frames, as a fraction of the length: how rigid the distance is.
        num_frames: Number of frames in which both keypoints have a point.
    """

    known: KnownLength
    measured: float
    spread: float
    variation: float
    num_frames: int


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Scale of a world.

    Attributes:
        factor: Factor that turns the adjustment's lengths into the world's unit.
        spread: Standard deviation of the factor.
        lengths: The known distances as measured.
    """

    factor: float = 1.0
    spread: float = 0.0
    lengths: tuple[MeasuredLength, ...] = ()


def find_scale(
    points: Floats,
    cams: CameraGroup,
    keypoint_names: Sequence[str],
    lengths: Sequence[KnownLength],
    *,
    threshold: float,
    noise: float,
) -> Scale:
    """Find the scale that brings measured distances nearest to the known ones.

    Noise makes distances longer: a squared distance grows by the variance across it, which is subtracted. The
    uncertainty of a mean comes from means over stretches of time, as errors of keypoints last.

    Args:
        points: (N, V, K, 2) keypoints in full-image px; NaN is missing.
        cams: V cameras in an arbitrary unit.
        keypoint_names: K names.
        lengths: Known distances; none leaves the unit as it is.
        threshold: Error in px beyond which a view of a point is left out.
        noise: Standard deviation of the keypoints in px.

    Raises:
        InputError: `keypoints-differ`, if a keypoint is unknown or both are the same; `out-of-range`, if a length is
            not positive; `too-few-points`, if fewer than 5 frames have both points.
    """
    if not lengths:
        return Scale()
    found = [_measure(points, cams, list(keypoint_names), each, threshold, noise) for each in lengths]
    ratios = np.array([each.length / mean for each, (mean, _, _, _) in zip(lengths, found, strict=True)])
    relative = np.array([max(spread / mean, 1e-9) for mean, spread, _, _ in found])
    weights = relative**-2 / (relative**-2).sum()
    factor = float(np.exp(weights @ np.log(ratios)))
    # Lengths that contradict each other are less certain than each says by itself.
    between = float(np.sqrt(weights @ np.log(ratios / factor) ** 2 / max(len(ratios) - 1, 1)))
    spread = max(float((relative**-2).sum() ** -0.5), between)
    measured = tuple(
        MeasuredLength(
            known=each, measured=mean * factor, spread=error * factor, variation=variation / mean, num_frames=count
        )
        for each, (mean, error, variation, count) in zip(lengths, found, strict=True)
    )
    return Scale(factor=factor, spread=factor * spread, lengths=measured)


def _measure(
    points: Floats, cams: CameraGroup, names: list[str], length: KnownLength, threshold: float, noise: float
) -> tuple[float, float, float, int]:
    """Return mean, its standard deviation, standard deviation over frames, and number of frames of a distance."""
    rows = [_place(names, name) for name in (length.first, length.second)]
    if rows[0] == rows[1]:
        raise InputError(
            f"length: both ends are {length.first!r}, expected two keypoints",
            code="keypoints-differ",
            argument="length",
        )
    check_number(length.length, "length")
    if not (np.isfinite(length.length) and length.length > 0):
        raise InputError(
            f"length {length.first} {length.second}: must be positive, found {length.length}",
            code="out-of-range",
            argument="length",
            found=length.length,
        )
    ends, spreads = [], []
    for row in rows:
        flat = np.moveaxis(points[:, :, row], 1, 0)
        robust = triangulate_robust(flat, cams, threshold=threshold)
        ends.append(robust.points)
        spreads.append(covariance(robust.points, cams, max(noise, 1e-6), robust.inliers))
    gap = ends[1] - ends[0]
    squares = (gap**2).sum(axis=1)
    both = spreads[0] + spreads[1]
    along = np.einsum("ni,nij,nj->n", gap, both, gap) / squares
    across = np.trace(both, axis1=1, axis2=2) - along
    known = np.flatnonzero(np.isfinite(squares) & np.isfinite(along) & (squares > 0) & (squares > across))
    if len(known) < _MIN_FRAMES:
        raise InputError(
            f"length {length.first} {length.second}: too few frames have both keypoints in 3D, found {len(known)}, "
            f"expected {_MIN_FRAMES}",
            code="too-few-points",
            found=len(known),
            expected=_MIN_FRAMES,
        )
    values, weight = np.sqrt(squares[known] - across[known]), 1 / np.maximum(along[known], 1e-300)
    middle = float(np.median(values))
    scatter = max(1.4826 * float(np.median(np.abs(values - middle))), 1e-9 * middle)
    weight = 1 / (1 / weight + scatter**2)
    weight = weight * (np.abs(values - middle) <= _OUTLIER_SIGMAS * np.sqrt(1 / weight))
    mean = float(weight @ values / weight.sum())
    order = np.arange(len(values)) * min(_NUM_STRETCHES, len(values)) // len(values)
    sums = np.zeros(int(order[-1]) + 1)
    np.add.at(sums, order, weight * (values - mean))
    error = float(np.sqrt((sums**2).sum() * len(sums) / max(len(sums) - 1, 1)) / weight.sum())
    return mean, max(error, scatter / np.sqrt(len(values))), scatter, len(values)


def _place(names: list[str], name: str) -> int:
    if name not in names:
        raise InputError(
            f"length: unknown keypoint, found {name!r}, expected one of {names}",
            code="keypoints-differ",
            argument="length",
            found=name,
        )
    return names.index(name)
