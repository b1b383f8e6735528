"""Boards at the mirrored one of their two poses, which an adjustment cannot leave by itself."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from mvgeom.calibration.board_poses import normalize_corners, pose_candidates
from mvgeom.calibration.boards import Floats
from mvgeom.calibration.bundle import Booleans, Scene, Views, residuals
from mvgeom.calibration.one_to_one import adjust_one_to_one
from mvgeom.calibration.schur import Loss, Solution

__all__ = ["leave_mirrored_poses"]

_AS_GOOD = 2.0
"""Error of the other pose in errors of the better one, up to which one camera does not tell them apart."""

_OTHER_DEG = 2.0
"""Smallest turn between the two poses; nearer ones are the same minimum."""

_MOST_TRIALS = 12
_MOST_BOARDS = 40
"""Boards of a rig in which one mirrored board does not turn the lens; the others leave it out."""

_LESS = 0.99
"""Cost beside that of the found poses, below which a mirrored one is right; more is that of rounding and tolerances."""


def leave_mirrored_poses(
    solution: Solution,
    views: Views,
    free: Booleans,
    *,
    loss: Loss,
    loss_scale: float | Floats,
    square: Booleans | None = None,
) -> Solution:
    """Try the other pose of boards of which one camera does not tell the two poses apart.

    A small, distant or partly covered board fits nearly as well when it is mirrored in depth. From a wrong one, the
    adjustment ends at a wrong lens that fits, and no small step leads away from there.

    Args:
        solution: Adjusted scene.
        views: Observations in px.
        free: (V, camera_size) booleans, true for camera parameters that may change.
        loss: Loss of the residuals.
        loss_scale: Residual in px beyond which a robust loss reduces the weight.
        square: (V,) booleans, true for cameras with one focal length; None for no such camera.

    Returns:
        The solution, with other poses where the whole scene fits better with them.
    """
    if views.num_blocks > _MOST_BOARDS:
        return solution
    for block, rotation, position in _other_poses(solution.scene, views):
        scene = solution.scene
        assert scene.rotation is not None
        turns, places = scene.rotation.copy(), scene.position.copy()
        turns[block], places[block] = rotation, position
        start = dataclasses.replace(scene, rotation=turns, position=places)
        if not np.isfinite(residuals(start, views)).all():  # behind another camera
            continue
        tried = adjust_one_to_one(start, views, free, loss=loss, loss_scale=loss_scale, tolerance=1e-6, square=square)
        if tried.cost < _LESS * solution.cost:
            solution = tried
    return solution


def _other_poses(scene: Scene, views: Views) -> list[tuple[int, Floats, Floats]]:
    """Return block, rotation and position in the world of poses to try, those that fit best first."""
    assert scene.rotation is not None
    found: list[tuple[float, int, Floats, Floats]] = []
    for camera in np.unique(views.camera):
        rows = np.flatnonzero(views.camera == camera)
        one = scene.cameras.select([scene.cameras.names[camera]])
        pixels = np.where(views.weights[rows, :, None] > 0, views.pixels[rows], np.nan)
        poses, errors = pose_candidates(normalize_corners(pixels[None], one)[0], scene.object_points)
        turn, shift = scene.cameras.rotation[camera], scene.cameras.translation[camera]
        for row, pair, error in zip(rows, poses, errors, strict=True):
            if not (error[1] < _AS_GOOD * error[0]):  # NaN if there is only one
                continue
            block = int(views.block[row])
            rotations = turn.T @ pair[:, :3, :3]
            angles = np.asarray(Rotation.from_matrix(rotations @ scene.rotation[block].T).magnitude())
            other = int(np.argmax(angles))
            if np.rad2deg(angles[other]) > _OTHER_DEG:
                position = turn.T @ (pair[other, :3, 3] - shift)
                found.append((float(error[1] / error[0]), block, rotations[other], position))
    found.sort(key=lambda each: each[0])
    return [each[1:] for each in found[:_MOST_TRIALS]]
