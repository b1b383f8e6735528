"""Finding the subject in whole frames: crops of all views that look at the same place in the world."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mvgeom import CameraGroup, boxes, visible
from mvgeom.rig_figure import focus
from mvtrain.prediction.framing import Framing
from mvtrain.prediction.pose_score import look
from mvtrain.prediction.predictor import Predictor

_SPACING = 0.4
"""Of places in a grid, as a fraction of a typical box: training moves subjects about as far from the middle."""

_MOST_PLACES = 1500
_COARSE, _FINEST = 10, 40
"""Places along each axis from the middle of the grid outwards, in a first count and at most."""

_STEPS_CLOSER = 3
_BEST = 4
_GOOD = 1.5
"""Times the score that is asked for: no need to look further."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sighting:
    """A subject found.

    Attributes:
        pose: (K, 3) world, NaN where missing.
        score: see `pose_score.Views`.
    """

    pose: np.ndarray
    score: float


def find_subject(
    predictor: Predictor,
    frames: Sequence[np.ndarray | None],
    cameras: CameraGroup,
    framing: Framing,
    *,
    near: np.ndarray | None,
    accepted_score: float,
) -> Sighting | None:
    """Look for the subject: in whole frames, about where it was last, then everywhere that cameras see together.

    From every promising place the crops are moved onto what was found there, a few times, which is what finds a subject
    that a first crop showed too small or at its rim.

    Args:
        predictor: the network.
        frames: (h, w, 3) uint8 BGR per view; None where a view has no frame.
        cameras: V cameras.
        framing: of the network's training images.
        near: (3,) world, where it was last; None: nowhere.
        accepted_score: the least that counts as found.

    Returns:
        The best found; None where nothing was.
    """
    best: Sighting | None = None
    for windows in _places(cameras, framing, frames, near):
        found = look(predictor, frames, windows, cameras)
        for place in np.argsort(-found.scores, kind="stable")[:_BEST]:
            sighting = _come_closer(predictor, frames, cameras, framing, found.poses[place])
            if sighting is not None and (best is None or sighting.score > best.score):
                best = sighting
        if best is not None and best.score >= _GOOD * accepted_score:
            return best
    return best if best is not None and best.score >= accepted_score else None


def _places(
    cameras: CameraGroup, framing: Framing, frames: Sequence[np.ndarray | None], near: np.ndarray | None
) -> Iterator[np.ndarray]:
    """(H, V, 4) crops to look at, in an order that makes an early success likely."""
    sizes = [(0.0, 0.0) if frame is None else (float(frame.shape[1]), float(frame.shape[0])) for frame in frames]
    whole = np.array([[0.0, 0.0, *size] if size[0] else [np.nan] * 4 for size in sizes])
    yield np.asarray(boxes.with_aspect(whole, framing.aspect))[None]
    step = _SPACING * framing.side
    if near is not None:
        yield framing.about_points(near + step * _cube(1), cameras)
    places = seen_together(cameras, step)
    if len(places):
        yield framing.about_points(places, cameras)


def seen_together(cameras: CameraGroup, step: float) -> np.ndarray:
    """(H, 3) places on a grid that at least half of the views, and two, have in their frames.

    The grid reaches from the point that the cameras look at as far as they stand from it. Where that would be too many
    places, they lie further apart than `step`.
    """
    center = focus(cameras)
    reach = float(np.linalg.norm(cameras.centers - center, axis=-1).max())
    needed = max(2, len(cameras) // 2)

    def seen_on_grid(distance: float) -> np.ndarray:
        grid = center + distance * _cube(int(np.ceil(reach / distance)))
        return np.asarray(grid[visible(grid, cameras).sum(axis=0) >= needed])

    coarse = reach / _COARSE
    volume = len(seen_on_grid(coarse)) * coarse**3
    step = max(step, (volume / _MOST_PLACES) ** (1 / 3), reach / _FINEST)
    while len(places := seen_on_grid(step)) > _MOST_PLACES:
        step *= 1.1
    return places


def _cube(reach: int) -> np.ndarray:
    """((2 reach + 1)^3, 3) whole numbers, those near 0 first."""
    numbers = np.arange(-reach, reach + 1)
    grid = np.stack(np.meshgrid(numbers, numbers, numbers, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.asarray(grid[np.argsort((grid**2).sum(-1), kind="stable")], dtype=np.float64)


def _come_closer(
    predictor: Predictor,
    frames: Sequence[np.ndarray | None],
    cameras: CameraGroup,
    framing: Framing,
    pose: np.ndarray,
) -> Sighting | None:
    """Crop about a pose, predict again, and so on; the best on the way."""
    best: Sighting | None = None
    for _ in range(_STEPS_CLOSER):
        if np.isfinite(pose).all(-1).sum() < 2:
            break
        found = look(predictor, frames, framing.about_pose(pose, cameras)[None], cameras)
        pose, score = found.poses[0], float(found.scores[0])
        if best is None or score > best.score:
            best = Sighting(pose=pose, score=score)
    return best
