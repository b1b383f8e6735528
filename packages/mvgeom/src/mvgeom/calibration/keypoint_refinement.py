"""Refinement of a calibration by keypoints of the subject: bundle adjustment with points instead of boards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from mvgeom._arrays import as_float64, check_number
from mvgeom._subset import spread_subset
from mvgeom.calibration.adjusted import Deviations, deviations, larger_deviations
from mvgeom.calibration.boards import Floats, seen_corners
from mvgeom.calibration.bundle import NUM_POSE, Views
from mvgeom.calibration.clustered import clustered_covariance
from mvgeom.calibration.findings import Finding
from mvgeom.calibration.input_checks import as_recording
from mvgeom.calibration.lens_model import Lens
from mvgeom.calibration.point_adjustment import adjust_points
from mvgeom.calibration.refinement_quality import assess_refinement
from mvgeom.calibration.schur import Loss
from mvgeom.calibration.world_frame import keep_world
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.projection import project
from mvgeom.robust import triangulate_robust
from mvgeom.triangulation import reprojection_error, triangulate

__all__ = ["KEEP_INTRINSICS", "MIN_POINTS", "Errors", "Refinement", "refine"]

MIN_POINTS = 20
"""Smallest number of keypoints per camera. A pose needs only a few points; detecting outliers needs more."""

KEEP_INTRINSICS = Lens(num_coefficients=0, fix_intrinsics=True, fix_distortion=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class Errors:
    """Reprojection errors before and after a refinement, of points triangulated from all views by linear least squares.

    Attributes:
        before: (V,) median reprojection error in px of each camera with the given cameras; NaN without points.
        after: (V,) median reprojection error in px of each camera with the refined cameras; NaN without points.
        overall_before: Median reprojection error in px over all cameras, with the given cameras.
        overall_after: Median reprojection error in px over all cameras, with the refined cameras.
    """

    before: Floats
    after: Floats
    overall_before: float
    overall_after: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Refinement:
    """Refined cameras and their changes.

    Attributes:
        cameras: V refined cameras, in the world and scale of the given ones.
        points_3d: (N, K, 3) world points; NaN where fewer than two agreeing cameras see the point.
        residuals: (N, V, K, 2) projection of these points minus keypoint in px; NaN where there is none.
        errors: Reprojection errors in px before and after, computed in the same way.
        rotation_deg: (V,) rotation of each camera relative to the given pose, in degrees.
        shift: (V,) distance of each camera center from the given one, in the world's unit.
        noise: Standard deviation of the keypoints per pixel coordinate in px, after the refinement.
        deviations: Standard deviations of the adjusted parameters, for errors that are correlated in time and by
            keypoint; see `clustered_covariance`.
        iterations: Number of steps of the adjustment.
        converged: True if the last round of the adjustment ended before its limit of steps.
        findings: Reasons not to use the refined cameras (errors), and doubts (warnings).
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
    findings: tuple[Finding, ...] = ()


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
    """Refine cameras so that keypoints of a subject, seen in many frames, agree.

    Points are triangulated from the views that agree. Then cameras and points are adjusted together with a robust loss,
    and points are triangulated again with the new cameras. This is repeated until the keypoints' noise no longer
    changes, so points that were excluded because of a wrong camera are used again.

    Keypoints do not determine the world's position, orientation and scale. These are chosen so that the cameras change
    least, or, with `hold`, so that the pose of one camera is unchanged; see `keep_world`.

    Args:
        cams: V initial cameras, NumPy, no batch dimensions; within a few degrees of the true poses.
        points: (N, V, K, 2) K keypoints in N frames (labels or predictions), in full-image px; NaN is missing.
        weights: (N, V, K) weights of the squared errors, such as confidences; 0 or NaN removes a keypoint. None means
            equal weights.
        lens: Intrinsics that may change; none by default. Up to `num_coefficients` distortion coefficients change.
        loss: Loss of the reprojection errors, see `schur.adjust`.
        loss_scale: Error in px beyond which the loss reduces the weight; None means twice the keypoints' noise.
        hold: Name of the camera whose pose is kept as given; None keeps no pose fixed.
        max_points: Largest number of points to adjust; of more points, a subset that is spread over them is adjusted.
            All points are triangulated at the end.
        progress: Function called at each round.

    Returns:
        Refined cameras, world points and reprojection errors.

    Raises:
        InputError: `wrong-shape`, if a shape is wrong; `missing-view`, if `hold` is not a camera; `too-few-views`, if
            there are fewer than two cameras; `too-few-points`, if a camera shares fewer than 20 points with others (the
            message has its name and the number).
    """
    check_number(max_points, "max_points", whole=True)
    if loss_scale is not None:
        check_number(loss_scale, "loss_scale")
    notify = progress or (lambda _: None)
    points, weight = _observations(cams, points, weights)
    if hold is not None:
        cams.index([hold])
    num_frames, num_views, num_keypoints, _ = points.shape
    flat = np.moveaxis(points, 1, 0).reshape(num_views, -1, 2)
    weight = np.moveaxis(weight, 1, 0).reshape(num_views, -1)
    shared = np.flatnonzero((weight > 0).sum(axis=0) >= 2)
    chosen = shared[spread_subset(len(shared), max_points)]
    _check_enough(cams, weight[:, chosen])
    free = lens.free(num_views, cams.distortion.shape[-1])
    if hold is not None:
        free[cams.names.index(hold), :NUM_POSE] = False

    solved = adjust_points(
        cams,
        flat[:, chosen],
        weight[:, chosen],
        free,
        loss=loss,
        loss_scale=loss_scale,
        check=lambda views: _check_views(cams, views),
        progress=notify,
    )
    refined, solution, views, noise = solved.cameras, solved.solution, solved.views, solved.noise

    reach = float(np.median(np.linalg.norm(solved.start.position[views.block] - cams.centers[views.camera], axis=1)))
    moved, growth = keep_world(refined, cams, reach, hold=hold)
    world = triangulate_robust(flat, moved, threshold=2 * solved.loss_scale).points
    offsets = np.moveaxis(project(world, moved) - flat, 0, -2)
    rows = chosen[solved.kept]
    correlated = clustered_covariance(
        solution, views, free, rows // num_keypoints, rows % num_keypoints, loss=loss, loss_scale=solved.loss_scale
    )
    spread = larger_deviations(deviations(refined, solution.covariance, noise), deviations(refined, correlated, 1.0))
    turns = Rotation.from_matrix(moved.rotation @ np.swapaxes(cams.rotation, 1, 2))
    degrees = np.rad2deg(turns.magnitude())
    spread = dataclasses.replace(spread, position=spread.position * growth)
    return Refinement(
        cameras=moved,
        points_3d=world.reshape(num_frames, num_keypoints, 3),
        residuals=np.swapaxes(offsets.reshape(num_frames, num_keypoints, num_views, 2), 1, 2),
        errors=_assess(cams, moved, flat),
        rotation_deg=degrees,
        shift=np.linalg.norm(moved.centers - cams.centers, axis=1),
        noise=noise,
        deviations=spread,
        iterations=solved.iterations,
        converged=solution.converged,
        findings=assess_refinement(cams, moved, points, degrees, noise, spread),
    )


def _observations(cams: CameraGroup, points: Floats, weights: Floats | None) -> tuple[Floats, Floats]:
    """Return keypoints in float64, NaN where excluded, and weights (N, V, K), 0 where excluded."""
    points = as_recording(points, cams)
    present = seen_corners(points)
    if weights is None:
        return points, present.astype(np.float64)
    weights = as_float64(weights, "weights")
    if weights.shape != points.shape[:3]:
        raise InputError(
            f"weights: wrong shape, found {weights.shape}, expected {points.shape[:3]} as for the points",
            code="wrong-shape",
            argument="weights",
            found=weights.shape,
        )
    counts = present & (weights > 0)
    return np.where(counts[..., None], points, np.nan), np.where(counts, weights, 0.0)


def _check_enough(cams: CameraGroup, weight: Floats) -> None:
    for name, count in zip(cams.names, (weight > 0).sum(axis=1), strict=True):
        if count < MIN_POINTS:
            raise InputError(
                f"camera {name!r}: too few keypoints shared with other cameras, found {count}, expected {MIN_POINTS}",
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
                f"camera {name!r}: too few keypoints near the positions that the other cameras predict, found {count}, "
                f"expected {MIN_POINTS}. Either its rows are other frames than those of the other views (another "
                "session, a later start), or its keypoints are in other px (crops, another image size), or its pose "
                "is too wrong to be refined. Run `mvgeom check`.",
                code="too-few-points",
                view=name,
                found=int(count),
            )


def _assess(given: CameraGroup, refined: CameraGroup, flat: Floats) -> Errors:
    before, after = (
        reprojection_error(triangulate(flat, cams, refine_steps=0), flat, cams) for cams in (given, refined)
    )
    return Errors(
        before=np.nanmedian(before, axis=1),
        after=np.nanmedian(after, axis=1),
        overall_before=float(np.nanmedian(before)),
        overall_after=float(np.nanmedian(after)),
    )
