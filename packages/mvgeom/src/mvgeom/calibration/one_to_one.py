"""Bundle adjustment whose lenses stay one-to-one over their whole images."""

from __future__ import annotations

from mvgeom.calibration.boards import Floats
from mvgeom.calibration.bundle import Booleans, Scene, Views
from mvgeom.calibration.lens_shape import FULL_WEIGHT, lens_shape
from mvgeom.calibration.schur import Loss, Solution, adjust

__all__ = ["adjust_one_to_one"]

_WEIGHTS = (*(FULL_WEIGHT * share for share in (1e-3, 1e-2, 1e-1)), FULL_WEIGHT, FULL_WEIGHT)
"""px; the last one twice, because the farthest corner of an image moves with the focal length."""


def adjust_one_to_one(
    scene: Scene,
    views: Views,
    free: Booleans,
    *,
    loss: Loss,
    loss_scale: float | Floats = 1.0,
    tolerance: float = 1e-10,
    square: Booleans | None = None,
) -> Solution:
    """Minimize the reprojection errors, and again with a penalty if a lens is not one-to-one over its image.

    Few corners in the middle of an image leave the polynomial free outside, where it may turn back a thousandfold. The
    full penalty of such a lens is far above all errors of the corners, and a step away from it ends anywhere: so the
    penalty grows, and each adjustment begins close to its solution.

    Args:
        scene: Initial scene, as in `schur.adjust`.
        views: Observations in px.
        free: (V, camera_size) booleans, true for camera parameters that may change.
        loss: Loss of the residuals.
        loss_scale: Residual in px beyond which a robust loss reduces the weight.
        tolerance: Relative decrease of the cost below which the iteration stops.
        square: (V,) booleans, true for cameras with one focal length; None for no such camera.
    """
    solution = adjust(scene, views, free, loss=loss, loss_scale=loss_scale, tolerance=tolerance, square=square)
    shape = None
    for weight in _WEIGHTS:
        cameras = solution.scene.cameras
        shape = lens_shape(cameras, free, weight=weight, before=shape)
        if shape.cost(cameras) == 0:
            break
        solution = adjust(
            solution.scene,
            views,
            free,
            loss=loss,
            loss_scale=loss_scale,
            tolerance=tolerance,
            square=square,
            shape=shape,
        )
    return solution
