"""Boards that do not determine a camera: all at one place, or all parallel to its sensor."""

from __future__ import annotations

import dataclasses

import numpy as np

from mvgeom.calibration.boards import Floats, seen_corners
from mvgeom.calibration.bundle import NUM_POSE, Booleans, Scene, Views, residuals
from mvgeom.calibration.lens_jacobian import NUM_INTRINSICS
from mvgeom.calibration.schur import adjust
from mvgeom.cameras import CameraGroup

__all__ = ["distinct_boards", "error_at_other_focal_lengths"]

_SAME_PLACE = 0.005
"""Root mean square distance of the corners, as a fraction of the image's longer side, up to which a board rests."""

_OTHER_FOCAL = 0.7


def distinct_boards(points: Floats, size: Floats) -> int:
    """Count the boards of one camera that are at different places, or differently tilted.

    Args:
        points: (F, K, 2) corners in full-image px; NaN is missing.
        size: (2,) image width and height in px.
    """
    limit = _SAME_PLACE * float(size.max())
    kept: list[Floats] = []
    for corners in points:
        seen = seen_corners(corners)
        for other in kept:
            both = seen & seen_corners(other)
            # Boards that share no corner show different parts, so that one of them moved.
            if both.any() and np.sqrt(((corners[both] - other[both]) ** 2).sum(-1).mean()) < limit:
                break
        else:
            kept.append(corners)
    return len(kept)


def error_at_other_focal_lengths(scene: Scene, views: Views, free: Booleans) -> tuple[float, Scene]:
    """Return the error of one camera's boards at a clearly other focal length, divided by that at the adjusted one.

    Boards that are parallel to the sensor fit at any focal length, nearer or farther, and the ratio is 1.

    Args:
        scene: Adjusted camera and boards.
        views: The boards' corners.
        free: (1, C) booleans, true for camera parameters that were estimated.

    Returns:
        The smaller ratio of root mean square errors at 0.7 and 1 / 0.7 times the focal length, boards and principal
        point (if it is free) adjusted to it, and the scene with that error.
    """
    at_found = _rms(scene, views)
    kept = np.zeros_like(free)
    kept[:, NUM_POSE + 2 : NUM_POSE + NUM_INTRINSICS] = free[:, NUM_POSE + 2 : NUM_POSE + NUM_INTRINSICS]
    found = []
    for factor in (_OTHER_FOCAL, 1 / _OTHER_FOCAL):
        other = dataclasses.replace(
            scene, cameras=_rescaled(scene.cameras, factor), position=scene.position * [1, 1, factor]
        )
        other = adjust(other, views, kept, loss="huber", max_iterations=40, tolerance=1e-6).scene
        found.append((_rms(other, views), other))
    error, best = min(found, key=lambda pair: pair[0])
    return error / max(at_found, 1e-9), best


def _rms(scene: Scene, views: Views) -> float:
    """Return the root mean square of the errors of the corners in px, large ones limited to three medians."""
    lengths = np.linalg.norm(residuals(scene, views), axis=-1)[views.weights > 0]
    return float(np.sqrt((np.minimum(lengths, 3 * np.median(lengths)) ** 2).mean()))


def _rescaled(camera: CameraGroup, factor: float) -> CameraGroup:
    """Return the camera with another focal length and the same displacement in px by its radial distortion."""
    matrix, distortion = camera.matrix.copy(), camera.distortion.copy()
    matrix[:, [0, 1], [0, 1]] *= factor
    if not camera.fisheye[0]:
        powers = np.array([2, 4, 1, 1, 6])[: distortion.shape[-1]]
        distortion[:, : len(powers)] *= factor**powers
    return camera.replace(matrix=matrix, distortion=distortion)
