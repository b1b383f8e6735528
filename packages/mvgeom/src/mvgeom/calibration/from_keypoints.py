"""Calibration without a board: cameras from the keypoints of a subject, or of a wand, that all views see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mvgeom._arrays import as_float64
from mvgeom._subset import spread_subset
from mvgeom.calibration.adjusted import Deviations
from mvgeom.calibration.boards import Floats, seen_corners
from mvgeom.calibration.findings import CalibrationError, Finding, note, sort_findings
from mvgeom.calibration.input_checks import as_recording
from mvgeom.calibration.keypoint_checks import check_connected, check_geometry, check_pairs, check_scene, connects
from mvgeom.calibration.keypoint_lenses import KeypointLenses, fit_lenses
from mvgeom.calibration.keypoint_quality import assess_keypoint_calibration
from mvgeom.calibration.known_lengths import KnownLength, Scale, find_scale
from mvgeom.calibration.rig_from_points import Pairs, PlacedRig, pair_noise, place_cameras, relate_all
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.projection import project
from mvgeom.robust import triangulate_robust

__all__ = ["KeypointCalibration", "calibrate_from_keypoints"]

_FOCAL_GRID = (0.5, 0.7, 0.95, 1.3, 1.8, 2.5, 3.6)
"""Focal lengths to start from, as fractions of the image's longer side: fields of view of 90 to 16 degrees."""

_MAX_POINTS = 4000
_MAX_FOCALS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class KeypointCalibration:
    """A rig calibrated from keypoints.

    Attributes:
        cameras: V cameras; the frame of the reference camera is the world.
        points_3d: (N, K, 3) world points; NaN where fewer than two agreeing views see the point.
        residuals: (N, V, K, 2) projection of these points minus keypoint in px; NaN where there is none.
        used: (N, V, K) booleans, true for keypoints that agree with the others.
        noise: Standard deviation of the keypoints per pixel coordinate in px.
        deviations: Standard deviations of the parameters relative to the reference camera, for errors that are
            correlated in time and by keypoint, principal points and distortion that are known only roughly, and a scale
            that is known as well as `scale` says.
        pairs: What each pair of views determined before the adjustment, by indices.
        lenses: Parameters of the lenses that were estimated.
        scale: Scale of the world; its factor is 1 and its standard deviation 0 without known lengths.
        findings: Problems and facts worth knowing.
    """

    cameras: CameraGroup
    points_3d: Floats
    residuals: Floats
    used: np.ndarray
    noise: float
    deviations: Deviations
    pairs: Pairs
    lenses: KeypointLenses
    scale: Scale
    findings: tuple[Finding, ...]

    @property
    def camera_error(self) -> Floats:
        """(V,) median reprojection error of each camera's keypoints that agree, in px; NaN for a camera without."""
        lengths = np.where(self.used, np.linalg.norm(self.residuals, axis=-1), np.nan)
        by_view = np.moveaxis(lengths, 1, 0).reshape(len(self.cameras), -1)
        return np.array([np.nanmedian(row) if np.isfinite(row).any() else np.nan for row in by_view])


def calibrate_from_keypoints(
    points: Floats,
    names: Sequence[str],
    sizes: Floats,
    *,
    keypoint_names: Sequence[str] | None = None,
    focal: float | Sequence[float] | None = None,
    intrinsics: CameraGroup | None = None,
    coefficients: int | None = None,
    lengths: Sequence[KnownLength] = (),
    reference: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> KeypointCalibration:
    """Calibrate a rig from keypoints that several views see in the same frames.

    Relative poses of pairs of views (essential matrices) start the rig, further views are added by the points that are
    known so far, and then cameras and points are adjusted together with a robust loss. Focal lengths that are not given
    are searched. What the keypoints do not tell of a lens comes from priors: principal points near the center of the
    image, nearly equal focal lengths of cameras with images of one size, and little distortion; one radial coefficient
    is used where the keypoints show it. See `keypoint_lenses.fit_lenses`.

    Args:
        points: (N, V, K, 2) K keypoints in N frames (of a subject, or one or more points of a wand), in full-image px;
            NaN is missing.
        names: V camera names.
        sizes: (V, 2) image width and height in px.
        keypoint_names: K names that `lengths` refer to; None if there are no lengths.
        focal: Known focal length in px, one or V; None to find it.
        intrinsics: Cameras whose intrinsics are kept, by name; excludes `focal`, and `sizes` must be theirs.
        coefficients: Number of distortion coefficients, 0 or 1; None uses one where the keypoints show it.
        lengths: Known distances of pairs of keypoints, which give the world's unit; without them, the mean distance of
            two cameras is 1.
        reference: Name of the camera whose frame is the world; None selects the first.
        progress: Function called at each stage.

    Returns:
        The calibrated rig with statistics and findings; errors among the findings mean that it must not be used.

    Raises:
        CalibrationError: If the keypoints do not determine the cameras: too few in common, in a plane, without depth,
            no distance between the cameras, or views that nothing connects. Its findings give the reasons.
        InputError: `wrong-shape`, `too-few-views`, `missing-view`, `out-of-range`, `excluded-options`, `size-mismatch`,
            or `keypoints-differ` if a length names an unknown keypoint.
    """
    notify = progress or (lambda _: None)
    cameras = _initial_cameras(names, as_float64(sizes, "sizes"), focal, intrinsics)
    points = as_recording(points, cameras)
    if reference is not None:
        cameras.index([reference])
    if coefficients not in (None, 0, 1):
        raise InputError(
            f"coefficients: found {coefficients}, expected 0 or 1: keypoints do not determine more",
            code="out-of-range",
            argument="coefficients",
            found=coefficients,
        )
    first = cameras.names.index(reference) if reference else 0
    known_focal = focal is not None or intrinsics is not None
    num_frames, num_views, num_keypoints, _ = points.shape
    flat = np.moveaxis(points, 1, 0).reshape(num_views, -1, 2)
    shared = np.flatnonzero(seen_corners(flat).sum(axis=0) >= 2)
    check_scene(cameras, flat)

    notify("pairs of views")
    groups = None if known_focal else _groups_of_sizes(cameras)
    candidates = [cameras] if known_focal else [_with_focal(cameras, share) for share in _FOCAL_GRID]
    rig, pairs = _best_start(candidates, flat[:, shared], groups, notify)

    notify("adjustment")
    chosen = shared[spread_subset(len(shared), _MAX_POINTS)]
    fitted = fit_lenses(
        _first_camera_is_world(rig.cameras, first),
        flat[:, chosen],
        frame=chosen // num_keypoints,
        keypoint=chosen % num_keypoints,
        reference=first,
        free_focal=not known_focal,
        free_lens=intrinsics is None,
        coefficients=coefficients,
        notify=notify,
    )
    cams = _first_camera_is_world(fitted.cameras, first)
    threshold = fitted.threshold
    scale = find_scale(points, cams, keypoint_names or (), lengths, threshold=threshold, noise=fitted.noise)
    check_geometry(cams, flat[:, shared], fitted, known_focal=known_focal, threshold=threshold)
    cams = cams.replace(translation=cams.translation * scale.factor)
    spread = fitted.scaled_deviations(cams, scale)
    robust = triangulate_robust(flat, cams, threshold=threshold)
    offsets = np.moveaxis(project(robust.points, cams) - flat, 0, -2)
    used = np.moveaxis(robust.inliers.reshape(num_views, num_frames, num_keypoints), 0, 1)
    findings = assess_keypoint_calibration(cams, points, used, fitted, scale)
    if not lengths:
        text = (
            "the unit is arbitrary (the mean distance of two cameras is 1): keypoints do not tell how large the scene "
            "is. Give the known distance of two keypoints with --length"
        )
        findings.append(note("unknown_scale", cams.names, text))
    return KeypointCalibration(
        cameras=cams,
        points_3d=robust.points.reshape(num_frames, num_keypoints, 3),
        residuals=np.swapaxes(offsets.reshape(num_frames, num_keypoints, num_views, 2), 1, 2),
        used=used,
        noise=fitted.noise,
        deviations=spread,
        pairs=pairs,
        lenses=fitted.lenses,
        scale=scale,
        findings=sort_findings(findings),
    )


def _initial_cameras(
    names: Sequence[str], sizes: Floats, focal: float | Sequence[float] | None, intrinsics: CameraGroup | None
) -> CameraGroup:
    """Return cameras at the world's origin, with given intrinsics, or with the principal point at the center."""
    count = len(names)
    if intrinsics is not None:
        if focal is not None:
            raise InputError(
                "focal: is given, and intrinsics are given. Leave one of them out.",
                code="excluded-options",
                argument="focal",
            )
        known = intrinsics.select(names)
        if sizes.shape != (count, 2) or not np.array_equal(known.sizes, sizes):
            raise InputError(
                f"intrinsics: other image sizes, found {known.sizes.tolist()}, expected {sizes.tolist()}. Resize the "
                "calibration (CameraGroup.resize).",
                code="size-mismatch",
                argument="intrinsics",
            )
        return known.replace(rotation=np.tile(np.eye(3), (count, 1, 1)), translation=np.zeros((count, 3)))
    if sizes.shape != (count, 2):
        raise InputError(
            f"sizes: wrong shape, found {sizes.shape}, expected ({count}, 2)",
            code="wrong-shape",
            argument="sizes",
            found=sizes.shape,
        )
    given = 1.0 if focal is None else focal
    lengths = as_float64([given] if isinstance(given, int | float) else given, "focal")
    if lengths.shape not in ((), (1,), (count,)):
        raise InputError(
            f"focal: wrong shape, found {lengths.shape}, expected one number or {count}",
            code="wrong-shape",
            argument="focal",
            found=lengths.shape,
        )
    matrix = np.tile(np.eye(3), (count, 1, 1))
    matrix[:, 0, 0] = matrix[:, 1, 1] = lengths
    matrix[:, :2, 2] = (sizes - 1) / 2
    return CameraGroup(
        names=tuple(names),
        sizes=sizes,
        matrix=matrix,
        distortion=np.zeros((count, 4)),
        rotation=np.tile(np.eye(3), (count, 1, 1)),
        translation=np.zeros((count, 3)),
    )


def _with_focal(cameras: CameraGroup, share: float) -> CameraGroup:
    matrix = cameras.matrix.copy()
    matrix[:, 0, 0] = matrix[:, 1, 1] = share * cameras.sizes.max(axis=1)
    return cameras.replace(matrix=matrix)


def _groups_of_sizes(cameras: CameraGroup) -> np.ndarray:
    """Return the group (V,) of each camera: cameras with images of one size, upright or not, may have one lens."""
    ordered = np.sort(cameras.sizes, axis=1)
    return np.unique(ordered, axis=0, return_inverse=True)[1].reshape(-1)


def _best_start(
    candidates: list[CameraGroup], flat: Floats, groups: np.ndarray | None, notify: Callable[[str], None]
) -> tuple[PlacedRig, Pairs]:
    """Place the cameras with each of the focal lengths; return the rig with the smallest error, and its pairs."""
    related = [relate_all(cams, flat, known_focal=groups is None) for cams in candidates]
    names = candidates[0].names
    check_pairs(names, related)
    check_connected(names, related)
    usable = [place for place, pairs in enumerate(related) if connects(names, pairs)]
    ranked = sorted(usable, key=lambda place: pair_noise(related[place]))[:_MAX_FOCALS]
    best: tuple[PlacedRig, Pairs] | None = None
    for number, place in enumerate(ranked):
        notify(f"poses, start {number + 1} of {len(ranked)}")
        rig = place_cameras(candidates[place], flat, related[place], groups=groups)
        if rig is not None and (best is None or rig.score < best[0].score):
            best = rig, related[place]
        if best is not None and best[0].agrees(related[ranked[0]]):
            break
    if best is None:
        raise CalibrationError(check_connected(names, related, placed=False))
    return best


def _first_camera_is_world(cams: CameraGroup, first: int) -> CameraGroup:
    """Move the world into the frame of one camera; its unit becomes the mean distance of two cameras."""
    turn, shift = cams.rotation[first], cams.translation[first]
    rotation = cams.rotation @ turn.T
    translation = cams.translation - rotation @ shift
    moved = cams.replace(rotation=rotation, translation=translation)
    gaps = np.linalg.norm(moved.centers[:, None] - moved.centers, axis=-1)
    mean = gaps.sum() / (len(cams) * (len(cams) - 1))
    return moved.replace(translation=moved.translation / mean)
