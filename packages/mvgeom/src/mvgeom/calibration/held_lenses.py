"""Uncertainty of lenses that a rig keeps as each camera's own images gave them."""

from __future__ import annotations

import numpy as np

from mvgeom.calibration.boards import Floats
from mvgeom.calibration.boards_alone import boards_alone
from mvgeom.calibration.bundle import NUM_POSE, Booleans
from mvgeom.calibration.detections import Detections
from mvgeom.calibration.rig_adjustment import noise_of, typical_scale
from mvgeom.calibration.schur import adjust
from mvgeom.cameras import CameraGroup

__all__ = ["lens_covariance"]


def lens_covariance(
    cameras: CameraGroup, detections: Detections, used: Booleans, free: Booleans, square: Booleans
) -> Floats:
    """Compute the covariance (V, C, V, C) of lenses for the noise of each camera's own images; zeros for poses.

    Boards of unknown poses tell much less of a lens than those that other cameras see too.

    Args:
        cameras: V cameras with the lenses of their own images.
        detections: Corners of the boards.
        used: (V, F) booleans, true for boards that the lenses were adjusted to.
        free: (V, C) booleans, true for parameters of the lenses that were adjusted, or that count as unknown.
        square: (V,) booleans, true for cameras with one focal length.
    """
    covariance = np.zeros((*free.shape, *free.shape))
    for view in range(len(cameras)):
        alone = boards_alone(cameras, view, detections, used[view])
        if alone is None:
            continue
        scene, views = alone
        lens = free[[view]].copy()
        lens[:, :NUM_POSE] = False
        scale = typical_scale(scene, views)
        found = adjust(
            scene, views, lens, loss="huber", loss_scale=scale, max_iterations=0, square=square[[view]]
        ).covariance
        noise = noise_of(scene, views, lens, "huber", scale)
        covariance[view, :, view] = found[0, :, 0] * noise**2
    return covariance
