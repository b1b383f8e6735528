"""Number of distortion coefficients of a camera, chosen by boards that are left out of the fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from mvgeom.calibration.boards import Floats, Ints
from mvgeom.calibration.bundle import NUM_POSE, Booleans, Scene, Views, linearize, residuals
from mvgeom.calibration.information import invert_information
from mvgeom.calibration.lens_model import Lens
from mvgeom.calibration.lens_shape import LensShape, lens_shape
from mvgeom.calibration.selection import select_frames

__all__ = ["choose_lens"]

_LADDER = (0, 4, 5)
"""Numbers of coefficients to choose from: none, k1 k2 p1 p2, and k3.

A lens with distortion always has tangential terms. Boards of one camera hardly tell them from its principal point, so
that leaving them out costs nothing there, but it turns the camera in the rig by more than the stated deviations.
"""

_FISHEYE_LADDER = (0, 1, 2, 4)
"""Numbers for fisheye lenses, all radial."""

_MAX_BOARDS = 40
_EXACT = 1e-12
"""px^2; smaller errors are those of rounding."""

_LOOSE_FOCAL = 0.1
"""Standard deviation of the focal length, as a fraction of it, beyond which a lens is too rich for its boards."""

_LARGEST_ERROR = 4.0
"""Median errors; a larger error counts as this many, so that one false corner does not choose the lens."""


def choose_lens(start: Scene, views: Views, lens: Lens, fit: Callable[[Scene, Views, Lens], Scene]) -> Lens:
    """Choose the number of distortion coefficients of one camera.

    Each board is left out in turn: the lens is that of the other boards, and only the board's pose is fitted to it.
    The number with the smallest mean squared error of the left-out boards is taken, the smaller one if two are alike.
    Coefficients with which the boards no longer tell the focal length are not added: the rig would begin anywhere.
    A stricter criterion would leave out coefficients that the rig needs, and whose absence no standard deviation shows.
    Fits without a board come from the fit with all by one Gauss-Newton step, which takes the place of hundreds of
    adjustments.

    Args:
        start: The camera without distortion, its focal length approximately known, and its boards.
        views: The boards' corners, one view per block.
        lens: Lens parameters to estimate.
        fit: Function that adjusts scene and lens.

    Returns:
        The lens with its number of coefficients.
    """
    scene, views = _fewer(start, views)
    ladder = [count for count in (_FISHEYE_LADDER if lens.fisheye else _LADDER) if count <= lens.most_coefficients]
    errors: list[Floats] = []
    for count in ladder:
        tried = lens.with_coefficients(count)
        scene = fit(scene, views, tried)
        left_out, focal_deviation = _left_out(scene, views, tried)
        if errors and focal_deviation > _LOOSE_FOCAL:
            break
        errors.append(left_out)
    scores = [np.square(each).mean() + _EXACT for each in _limited(errors)]
    return lens.with_coefficients(ladder[int(np.argmin(scores))])


def _limited(errors: list[Floats]) -> list[Floats]:
    """Return lengths of residuals, each limited by a multiple of its lens's median."""
    return [np.minimum(each, _LARGEST_ERROR * np.median(each)) for each in errors]


def _left_out(scene: Scene, views: Views, lens: Lens) -> tuple[Floats, float]:
    """Judge a lens by boards that are left out.

    Returns:
        The length in px of each corner's residual, by a lens that was fitted without its board; and the standard
        deviation of the focal length with all boards, as a fraction of it; 0 if it is held.
    """
    free: Booleans = lens.free(1, int(scene.cameras.distortion.shape[-1]))
    free[:, :NUM_POSE] = False
    shape: LensShape = lens_shape(scene.cameras, free)
    if lens.square_pixels:
        free[:, NUM_POSE + 1] = False
    columns = np.flatnonzero(free[0])
    linear = linearize(scene, views)
    if lens.square_pixels:
        linear.by_camera[..., NUM_POSE] += linear.by_camera[..., NUM_POSE + 1]
    penalty = shape.residuals(scene.cameras)[1][0][:, columns]
    systems, slopes, parts = [], [], []
    for board in range(views.num_blocks):
        counted = views.weights[board] > 0
        error = linear.residuals[board][counted].reshape(-1)
        by_lens = linear.by_camera[board][counted].reshape(len(error), -1)[:, columns]
        # Huber's weights for one px, as in the fit: one false corner must not move the board's pose.
        lengths = np.linalg.norm(error.reshape(-1, 2), axis=1)
        root = np.sqrt(np.repeat(1 / np.maximum(lengths, 1), 2))
        # Whatever another pose of the board can take up is no error of the lens.
        pose, _ = np.linalg.qr(root[:, None] * linear.by_block[board][counted].reshape(len(error), -1))
        error, by_lens = root * error, root[:, None] * by_lens
        error, by_lens = error - pose @ (pose.T @ error), by_lens - pose @ (pose.T @ by_lens)
        systems.append(by_lens.T @ by_lens)
        slopes.append(by_lens.T @ error)
        parts.append((error / root, by_lens / root[:, None]))
    whole = sum(systems) + penalty.T @ penalty
    scale = 1 / np.sqrt(np.maximum(np.diag(whole), 1e-12)) if len(columns) else np.zeros(0)
    lengths_of_all = []
    for system, slope, (error, by_lens) in zip(systems, slopes, parts, strict=True):
        rest = scale[:, None] * (whole - system) * scale
        step = scale * np.linalg.lstsq(rest, scale * slope, rcond=1e-12)[0]
        lengths_of_all.append(np.linalg.norm((error + by_lens @ step).reshape(-1, 2), axis=1))
    return np.concatenate(lengths_of_all), _focal_deviation(scene, views, columns, whole)


def _focal_deviation(scene: Scene, views: Views, columns: Ints, whole: Floats) -> float:
    """Return the relative standard deviation of the focal length, from the normal equations (N, N) of the lens."""
    place = np.flatnonzero(columns == NUM_POSE)
    if not len(place):
        return 0.0
    freedom = 2 * views.num_observations - NUM_POSE * views.num_blocks - len(columns)
    variance = float((residuals(scene, views) ** 2).sum()) / max(freedom, 1)
    covariance, _ = invert_information(whole)
    deviation = np.sqrt(covariance[place[0], place[0]] * variance)
    return float(deviation / scene.cameras.matrix[0, 0, 0])


def _fewer(scene: Scene, views: Views) -> tuple[Scene, Views]:
    """Return at most `_MAX_BOARDS` boards of one camera, those that cover its image best; view n is of block n."""
    assert scene.rotation is not None
    points: Floats = np.where((views.weights > 0)[..., None], views.pixels, np.nan)
    kept = select_frames(points[None], scene.cameras.sizes, _MAX_BOARDS)
    part = Views(
        camera=np.zeros(len(kept), dtype=np.int64),
        block=np.arange(len(kept)),
        pixels=views.pixels[kept],
        weights=views.weights[kept],
        num_cameras=1,
        num_blocks=len(kept),
    )
    return dataclasses.replace(scene, rotation=scene.rotation[kept], position=scene.position[kept]), part
