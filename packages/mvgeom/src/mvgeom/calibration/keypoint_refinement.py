"""Refining a calibration by keypoints of the subject itself: the same adjustment, with points instead of boards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from mvgeom.calibration.adjusted import Deviations, deviations
from mvgeom.calibration.boards import Floats, seen_corners
from mvgeom.calibration.bundle import NUM_POSE, Scene, Views
from mvgeom.calibration.intrinsics import Lens
from mvgeom.calibration.schur import Loss, adjust
from mvgeom.calibration.world_frame import keep_world
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.projection import project
from mvgeom.reconstruction import keypoint_noise
from mvgeom.robust import triangulate_robust
from mvgeom.triangulation import reprojection_error, triangulate

MIN_POINTS = 20
"""Per camera. Six parameters of a pose need a few points; that outliers among them show needs more."""

_MAX_ROUNDS = 5
_LOSS_SIGMAS = 2.0
_SMALLEST_NOISE = 1e-6
_SETTLED = 1e-3
_FIRST_NOISE = 0.005
_TOLERANCE = 1e-6
_GATE_SCALES = 8.0
_GATE_MEDIANS = 3.0

KEEP_INTRINSICS = Lens(num_coefficients=0, fix_intrinsics=True, fix_distortion=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class Errors:
    """Reprojection errors before and after, of points triangulated anew from all views by linear least squares.

    Attributes:
        before: (V,) median over points of each camera's error in px with the cameras as given; NaN without points.
        after: (V,) the same with the refined cameras.
        overall_before: median over all cameras, px.
        overall_after: the same with the refined cameras.
    """

    before: Floats
    after: Floats
    overall_before: float
    overall_after: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Refinement:
    """Refined cameras and what changed.

    Attributes:
        cameras: V cameras, in the world and scale of the given ones.
        points_3d: (N, K, 3) world; NaN where fewer than two cameras that agree see the point.
        residuals: (N, V, K, 2) projection of these points minus keypoint in px; NaN where there is none.
        errors: before and after, judged alike.
        rotation_deg: (V,) by how much each camera turned.
        shift: (V,) by how much each camera's centre moved, in the world's unit.
        noise: standard deviation of the keypoints per pixel coordinate after the refinement.
        deviations: standard deviations of what was adjusted, for that noise.
        iterations: steps of the adjustment.
        converged: whether its last round ended before its limit of steps.
    """

    cameras: CameraGroup
    points_3d: Floats
    residuals: Floats
    errors: Errors
    rotation_deg: Floats
    shift: Floats
    noise: float
    deviations: Deviations
    iterations: int
    converged: bool


def refine(
    cams: CameraGroup,
    points: Floats,
    *,
    weights: Floats | None = None,
    lens: Lens = KEEP_INTRINSICS,
    loss: Loss = "cauchy",
    loss_scale: float | None = None,
    hold: str | None = None,
    max_points: int = 20_000,
    progress: Callable[[str], None] | None = None,
) -> Refinement:
    """Adjust the cameras so that keypoints of a subject, seen at many moments, agree.

    Points start where the views that agree triangulate them. Cameras and points are then adjusted together with a
    robust loss, and points triangulated anew with the new cameras, until the keypoints' noise changes no more: points
    that a wrong camera had spoiled come back.

    Keypoints say nothing about the world's position, orientation and size. These are kept so that the cameras change
    least, or, with `hold`, so that one camera stays exactly where it is; see `keep_world`.

    Args:
        cams: V cameras to start from, NumPy, no batch dimensions; within a few degrees of the truth.
        points: (N, V, K, 2) frame px of K keypoints at N moments, labels or predictions; NaN is missing.
        weights: (N, V, K) of the squared errors, such as confidences; None for equal ones. 0 or NaN removes a keypoint.
        lens: which intrinsics may change; none by default. Distortion changes up to `num_coefficients`.
        loss: of the errors, see `schur.adjust`.
        loss_scale: px where the loss begins to give less weight; None takes twice the keypoints' noise.
        hold: camera whose pose stays as given.
        max_points: of more points, an even selection is adjusted; all of them are triangulated at the end.
        progress: called at each round.

    Returns:
        The refined cameras, points and errors.

    Raises:
        ValueError: for wrong shapes, an unknown camera, fewer than two cameras, or a camera that shares fewer than 20
            points with others (the message names it and the number).
    """
    say = progress or (lambda _: None)
    points, weight = _observations(cams, points, weights)
    if hold is not None:
        cams.index([hold])
    num_moments, num_views, num_keypoints, _ = points.shape
    flat = np.moveaxis(points, 1, 0).reshape(num_views, -1, 2)
    weight = np.moveaxis(weight, 1, 0).reshape(num_views, -1)
    shared = np.flatnonzero((weight > 0).sum(axis=0) >= 2)
    chosen = shared[:: max(1, -(-len(shared) // max_points))]
    _check_enough(cams, weight[:, chosen])
    free = lens.free(num_views, cams.distortion.shape[-1])
    if hold is not None:
        free[cams.names.index(hold), :NUM_POSE] = False

    refined, iterations = cams, 0
    noise = keypoint_noise(flat[:, chosen], cams)
    if not np.isfinite(noise):  # a camera so wrong that no point lies in front of all
        noise = _FIRST_NOISE * float(cams.sizes.max())
    for turn in range(_MAX_ROUNDS):
        scale = loss_scale if loss_scale is not None else _LOSS_SIGMAS * max(noise, _SMALLEST_NOISE)
        scene, views = _start(refined, flat[:, chosen], weight[:, chosen], scale)
        _check_views(cams, views)
        say(f"round {turn + 1}: {views.num_observations} keypoints of {views.num_blocks} points, noise {noise:.2f} px")
        solution = adjust(scene, views, free, loss=loss, loss_scale=scale, tolerance=_TOLERANCE)
        refined, iterations = solution.scene.cameras, iterations + solution.iterations
        previous, noise = noise, keypoint_noise(flat[:, chosen], refined)
        if abs(noise - previous) <= _SETTLED * max(noise, _SMALLEST_NOISE):
            break

    reach = float(np.median(np.linalg.norm(scene.position[views.block] - cams.centers[views.camera], axis=1)))
    moved, growth = keep_world(refined, cams, reach, hold=hold)
    world = triangulate_robust(flat, moved, threshold=2 * scale).points
    offsets = np.moveaxis(project(world, moved) - flat, 0, -2)
    spread = deviations(refined, solution.covariance, noise)
    turns = Rotation.from_matrix(moved.rotation @ np.swapaxes(cams.rotation, 1, 2))
    return Refinement(
        cameras=moved,
        points_3d=world.reshape(num_moments, num_keypoints, 3),
        residuals=np.swapaxes(offsets.reshape(num_moments, num_keypoints, num_views, 2), 1, 2),
        errors=_judge(cams, moved, flat),
        rotation_deg=np.rad2deg(turns.magnitude()),
        shift=np.linalg.norm(moved.centers - cams.centers, axis=1),
        noise=noise,
        deviations=dataclasses.replace(spread, position=spread.position * growth),
        iterations=iterations,
        converged=solution.converged,
    )


def _observations(cams: CameraGroup, points: Floats, weights: Floats | None) -> tuple[Floats, Floats]:
    """Keypoints in float64, NaN where they do not count, and weights (N, V, K), 0 there."""
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 4 or points.shape[1] != len(cams) or points.shape[3] != 2:
        raise InputError(
            f"keypoints must have shape (N, {len(cams)}, K, 2) for the cameras {list(cams.names)}, got {points.shape}",
            code="wrong-shape",
            argument="points",
            found=points.shape,
        )
    if len(cams) < 2:
        raise InputError(
            "keypoints of one camera say nothing about its pose; at least two cameras are needed",
            code="too-few-views",
            found=len(cams),
            expected=2,
        )
    present = seen_corners(points)
    if weights is None:
        return points, present.astype(np.float64)
    if np.shape(weights) != points.shape[:3]:
        raise InputError(
            f"weights must have the keypoints' shape {points.shape[:3]}, got {np.shape(weights)}",
            code="wrong-shape",
            argument="weights",
            found=np.shape(weights),
        )
    counts = present & (np.asarray(weights) > 0)
    return np.where(counts[..., None], points, np.nan), np.where(counts, weights, 0.0)


def _check_enough(cams: CameraGroup, weight: Floats) -> None:
    for name, count in zip(cams.names, (weight > 0).sum(axis=1), strict=True):
        if count < MIN_POINTS:
            raise InputError(
                f"camera {name!r} shares {count} keypoints with other cameras; at least {MIN_POINTS} are needed",
                code="too-few-points",
                view=name,
                found=int(count),
                expected=MIN_POINTS,
            )


def _check_views(cams: CameraGroup, views: Views) -> None:
    for view, name in enumerate(cams.names):
        count = int((views.camera == view).sum())
        if count < MIN_POINTS:
            raise InputError(
                f"only {count} keypoints of camera {name!r} fall near where the other cameras see them; its pose is "
                "too far off to be refined, or its keypoints are in other pixels (crops, another size). `mvgeom "
                "check` tells more",
                code="too-few-points",
                view=name,
                found=int(count),
            )


def _start(cams: CameraGroup, flat: Floats, weight: Floats, scale: float) -> tuple[Scene, Views]:
    """Points where agreeing views triangulate them, else where all do, and their observations, one view each.

    Keypoints behind their camera do not count, nor those that are off by more than the loss would notice, unless the
    camera is off by as much everywhere.
    """
    world = triangulate_robust(flat, cams, threshold=2 * scale).points
    world = np.where(np.isfinite(world), world, triangulate(flat, cams))
    error = reprojection_error(world, flat, cams)
    usual = np.array([[np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.inf] for row in error])
    # Not a number where the point is behind the camera: compares false.
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
    return Scene(cameras=cams, rotation=None, position=world[kept], object_points=np.zeros((1, 3))), views


def _judge(given: CameraGroup, refined: CameraGroup, flat: Floats) -> Errors:
    before, after = (
        reprojection_error(triangulate(flat, cams, refine_steps=0), flat, cams) for cams in (given, refined)
    )
    return Errors(
        before=np.nanmedian(before, axis=1),
        after=np.nanmedian(after, axis=1),
        overall_before=float(np.nanmedian(before)),
        overall_after=float(np.nanmedian(after)),
    )
