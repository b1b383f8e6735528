"""Intrinsics of one camera from its views of a board: a search over the focal length, then adjustment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mvgeom.calibration.board_poses import normalize_corners, pose_candidates
from mvgeom.calibration.boards import Floats, seen_corners
from mvgeom.calibration.bundle import NUM_POSE, Booleans, Scene, Views, residuals
from mvgeom.calibration.findings import CalibrationError, Finding, error, note, warning
from mvgeom.calibration.lens_jacobian import NUM_INTRINSICS
from mvgeom.calibration.schur import adjust
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError

__all__ = ["LENSES", "MIN_BOARDS", "Lens", "calibrate_intrinsics", "known_intrinsics"]

LENSES = (0, 1, 2, 4, 5, 8, 12, 14)
"""Allowed numbers of distortion coefficients; 1 and 2 are radial only."""

MIN_BOARDS = 3
_FEW_BOARDS = 10
_FOCAL_TRIALS = np.geomspace(0.35, 6.0, 24)
"""Focal lengths to try, in units of the image's longer side: fields of view from 110 to 10 degrees."""
_TRIAL_BOARDS = 8
_OUTLIER_SIGMAS = 6.0


@dataclass(frozen=True, kw_only=True)
class Lens:
    """Parameters of a lens that a calibration estimates.

    Attributes:
        num_coefficients: Number of distortion coefficients: 0, 1 or 2 (radial), 4, 5, 8, 12 or 14 of OpenCV's
            Brown-Conrady model; 4 for fisheye.
        fisheye: True for the Kannala-Brandt model.
        fix_intrinsics: True to keep focal lengths and principal point as given.
        fix_distortion: True to keep the distortion coefficients as given.

    Raises:
        InputError: `unknown-choice`, if no lens model has this number of coefficients.
    """

    num_coefficients: int = 5
    fisheye: bool = False
    fix_intrinsics: bool = False
    fix_distortion: bool = False

    def __post_init__(self) -> None:
        if self.num_coefficients not in LENSES:
            raise InputError(
                f"num_coefficients: found {self.num_coefficients}, expected one of {LENSES}",
                code="unknown-choice",
                argument="num_coefficients",
                found=self.num_coefficients,
            )
        if self.fisheye and self.num_coefficients != 4:
            raise InputError(
                f"num_coefficients: found {self.num_coefficients}, expected 4 for a fisheye lens",
                code="unknown-choice",
                argument="num_coefficients",
                found=self.num_coefficients,
            )

    @property
    def stored_coefficients(self) -> int:
        """Length of the stored distortion array: the next length that OpenCV supports."""
        return {1: 4, 2: 4}.get(self.num_coefficients, self.num_coefficients)

    def free(self, num_views: int, stored: int) -> Booleans:
        """Return booleans (V, 6 + 4 + stored), true for free parameters: pose and lens parameters to estimate."""
        free = np.ones((num_views, NUM_POSE + NUM_INTRINSICS + stored), dtype=bool)
        free[:, NUM_POSE : NUM_POSE + NUM_INTRINSICS] = not self.fix_intrinsics
        free[:, NUM_POSE + NUM_INTRINSICS :] = not self.fix_distortion
        free[:, NUM_POSE + NUM_INTRINSICS + self.num_coefficients :] = False
        return free


def calibrate_intrinsics(
    name: str, size: Floats, points: Floats, object_points: Floats, lens: Lens
) -> tuple[CameraGroup, Booleans, float, tuple[Finding, ...]]:
    """Calibrate the intrinsics of one camera from its own images.

    First the focal length is found by a search, with the principal point at the image center and no distortion. Then
    focal length and board poses are adjusted, and finally all free parameters of the lens, with a robust loss. Boards
    that fit much worse than the others (false corners) are left out, and the adjustment is repeated.

    Args:
        name: Name of the camera.
        size: (2,) image width and height in px.
        points: (F, K, 2) board corners in full-image px; NaN is missing.
        object_points: (K, 3) corners in the board's frame and unit.
        lens: Lens parameters to estimate.

    Returns:
        A group with this one camera at the world's origin, booleans (F,) for the boards that were used, the root mean
        square of their reprojection errors in px, and findings.

    Raises:
        CalibrationError: If there are fewer than 3 boards, or no focal length fits them.
    """
    seen = seen_corners(points).sum(-1) >= 4
    if seen.sum() < MIN_BOARDS:
        raise CalibrationError([_too_few(name, int(seen.sum()), error)])
    camera = _first_guess(name, size, points[seen], object_points, lens)
    used = seen.copy()
    stages = [_focal_only(camera), lens.free(1, lens.stored_coefficients)]
    for _ in range(2):
        poses, errors = pose_candidates(normalize_corners(points[None, used], camera)[0], object_points)
        solved = np.isfinite(errors[:, 0])
        used[np.flatnonzero(used)[~solved]] = False
        scene, views = _alone(camera, points[used], object_points, poses[solved, 0])
        for stage in stages:
            free = stage.copy()
            free[:, :NUM_POSE] = False
            scene = adjust(scene, views, free, loss="huber", loss_scale=1.0, tolerance=1e-8).scene
        camera = scene.cameras
        rms = np.sqrt((residuals(scene, views) ** 2).sum((1, 2)) / views.weights.sum(1))
        outliers = np.asarray(rms > max(_OUTLIER_SIGMAS * float(np.median(rms)), 1.0))
        if not outliers.any() or (~outliers).sum() < MIN_BOARDS:
            break
        used[np.flatnonzero(used)[outliers]] = False
        stages = stages[1:]
    findings = [_too_few(name, int(used.sum()), warning)] if used.sum() < _FEW_BOARDS else []
    if (seen & ~used).any():
        left_out = int((seen & ~used).sum())
        text = (
            f"camera {name!r}: {left_out} of {seen.sum()} boards do not fit its lens (false corners, or a moving "
            "board) and were left out"
        )
        findings.append(note("boards_left_out", [name], text, left_out=left_out, boards=int(seen.sum())))
    return camera, used, float(np.sqrt((rms[~outliers] ** 2).mean())), tuple(findings)


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


def _too_few(name: str, count: int, build: Callable[..., Finding]) -> Finding:
    needed = f"at least {MIN_BOARDS} are needed" if build is error else "20 or more give better intrinsics"
    text = (
        f"camera {name!r} saw the board in {count} images; {needed}, at different positions and tilts (or give its "
        "intrinsics from an earlier calibration)"
    )
    return build("too_few_boards", [name], text, boards=count)
