"""Joint adjustment of cameras and points, in rounds of triangulation and bundle adjustment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mvgeom.calibration.boards import Floats, Ints
from mvgeom.calibration.bundle import Booleans, Scene, Views
from mvgeom.calibration.lens_prior import LensPrior
from mvgeom.calibration.schur import Loss, Solution, adjust
from mvgeom.cameras import CameraGroup
from mvgeom.reconstruction import keypoint_noise
from mvgeom.robust import triangulate_robust
from mvgeom.triangulation import reprojection_error, triangulate
from mvgeom.wording import counted

__all__ = ["PointAdjustment", "adjust_points"]

_MAX_ROUNDS = 5
_LOSS_SIGMAS = 2.0
_SMALLEST_NOISE = 1e-6
_SETTLED = 1e-3
_FIRST_NOISE = 0.005
_TOLERANCE, _STEPS = 1e-6, 100
_ROUGH_TOLERANCE, _ROUGH_STEPS = 1e-3, 20
_GATE_SCALES = 8.0
_GATE_MEDIANS = 3.0


@dataclass(frozen=True, kw_only=True, eq=False)
class PointAdjustment:
    """Cameras and points that were adjusted together.

    Attributes:
        cameras: V adjusted cameras.
        start: Cameras and points at the beginning of the last round.
        solution: Solution of the last round; a block is a point.
        views: Observations of the last round.
        kept: (P,) booleans, true for the points of the last round.
        loss_scale: Error in px beyond which the loss reduced the weight.
        noise: Standard deviation of the keypoints per pixel coordinate in px.
        iterations: Number of steps of all rounds.
    """

    cameras: CameraGroup
    start: Scene
    solution: Solution
    views: Views
    kept: Booleans
    loss_scale: float
    noise: float
    iterations: int


def adjust_points(
    cams: CameraGroup,
    flat: Floats,
    weight: Floats,
    free: Booleans,
    *,
    loss: Loss = "cauchy",
    loss_scale: float | None = None,
    square: Booleans | None = None,
    groups: Ints | None = None,
    prior: Callable[[float], LensPrior] | None = None,
    rounds: int = _MAX_ROUNDS,
    rough: bool = False,
    check: Callable[[Views], None] = lambda _: None,
    progress: Callable[[str], None] = lambda _: None,
) -> PointAdjustment:
    """Adjust cameras and points together, until the keypoints' noise no longer changes.

    In each round, points are triangulated from the views that agree, and adjusted with the cameras. So points that were
    excluded because of a wrong camera are used again.

    Args:
        cams: V initial cameras.
        flat: (V, P, 2) keypoints in full-image px; NaN is missing.
        weight: (V, P) weights of the squared errors; 0 removes a keypoint.
        free: (V, C) booleans, true for camera parameters that may change.
        loss: Loss of the reprojection errors, see `schur.adjust`.
        loss_scale: Error in px beyond which the loss reduces the weight; None means twice the keypoints' noise.
        square: (V,) booleans, see `schur.adjust`.
        groups: (V,) groups of cameras with one lens, see `schur.adjust`.
        prior: Function that returns the prior of the lenses for a noise in px; None for no prior.
        rounds: Largest number of rounds.
        rough: True for few steps, as a start for another adjustment.
        check: Function that raises an error where the observations of a round are too few.
        progress: Function called at each round.
    """
    refined, iterations = cams, 0
    noise = keypoint_noise(flat, cams)
    if not np.isfinite(noise):  # a camera is so wrong that no point is in front of all cameras
        noise = _FIRST_NOISE * float(cams.sizes.max())
    for turn in range(rounds):
        scale = loss_scale if loss_scale is not None else _LOSS_SIGMAS * max(noise, _SMALLEST_NOISE)
        scene, views, kept = _start(refined, flat, weight, scale)
        check(views)
        used = f"{counted(views.num_observations, 'keypoint')} of {counted(views.num_blocks, 'point')}"
        progress(f"round {turn + 1}: {used}, {noise:.2f} px")
        solution = adjust(
            scene,
            views,
            free,
            loss=loss,
            loss_scale=scale,
            tolerance=_ROUGH_TOLERANCE if rough else _TOLERANCE,
            max_iterations=_ROUGH_STEPS if rough else _STEPS,
            square=square,
            groups=groups,
            prior=None if prior is None else prior(max(noise, _SMALLEST_NOISE)),
        )
        refined, iterations = solution.scene.cameras, iterations + solution.iterations
        previous, noise = noise, keypoint_noise(flat, refined)
        if abs(noise - previous) <= _SETTLED * max(noise, _SMALLEST_NOISE):
            break
    return PointAdjustment(
        cameras=refined,
        start=scene,
        solution=solution,
        views=views,
        kept=kept,
        loss_scale=scale,
        noise=noise,
        iterations=iterations,
    )


def _start(cams: CameraGroup, flat: Floats, weight: Floats, scale: float) -> tuple[Scene, Views, Booleans]:
    """Return the initial scene, its observations, one view each, and booleans (P,) for the points that are in it.

    Points are triangulated from agreeing views, or from all views if none agree. Keypoints of points behind their
    camera are excluded, and so are keypoints with an error beyond the reach of the loss, unless all errors of that
    camera are as large.
    """
    world = triangulate_robust(flat, cams, threshold=2 * scale).points
    world = np.where(np.isfinite(world), world, triangulate(flat, cams))
    error = reprojection_error(world, flat, cams)
    usual = np.array([[np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.inf] for row in error])
    # The error is NaN where the point is behind the camera; the comparison is then false.
    counts = (weight > 0) & (error < np.maximum(_GATE_MEDIANS * usual, _GATE_SCALES * scale))
    kept = counts.sum(axis=0) >= 2
    camera, point = np.nonzero(counts & kept)
    views = Views(
        camera=camera,
        block=(np.cumsum(kept) - 1)[point],
        pixels=flat[camera, point][:, None],
        weights=weight[camera, point][:, None],
        num_cameras=len(cams),
        num_blocks=int(kept.sum()),
    )
    return Scene(cameras=cams, rotation=None, position=world[kept], object_points=np.zeros((1, 3))), views, kept
