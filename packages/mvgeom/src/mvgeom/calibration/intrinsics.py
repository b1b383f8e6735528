"""Intrinsics of one camera from its views of a board: a search over the focal length, then adjustment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mvgeom.calibration.board_poses import normalize_corners, pose_candidates
from mvgeom.calibration.board_variety import distinct_boards, error_at_other_focal_lengths
from mvgeom.calibration.boards import Floats, seen_corners
from mvgeom.calibration.bundle import NUM_POSE, Booleans, Scene, Views, residuals
from mvgeom.calibration.findings import CalibrationError, Finding, error, note, warning
from mvgeom.calibration.lens_choice import choose_lens
from mvgeom.calibration.lens_jacobian import NUM_INTRINSICS
from mvgeom.calibration.lens_model import Lens
from mvgeom.calibration.one_to_one import adjust_one_to_one
from mvgeom.calibration.schur import adjust
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.wording import counted

__all__ = ["MIN_BOARDS", "FittedLens", "calibrate_intrinsics", "known_intrinsics"]

MIN_BOARDS = 3
_FEW_BOARDS = 10
_FOCAL_TRIALS = np.geomspace(0.35, 6.0, 24)
"""Focal lengths to try, in units of the image's longer side: fields of view from 110 to 10 degrees."""
_TRIAL_BOARDS = 8
_OUTLIER_SIGMAS = 6.0
_FEW_COEFFICIENTS = 2
_UNDETERMINED = 1.01
"""Limit of the error at a focal length that is 30 % off, in errors at the found one; about 2 with tilted boards."""

_UNDETERMINED_CHI_SQUARE = 9.0
"""Limit of the increase of chi square at that focal length: three standard deviations."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedLens:
    """Intrinsics of one camera from its own images.

    Attributes:
        camera: Group with this one camera at the world's origin.
        lens: Lens parameters that were estimated, with the number of coefficients that was chosen.
        used: (F,) booleans, true for boards that fit.
        rms: Root mean square of the reprojection errors of these boards in px.
        findings: Problems of the boards.
    """

    camera: CameraGroup
    lens: Lens
    used: Booleans
    rms: float
    findings: tuple[Finding, ...]


def calibrate_intrinsics(name: str, size: Floats, points: Floats, object_points: Floats, lens: Lens) -> FittedLens:
    """Calibrate the intrinsics of one camera from its own images.

    First the focal length is found by a search, with the principal point at the image center and no distortion. Then
    focal length and board poses are adjusted, and finally all free parameters of the lens, with a robust loss. Boards
    that fit much worse than the others (false corners) are left out, and the adjustment is repeated. If the number of
    distortion coefficients is open, it is then chosen by boards that are left out, and the lens adjusted once more.

    Args:
        name: Name of the camera.
        size: (2,) image width and height in px.
        points: (F, K, 2) board corners in full-image px; NaN is missing.
        object_points: (K, 3) corners in the board's frame and unit.
        lens: Lens parameters to estimate.

    Raises:
        CalibrationError: If there are fewer than 3 boards at different places, no focal length fits them, or all do.
    """
    seen = seen_corners(points).sum(-1) >= 4
    if seen.sum() < MIN_BOARDS:
        raise CalibrationError([_too_few(name, int(seen.sum()), int(seen.sum()), error)])
    places = distinct_boards(points[seen], size)
    if places < MIN_BOARDS:
        raise CalibrationError([_too_few(name, int(seen.sum()), places, error)])
    start = _first_guess(name, size, points[seen], object_points, lens)
    scene, views, used, fits = _without_outliers(start, points, object_points, seen, lens)
    if lens.num_coefficients is None and not lens.fix_distortion:
        lens = choose_lens(scene, views, lens, _fit)
    scene = _fit_gradually(scene, views, lens, fits)
    free = lens.free(1, scene.cameras.distortion.shape[-1])
    ratio, other = error_at_other_focal_lengths(scene, views, free)
    if ratio < 1:  # the search ended beside the best focal length, or there is none
        scene = _fit(other, views, lens)
        ratio, _ = error_at_other_focal_lengths(scene, views, free)
    # With blurred corners any focal length fits nearly as well, but many of them still tell one from another.
    coordinates = 2 * int(views.weights.sum())
    if ratio < _UNDETERMINED and 2 * coordinates * np.log(max(ratio, 1.0)) < _UNDETERMINED_CHI_SQUARE:
        raise CalibrationError([_parallel(name, int(used.sum()), ratio)])
    places = distinct_boards(points[used], size)
    findings = [_too_few(name, int(used.sum()), places, warning)] if places < _FEW_BOARDS else []
    if (seen & ~used).any():
        left_out = int((seen & ~used).sum())
        text = (
            f"camera {name!r}: boards that do not fit its lens (false corners, or a moving board), left out: "
            f"{left_out} of {seen.sum()}"
        )
        findings.append(note("boards_left_out", [name], text, left_out=left_out, boards=int(seen.sum())))
    squares = (residuals(scene, views) ** 2).sum((1, 2)) / views.weights.sum(1)
    return FittedLens(
        camera=scene.cameras, lens=lens, used=used, rms=float(np.sqrt(squares.mean())), findings=tuple(findings)
    )


def _without_outliers(
    start: CameraGroup, points: Floats, object_points: Floats, seen: Booleans, lens: Lens
) -> tuple[Scene, Views, Booleans, dict[int, Scene]]:
    """Leave out boards that do not fit a lens of few coefficients.

    Returns:
        The camera without distortion and the boards that fit, adjusted, their corners, booleans (F,) for them, and the
        fits by `_fit_gradually` that were made on the way.
    """
    used, camera = seen.copy(), start
    fits: dict[int, Scene] = {}
    rough = lens.with_coefficients(min(_FEW_COEFFICIENTS, lens.most_coefficients))
    for attempt in range(3):
        poses, errors = pose_candidates(normalize_corners(points[None, used], camera)[0], object_points)
        solved = np.isfinite(errors[:, 0])
        used[np.flatnonzero(used)[~solved]] = False
        scene, views = _alone(camera, points[used], object_points, poses[solved, 0])
        scene = adjust(scene, views, _focal_only(camera), loss="huber", tolerance=1e-8, square=lens.square(1)).scene
        undistorted = scene
        camera = undistorted.cameras
        fits = {}
        if attempt == 2:
            break
        scene = _fit_gradually(undistorted, views, rough, fits)
        rms = np.sqrt((residuals(scene, views) ** 2).sum((1, 2)) / views.weights.sum(1))
        outliers = np.asarray(rms > max(_OUTLIER_SIGMAS * float(np.median(rms)), 1.0))
        if not outliers.any() or (~outliers).sum() < MIN_BOARDS:
            break
        used[np.flatnonzero(used)[outliers]] = False
    return undistorted, views, used, fits


def _fit_gradually(scene: Scene, views: Views, lens: Lens, fits: dict[int, Scene]) -> Scene:
    """Adjust a lens with few coefficients first: many at once, from a bad start, end at absurd focal lengths.

    Coefficients that make the fit worse, because the boards do not determine them at all, stay 0.

    Args:
        scene: The camera without distortion, and its boards.
        views: The boards' corners.
        lens: Lens parameters to estimate.
        fits: Scene by number of coefficients, of this start and these corners; those that are made are added.
    """
    most = lens.most_coefficients
    for count in sorted({0, min(_FEW_COEFFICIENTS, most), most}):
        if count not in fits:
            richer = _fit(scene, views, lens.with_coefficients(count))
            better = count == 0 or _total_error(richer, views) <= _total_error(scene, views)
            fits[count] = richer if better else scene
        scene = fits[count]
    return scene


def _total_error(scene: Scene, views: Views) -> float:
    """Return the sum of the residuals' lengths in px, which outliers do not dominate."""
    return float(np.linalg.norm(residuals(scene, views), axis=-1).sum())


def _fit(scene: Scene, views: Views, lens: Lens) -> Scene:
    """Adjust the free parameters of one lens, and its boards."""
    free = lens.free(1, int(scene.cameras.distortion.shape[-1]))
    free[:, :NUM_POSE] = False
    return adjust_one_to_one(scene, views, free, loss="huber", tolerance=1e-7, square=lens.square(1)).scene


def _parallel(name: str, boards: int, ratio: float) -> Finding:
    text = (
        f"camera {name!r}: its focal length is unknown, because its {boards} boards are nearly parallel to the sensor, "
        f"or all tilted alike: they fit as well at a focal length that is 30 % off (error {ratio:.3f} times as large). "
        "Tilt the board by 30 to 50 degrees, in several directions (or give the intrinsics of an earlier calibration)"
    )
    return error("parallel_boards", [name], text, boards=boards, error_ratio=ratio)


def known_intrinsics(name: str, size: Floats, cameras: CameraGroup, lens: Lens) -> CameraGroup:
    """Return a group with one camera at the world's origin, with the intrinsics of the camera of that name.

    Raises:
        InputError: `missing-view`, if there is no such camera; `size-mismatch`, if the image size differs;
            `cameras-differ`, if the lens model differs and the distortion is not fixed.
    """
    one = cameras.select([name])
    if not np.array_equal(one.sizes[0], size):
        given, found = ("{:g}x{:g}".format(*each) for each in (one.sizes[0], size))
        raise InputError(
            f"camera {name!r}: the given intrinsics are for another image size, found {given} px, expected {found} px. "
            "Resize the calibration (CameraGroup.resize) or use images of that size.",
            code="size-mismatch",
            view=name,
        )
    if one.fisheye[0] != lens.fisheye and not lens.fix_distortion:
        raise InputError(
            f"camera {name!r}: the given intrinsics have {'a' if one.fisheye[0] else 'no'} fisheye lens, expected "
            f"{'a' if lens.fisheye else 'no'} fisheye lens",
            code="cameras-differ",
            view=name,
        )
    return one.replace(rotation=np.eye(3)[None], translation=np.zeros((1, 3)))


def _first_guess(name: str, size: Floats, points: Floats, object_points: Floats, lens: Lens) -> CameraGroup:
    """Find the focal length that fits best, from at most a few boards, spread evenly over all."""
    chosen = np.unique(np.linspace(0, len(points) - 1, min(_TRIAL_BOARDS, len(points))).astype(int))
    best, smallest = None, np.inf
    for factor in _FOCAL_TRIALS:
        focal = factor * size.max()
        camera = CameraGroup(
            names=(name,),
            sizes=size[None],
            matrix=np.array([[[focal, 0, (size[0] - 1) / 2], [0, focal, (size[1] - 1) / 2], [0, 0, 1]]]),
            distortion=np.zeros((1, 4 if lens.fisheye else 0)),
            rotation=np.eye(3)[None],
            translation=np.zeros((1, 3)),
            fisheye=(lens.fisheye,),
        )
        errors = pose_candidates(normalize_corners(points[None, chosen], camera)[0], object_points)[1][:, 0]
        misfit = focal * np.median(np.where(np.isnan(errors), np.inf, errors))
        if misfit < smallest:
            best, smallest = camera, misfit
    if best is None:
        text = f"camera {name!r}: no focal length fits its boards. Check the number of corners of the board"
        raise CalibrationError([error("no_pose", [name], text)])
    return best.replace(distortion=np.zeros((1, lens.stored_coefficients)))


def _focal_only(camera: CameraGroup) -> Booleans:
    free = np.zeros((1, NUM_POSE + NUM_INTRINSICS + camera.distortion.shape[-1]), dtype=bool)
    free[:, NUM_POSE : NUM_POSE + 2] = True
    return free


def _alone(camera: CameraGroup, points: Floats, object_points: Floats, poses: Floats) -> tuple[Scene, Views]:
    seen = seen_corners(points)
    scene = Scene(cameras=camera, rotation=poses[:, :3, :3], position=poses[:, :3, 3], object_points=object_points)
    views = Views(
        camera=np.zeros(len(points), dtype=np.int64),
        block=np.arange(len(points)),
        pixels=np.where(seen[..., None], points, 0.0),
        weights=seen.astype(np.float64),
        num_cameras=1,
        num_blocks=len(points),
    )
    return scene, views


def _too_few(name: str, count: int, places: int, build: Callable[..., Finding]) -> Finding:
    needed = f"at least {MIN_BOARDS} are needed" if build is error else "20 or more give better intrinsics"
    seen = f"camera {name!r} saw the board in {counted(count, 'image')}"
    if places < count:
        seen += f", but at only {counted(places, 'different place')}" + (": it never moved" if places == 1 else "")
    text = f"{seen}; {needed}, at different positions and tilts (or give its intrinsics from an earlier calibration)"
    return build("too_few_boards", [name], text, boards=count, places=places)
