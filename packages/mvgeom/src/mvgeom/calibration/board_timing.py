"""Cameras that were late, or that moved during the recording, found by the boards that the others saw."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from mvgeom.calibration.board_poses import order_motions, pose_candidates
from mvgeom.calibration.boards import Floats, Ints, seen_corners
from mvgeom.calibration.bundle import Booleans, Scene, Views, residuals
from mvgeom.calibration.camera_pairs import Observed, relate
from mvgeom.calibration.schur import adjust
from mvgeom.cameras import CameraGroup

__all__ = ["Moved", "Shifted", "explain_by_time", "find_offset", "frame_numbers"]

_LONGEST_SHIFT = 30
_MIN_FRAMES = 4
_MAX_FRAMES = 60
_MAX_CORNERS = 12
_EXPLAINS = 0.4
"""Limit of the error with a shift or a split, in errors without; jitter and noise stay near 1."""

_MOST = 0.8
_FIRST_SPLITS = 12


class Shifted(NamedTuple):
    """A camera whose frame n + `frames` shows what the others show in frame n, with mean errors in px."""

    frames: int
    error: float
    error_without: float


class Moved(NamedTuple):
    """A camera with another pose from a frame on: its index, degrees, the world's unit, and mean errors in px."""

    before: int
    rotation_deg: float
    shift: float
    error: float
    error_without: float


def frame_numbers(frames: Sequence[str]) -> Ints:
    """Return the number of each frame in time: of the names if all are numbers, else their order."""
    if all(name.isdecimal() for name in frames):
        numbers = np.array([int(name) for name in frames], dtype=np.int64)
        steps = np.diff(np.unique(numbers))
        return np.asarray(numbers // max(int(np.gcd.reduce(steps)) if len(steps) else 1, 1))
    return np.arange(len(frames))


def explain_by_time(camera: CameraGroup, world: Floats, pixels: Floats, numbers: Ints) -> Shifted | Moved | None:
    """Explain the errors of one camera by a shift in time, or by a movement during the recording.

    Args:
        camera: The one camera, with its approximate pose.
        world: (F, K, 3) board corners as the other cameras see them; NaN is missing.
        pixels: (F, K, 2) corners of this camera in full-image px; NaN is missing.
        numbers: (F,) numbers of the frames, ascending.

    Returns:
        The explanation that lowers the error most; None if neither lowers it to less than 0.4 of what it was.
    """
    corners = np.unique(np.linspace(0, world.shape[1] - 1, min(_MAX_CORNERS, world.shape[1])).round().astype(int))
    world, pixels = world[:, corners], pixels[:, corners]
    usual, _ = _fit(camera, world, pixels)
    found: list[Shifted | Moved] = []
    shifted = _best_shift(camera, world, pixels, numbers, usual)
    if shifted is not None:
        found.append(shifted)
    moved = _best_split(camera, world, pixels, usual)
    if moved is not None:
        found.append(moved)
    found = [each for each in found if each.error < _EXPLAINS * usual]
    return min(found, key=lambda each: each.error) if found else None


def find_offset(first: Floats, second: Floats, object_points: Floats, orders: Ints, numbers: Ints) -> int | None:
    """Find the number of frames that the second camera is late, if its boards then agree with the first camera's.

    Args:
        first: (F, K, 2) corners of one camera in normalized coordinates; NaN is missing.
        second: (F, K, 2) corners of another camera in the same frames.
        object_points: (K, 3) corners in the board's frame and unit.
        orders: (G, K) equivalent orders of corners; see `corner_orders`.
        numbers: (F,) numbers of the frames, ascending.

    Returns:
        Frames, so that frame n + offset of the second camera belongs to frame n of the first; None if there is no
        offset at which most boards agree.
    """
    one, other = (
        Observed(normalized=each, poses=poses, errors=errors)
        for each in (first, second)
        for poses, errors in [pose_candidates(each, object_points)]
    )
    motions = order_motions(object_points, orders)
    best, least = 0, np.inf
    for shift in range(-_LONGEST_SHIFT, _LONGEST_SHIFT + 1):
        here, there = _pairs(numbers, shift)
        if len(here) < _MIN_FRAMES:
            continue
        relation = relate(_rows(one, here), _rows(other, there), object_points, orders[:1], motions[:1])
        if relation is None or relation.common < _MIN_FRAMES or relation.share <= _MOST:
            continue
        # While the board moves slowly, most boards agree at several offsets, but to fewer px.
        if relation.error < least:
            best, least = shift, relation.error
    return best or None


def _rows(observed: Observed, rows: Ints) -> Observed:
    return Observed(normalized=observed.normalized[rows], poses=observed.poses[rows], errors=observed.errors[rows])


def _pairs(numbers: Ints, shift: int) -> tuple[Ints, Ints]:
    """Return indices of frames n and of frames n + shift, where both exist."""
    _, there, here = np.intersect1d(numbers, numbers + shift, return_indices=True)
    return np.asarray(here), np.asarray(there)


def _best_shift(camera: CameraGroup, world: Floats, pixels: Floats, numbers: Ints, usual: float) -> Shifted | None:
    best = None
    for shift in sorted(range(-_LONGEST_SHIFT, _LONGEST_SHIFT + 1), key=abs):
        here, there = _pairs(numbers, shift)
        both = _both(world[here], pixels[there])
        if shift == 0 or both.sum() < max(_MIN_FRAMES, 0.3 * _both(world, pixels).sum()):
            continue
        error, _ = _fit(camera, world[here][both], pixels[there][both])
        if best is None or error < best.error:
            best = Shifted(frames=shift, error=error, error_without=usual)
    return best


def _best_split(camera: CameraGroup, world: Floats, pixels: Floats, usual: float) -> Moved | None:
    """Try frames to split at, coarse ones first, then those beside the best."""
    usable = np.flatnonzero(_both(world, pixels))
    first, last = _MIN_FRAMES, len(usable) - _MIN_FRAMES
    if last < first:
        return None
    tried: dict[int, tuple[float, Moved]] = {}

    def attempt(place: int) -> float:
        if place not in tried:
            parts = [usable[:place], usable[place:]]
            (one, before), (other, after) = (_fit(camera, world[part], pixels[part]) for part in parts)
            error = (one * len(parts[0]) + other * len(parts[1])) / len(usable)
            turn = Rotation.from_matrix(after.rotation[0] @ before.rotation[0].T).magnitude()
            moved = Moved(
                before=int(usable[place]),
                rotation_deg=float(np.rad2deg(turn)),
                shift=float(np.linalg.norm(after.centers - before.centers)),
                error=error,
                error_without=usual,
            )
            tried[place] = (error, moved)
        return tried[place][0]

    step = max(1, (last - first) // _FIRST_SPLITS)
    best = min(range(first, last + 1, step), key=attempt)
    while step > 1:
        step = max(1, step // 3)
        best = min((place for place in range(best - 3 * step, best + 3 * step + 1, step) if first <= place <= last),
                   key=attempt)  # fmt: skip
    return tried[best][1]


def _both(world: Floats, pixels: Floats) -> Booleans:
    """Return booleans (F,), true for frames that the camera and the others see."""
    return np.asarray((seen_corners(world) & seen_corners(pixels)).sum(-1) >= 4)


def _fit(camera: CameraGroup, world: Floats, pixels: Floats) -> tuple[float, CameraGroup]:
    """Fit the camera's pose to some of the frames; return the mean error in px, and the camera."""
    frames = np.flatnonzero(_both(world, pixels))
    frames = frames[np.unique(np.linspace(0, len(frames) - 1, min(_MAX_FRAMES, len(frames))).round().astype(int))]
    points, places = world[frames].reshape(-1, 3), pixels[frames].reshape(-1, 2)
    counted = seen_corners(points) & seen_corners(places)
    # The points are one rigid board, whose pose in the camera's frame is estimated.
    scene = Scene(
        cameras=camera.replace(rotation=np.eye(3)[None], translation=np.zeros((1, 3))),
        rotation=camera.rotation,
        position=camera.translation,
        object_points=points[counted],
    )
    views = Views(
        camera=np.zeros(1, dtype=np.int64),
        block=np.zeros(1, dtype=np.int64),
        pixels=places[counted][None],
        weights=np.ones((1, int(counted.sum()))),
        num_cameras=1,
        num_blocks=1,
    )
    ahead = np.isfinite(residuals(scene, views)).all(-1)
    views = dataclasses.replace(views, weights=np.asarray(ahead, dtype=np.float64))
    if ahead.sum() < 6:
        return float("inf"), camera
    nothing = np.zeros((1, scene.camera_size), dtype=bool)
    fitted = adjust(scene, views, nothing, loss="huber", loss_scale=1.0, max_iterations=30, tolerance=1e-5).scene
    error = float(np.linalg.norm(residuals(fitted, views)[ahead], axis=-1).mean())
    return error, camera.replace(rotation=fitted.rotation, translation=fitted.position)
