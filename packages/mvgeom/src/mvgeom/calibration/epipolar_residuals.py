"""Signed epipolar residuals of pairs of cameras, with their change as each camera's keypoints move."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mvgeom.calibration.boards import Floats, Ints
from mvgeom.cameras import CameraGroup

__all__ = [
    "EpipolarLines",
    "PairGeometry",
    "lines_of_first",
    "lines_of_second",
    "pair_geometry",
    "residual_changes",
    "residuals",
    "take",
]


class PairGeometry(NamedTuple):
    """Essential matrix (3, 3) of two cameras, and the mean focal length of each in px."""

    essential: Floats
    focal_one: float
    focal_other: float


def pair_geometry(cams: CameraGroup, one: int, other: int) -> PairGeometry:
    """Compute the epipolar geometry of two cameras of a NumPy group without batch dimensions."""
    rotation = cams.rotation[other] @ cams.rotation[one].T
    x, y, z = cams.translation[other] - rotation @ cams.translation[one]
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    focal = [float(np.sqrt(cams.matrix[view, 0, 0] * cams.matrix[view, 1, 1])) for view in (one, other)]
    return PairGeometry(essential=cross @ rotation, focal_one=focal[0], focal_other=focal[1])


class EpipolarLines(NamedTuple):
    """Points (..., 2) of one camera at depth 1, their epipolar lines (..., 3) in another, and those lines' lengths."""

    points: Floats
    lines: Floats
    squared: Floats


def lines_of_first(geometry: PairGeometry, points: Floats) -> EpipolarLines:
    """Compute the epipolar lines in the second camera of points (..., 2) of the first."""
    return _lines(points, geometry.essential, geometry.focal_other)


def lines_of_second(geometry: PairGeometry, points: Floats) -> EpipolarLines:
    """Compute the epipolar lines in the first camera of points (..., 2) of the second."""
    return _lines(points, geometry.essential.T, geometry.focal_one)


def _lines(points: Floats, matrix: Floats, focal: float) -> EpipolarLines:
    x, y = points[..., 0], points[..., 1]
    entries = [row[0] * x + row[1] * y + row[2] for row in matrix]
    return EpipolarLines(points, np.stack(entries, axis=-1), (entries[0] ** 2 + entries[1] ** 2) / focal**2)


def residuals(first: EpipolarLines, second: EpipolarLines) -> Floats:
    """Compute signed epipolar residuals (...) in px: Sampson's distance; NaN where a point is missing."""
    x, y = second.points[..., 0], second.points[..., 1]
    value = first.lines[..., 0] * x + first.lines[..., 1] * y + first.lines[..., 2]
    squared = first.squared + second.squared
    return np.asarray(value / np.sqrt(np.where(squared > 0, squared, np.nan)))


def residual_changes(
    first: EpipolarLines, second: EpipolarLines, slope_first: Floats, slope_second: Floats
) -> tuple[Floats, Floats]:
    """Compute the changes of the residuals (...) in px per frame by the motion in each camera.

    Args:
        first: Points of the first camera.
        second: The same points of the second.
        slope_first: (..., 2) change of the points of the first camera per frame.
        slope_second: (..., 2) change of those of the second.
    """
    scale = 1 / np.sqrt(np.where(first.squared + second.squared > 0, first.squared + second.squared, np.nan))
    by_first = (slope_first * second.lines[..., :2]).sum(-1) * scale
    by_second = (slope_second * first.lines[..., :2]).sum(-1) * scale
    return np.asarray(by_first), np.asarray(by_second)


def take(lines: EpipolarLines, rows: Ints) -> EpipolarLines:
    """Return the rows of points (N, K, 2) and their lines."""
    return EpipolarLines(lines.points[rows], lines.lines[rows], lines.squared[rows])
