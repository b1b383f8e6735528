"""Relative poses of two cameras, from boards that both see, some of which may be labeled or posed wrongly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvgeom.calibration.boards import Floats, Ints

__all__ = ["CAP", "Observed", "Relation", "relate", "transfer_errors"]

_MAX_HYPOTHESES_FRAMES = 20
_MAX_SCORED_FRAMES = 30
_MAX_CORNERS = 12
CAP = 0.02
"""Normalized coordinates (about 20 px) beyond which an error counts no more: such a frame contradicts."""
_MIN_SHARE = 0.4
_FIRST_ORDER_BONUS = 5e-4
"""About half a pixel: with few frames an order that needs no correction is preferred."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Observed:
    """The boards as one camera sees them.

    Attributes:
        normalized: (F, K, 2) corners in normalized coordinates, NaN where missing.
        poses: (F, S, 4, 4) candidate poses board to camera, NaN where there is none.
        errors: (F, S) their errors in normalized coordinates.
    """

    normalized: Floats
    poses: Floats
    errors: Floats

    @property
    def solved(self) -> np.ndarray:
        """(F,) booleans: frames with a pose."""
        return np.isfinite(self.errors[:, 0])


@dataclass(frozen=True, kw_only=True, eq=False)
class Relation:
    """The pose of a camera in another's frame, and how well the boards agree on it.

    Attributes:
        pose: (4, 4) first camera to second camera.
        error: median over agreeing frames of the transfer error (normalized): the board's pose by the first camera,
            carried over, against the corners that the second sees.
        agreeing: (F,) frames whose transfer error is small.
        common: number of frames that both see.
    """

    pose: Floats
    error: float
    agreeing: np.ndarray
    common: int

    @property
    def share(self) -> float:
        """Share of the common frames that agree."""
        return float(self.agreeing.sum() / self.common)

    @property
    def consistent(self) -> bool:
        """True if enough frames agree; one or two common frames cannot contradict each other."""
        return bool(self.agreeing.any()) if self.common <= 2 else self.share >= _MIN_SHARE

    @property
    def cost(self) -> float:
        """For spanning trees: about the standard deviation of the pose; frames that contradict make it worse."""
        agreeing = int(self.agreeing.sum())
        return (self.error + 1e-6) / np.sqrt(agreeing) / self.share if agreeing else np.inf


def relate(first: Observed, second: Observed, object_points: Floats, orders: Ints, motions: Floats) -> Relation | None:
    """Find the relative pose that most boards agree on.

    Every candidate pose in one camera and the other, and every order of corners, of some frames are hypotheses; each is
    scored by its transfer errors in all frames, cut off at a cap, with the best candidate and order there.

    Args:
        first: one camera.
        second: the other camera, same frames.
        object_points: (K, 3) board.
        orders: (G, K) equivalent orders of corners.
        motions: (G, 4, 4) of `order_motions`.

    Returns:
        None when no frame is seen by both.
    """
    common = np.flatnonzero(first.solved & second.solved)
    if len(common) == 0:
        return None
    if len(orders) > 1:
        # Mostly corners are listed alike, and looking no further saves most of the work.
        alike = relate(first, second, object_points, orders[:1], motions[:1])
        if alike is not None and alike.agreeing.sum() > 0.9 * len(common):
            return alike
    ranked = common[np.argsort(first.errors[common, 0] + second.errors[common, 0])]
    hypotheses = _hypotheses(first, second, ranked[:_MAX_HYPOTHESES_FRAMES], motions)
    scored = _spread(common, _MAX_SCORED_FRAMES)
    errors = _transfer(hypotheses, first, second, scored, object_points, orders)
    capped = np.minimum(errors, CAP)
    best = hypotheses[int(np.argmin(capped.mean(axis=1)))]
    errors = _transfer(best[None], first, second, common, object_points, orders)
    typical = float(np.median(errors[0]))
    agrees = errors[0] < min(max(5 * typical, 1e-3), CAP)
    agreeing = np.zeros(len(first.solved), dtype=bool)
    agreeing[common[agrees]] = True
    return Relation(
        pose=best,
        error=float(np.median(errors[0][agrees])) if agrees.any() else np.inf,
        agreeing=agreeing,
        common=len(common),
    )


def _hypotheses(first: Observed, second: Observed, frames: Ints, motions: Floats) -> Floats:
    """Return (H, 4, 4): T_second M_order T_first^-1."""
    inverse = np.linalg.inv(np.where(np.isfinite(first.poses[frames]), first.poses[frames], np.eye(4)))
    turned = second.poses[frames][:, :, None] @ motions
    products = turned[:, :, :, None] @ inverse[:, None, None]
    finite = (
        np.isfinite(first.errors[frames])[:, None, None, :]
        & np.isfinite(second.errors[frames])[:, :, None, None]
        & np.ones((1, 1, len(motions), 1), dtype=bool)
    )
    return products[finite]


def _transfer(
    hypotheses: Floats, first: Observed, second: Observed, frames: Ints, object_points: Floats, orders: Ints
) -> Floats:
    """Return (H, N) errors with the best candidate pose by the first camera, and the best order, of each frame."""
    errors = np.full((len(hypotheses), len(frames)), np.inf)
    for column, frame in enumerate(frames):
        for candidate in np.flatnonzero(np.isfinite(first.errors[frame])):
            boards = hypotheses @ first.poses[frame, candidate]
            error = transfer_errors(boards, second.normalized[frame], object_points, orders).min(axis=1)
            # Its own error decides between the candidates where a single frame leaves nothing else to.
            error = np.hypot(error, first.errors[frame, candidate])
            errors[:, column] = np.minimum(errors[:, column], error)
    return errors


def transfer_errors(boards: Floats, normalized: Floats, object_points: Floats, orders: Ints) -> Floats:
    """Compute how far corners are from where a board should show them.

    Args:
        boards: (H, 4, 4) poses board to camera.
        normalized: (K, 2) corners that the camera sees; NaN is missing. Some, evenly spread, are looked at.
        object_points: (K, 3) board.
        orders: (G, K); the camera's corner k is taken for the board's corner orders[g][k].

    Returns:
        (H, G) root mean square in normalized coordinates; infinite where the board is behind the camera. Orders other
        than the first carry about half a pixel more, so that nothing is reordered without need.
    """
    corners = _spread(np.flatnonzero(np.isfinite(normalized).all(-1)), _MAX_CORNERS)
    board = object_points[orders[:, corners]]
    local = np.einsum("hij,gkj->hgki", boards[:, :3, :3], board) + boards[:, None, None, :3, 3]
    depth = np.where(local[..., 2] > 0, local[..., 2], np.nan)
    errors = np.sqrt(((local[..., :2] / depth[..., None] - normalized[corners]) ** 2).sum(-1).mean(-1))
    errors[:, 1:] += _FIRST_ORDER_BONUS
    return np.where(np.isfinite(errors), errors, np.inf)


def _spread(values: Ints, count: int) -> Ints:
    """Return at most `count` of the values, evenly spread."""
    if len(values) <= count:
        return values
    return np.asarray(values[np.linspace(0, len(values) - 1, count).round().astype(int)])
