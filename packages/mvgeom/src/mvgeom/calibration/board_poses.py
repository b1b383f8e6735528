"""Candidate poses of a board seen by one camera; a distant flat board has two."""

from __future__ import annotations

import cv2
import numpy as np

from mvgeom.calibration.boards import Floats, Ints
from mvgeom.calibration.bundle import Booleans
from mvgeom.cameras import CameraGroup
from mvgeom.projection import undistort

__all__ = ["NUM_CANDIDATES", "is_planar", "normalize_corners", "order_motions", "pose_candidates"]

NUM_CANDIDATES = 2

_FALSE = 5.0
"""Error of a false corner in median errors of its board; noise alone reaches 3 to 4."""

_FEWEST_RIGHT = 8
_MOST_FALSE = 0.2
"""Share of a board's corners that may be false; more are no exceptions."""


def normalize_corners(points: Floats, cameras: CameraGroup) -> Floats:
    """Convert px (V, F, K, 2) to normalized coordinates; NaN where missing or outside the lens range."""
    return np.moveaxis(undistort(np.moveaxis(points, 1, 0), cameras), 0, 1)


def pose_candidates(normalized: Floats, object_points: Floats) -> tuple[Floats, Floats]:
    """Estimate poses of the board in the camera's coordinate frame.

    A flat board, or one face of a body, has two solutions, both from infinitesimal plane-based pose estimation (Collins
    and Bartoli 2014, in OpenCV); points that are not in one plane have one solution. Single false corners, which a
    solution by least squares does not bear, are left out.

    Args:
        normalized: (F, K, 2) corners in normalized coordinates; NaN is missing.
        object_points: (K, 3) corners in the board's frame and unit.

    Returns:
        Poses (F, 2, 4, 4) from board to camera, the better one first, and their root mean square errors (F, 2) in
        normalized coordinates. NaN where no solution has the board in front of the camera, or where there are fewer
        than 4 points (6 if not in one plane).
    """
    all_planar = is_planar(object_points)
    poses = np.full((len(normalized), NUM_CANDIDATES, 4, 4), np.nan)
    errors = np.full((len(normalized), NUM_CANDIDATES), np.nan)
    for frame, corners in enumerate(normalized):
        seen = np.isfinite(corners).all(-1)
        # Of a body with several faces often only one is seen.
        planar = all_planar or (seen.sum() >= 4 and is_planar(object_points[seen]))
        if seen.sum() < (4 if planar else 6):
            continue
        solutions = _solutions(object_points[seen], corners[seen], planar=planar)
        right = _right_corners(object_points[seen], corners[seen], solutions)
        if not right.all():
            kept = np.flatnonzero(seen)[right]
            solutions = _solutions(object_points[kept], corners[kept], planar=planar) or solutions
        for place, (error, pose) in enumerate(solutions[:NUM_CANDIDATES]):
            poses[frame, place], errors[frame, place] = pose, error
    return poses, errors


def _solutions(points: Floats, corners: Floats, *, planar: bool) -> list[tuple[float, Floats]]:
    """Return errors and poses (4, 4) of the solutions that have all points in front of the camera, the best first."""
    solutions = []
    for rotation, translation in _solve(points, corners, planar=planar):
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation, translation
        if ((points @ rotation.T + translation)[:, 2] > 0).all():
            solutions.append((float(np.sqrt((_distances(points, corners, pose) ** 2).mean())), pose))
    return sorted(solutions, key=lambda pair: pair[0])


def _right_corners(points: Floats, corners: Floats, solutions: list[tuple[float, Floats]]) -> Booleans:
    """Return booleans (K,), false for few corners that are far from where the best solution has them."""
    everything = np.ones(len(points), dtype=bool)
    if not solutions or len(points) < _FEWEST_RIGHT:
        return everything
    distances = _distances(points, corners, solutions[0][1])
    right = np.asarray(distances <= _FALSE * np.median(distances))
    return right if right.mean() >= 1 - _MOST_FALSE else everything


def _distances(points: Floats, corners: Floats, pose: Floats) -> Floats:
    local = points @ pose[:3, :3].T + pose[:3, 3]
    return np.asarray(np.linalg.norm(local[:, :2] / local[:, 2:] - corners, axis=1))


def _solve(points: Floats, corners: Floats, *, planar: bool) -> list[tuple[Floats, Floats]]:
    method = cv2.SOLVEPNP_IPPE if planar else cv2.SOLVEPNP_SQPNP
    try:
        count, turns, shifts, _ = cv2.solvePnPGeneric(points, corners, np.eye(3), np.zeros(4), flags=method)
    except cv2.error:
        return []  # OpenCV raises for corners on one line and other degenerate arrangements
    solutions = []
    for number in range(count):
        turn, shift = turns[number], shifts[number]
        if planar:  # SQPNP is already optimal
            turn, shift = cv2.solvePnPRefineLM(points, corners, np.eye(3), np.zeros(4), turn, shift)
        rotation = np.asarray(cv2.Rodrigues(turn)[0], dtype=np.float64)
        translation = np.asarray(shift, dtype=np.float64).reshape(3)
        if np.isfinite(rotation).all() and np.isfinite(translation).all():
            solutions.append((rotation, translation))
    return solutions


def order_motions(object_points: Floats, orders: Ints) -> Floats:
    """Return rigid motions (G, 4, 4) that carry corner `orders[g][k]` to the position of corner k.

    If T is the board's pose computed with the first order, then T order_motions[g] is its pose for a camera that lists
    the corners in order g. All motions are rotations: for a flat board, mirroring in its plane is the same as turning
    it over.

    Raises:
        ValueError: If an order does not carry the board onto itself (a bug in the caller, not an input error).
    """
    center = object_points.mean(axis=0)
    local = object_points - center
    motions = np.tile(np.eye(4), (len(orders), 1, 1))
    for number, order in enumerate(orders):
        left, _, right = np.linalg.svd(local[order].T @ local)
        sign = np.sign(np.linalg.det(left @ right))
        # Points in a plane have no third singular value: its direction is free and is chosen to give a rotation.
        rotation = left @ np.diag([1, 1, sign]) @ right
        if not np.allclose(local[order], local @ rotation.T, atol=1e-6 * np.abs(local).max()):
            raise ValueError(f"orders: corner order {number} does not carry the board onto itself")
        motions[number, :3, :3], motions[number, :3, 3] = rotation, center - rotation @ center
    return motions


def is_planar(object_points: Floats) -> bool:
    """Return True if the points lie in one plane."""
    values = np.linalg.svd(object_points - object_points.mean(axis=0), compute_uv=False)
    return bool(values[2] < 1e-6 * values[0])
