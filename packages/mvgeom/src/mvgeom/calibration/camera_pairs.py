"""Relative poses of two cameras from boards that both see, robust to wrong labels and wrong poses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvgeom.calibration.boards import Floats, Ints

__all__ = ["CAP", "Observed", "Relation", "relate", "transfer_errors"]

_MAX_HYPOTHESES_FRAMES = 20
_MAX_SCORED_FRAMES = 30
_MAX_CORNERS = 12
CAP = 0.02
"""Cap on the error in normalized coordinates (about 20 px); a frame with a larger error contradicts the pose."""
_MIN_SHARE = 0.4
_FIRST_ORDER_BONUS = 5e-4
"""Penalty of about half a pixel for reordered corners: with few frames, the unchanged order is preferred."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Observed:
    """Boards as seen by one camera.

    Attributes:
        normalized: (F, K, 2) corners in normalized coordinates; NaN is missing.
        poses: (F, S, 4, 4) candidate poses from board to camera; NaN where there is none.
        errors: (F, S) errors of the candidate poses in normalized coordinates.
    """

    normalized: Floats
    poses: Floats
    errors: Floats

    @property
    def solved(self) -> np.ndarray:
        """(F,) booleans, true for frames with a pose."""
        return np.isfinite(self.errors[:, 0])


@dataclass(frozen=True, kw_only=True, eq=False)
class Relation:
    """Pose of one camera in another camera's frame, and the agreement of the boards.

    Attributes:
        pose: (4, 4) transform from the first camera to the second.
        error: Median transfer error over agreeing frames, in normalized coordinates: the board's pose from the first
            camera, transformed to the second camera, against the corners that the second camera sees.
        agreeing: (F,) booleans, true for frames with a small transfer error.
        common: Number of frames in which both cameras see the board.
    """

    pose: Floats
    error: float
    agreeing: np.ndarray
    common: int

    @property
    def share(self) -> float:
        """Fraction of the common frames that agree."""
        return float(self.agreeing.sum() / self.common)

    @property
    def consistent(self) -> bool:
        """Return True if enough frames agree; with only one or two common frames there can be no contradiction."""
        return bool(self.agreeing.any()) if self.common <= 2 else self.share >= _MIN_SHARE

    @property
    def cost(self) -> float:
        """Cost for spanning trees: approximate standard deviation of the pose, increased by contradicting frames."""
        agreeing = int(self.agreeing.sum())
        return (self.error + 1e-6) / np.sqrt(agreeing) / self.share if agreeing else np.inf


def relate(first: Observed, second: Observed, object_points: Floats, orders: Ints, motions: Floats) -> Relation | None:
    """Find the relative pose that most boards agree on.

    Hypotheses come from some of the frames: every combination of candidate poses in the two cameras and of corner
    orders. The score of a hypothesis is the sum of its transfer errors in all frames, limited by a cap; in each frame
    the best candidate pose and order count.

    Args:
        first: Boards seen by the first camera.
        second: Boards seen by the second camera, in the same frames.
        object_points: (K, 3) corners in the board's frame and unit.
        orders: (G, K) equivalent orders of corners.
        motions: (G, 4, 4) rigid motions from `order_motions`.

    Returns:
        Relative pose with its agreement, or None if no frame is seen by both cameras.
    """
    common = np.flatnonzero(first.solved & second.solved)
    if len(common) == 0:
        return None
    if len(orders) > 1:
        # Usually both cameras list the corners alike; skipping the other orders then saves most of the work.
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
    """Return pose hypotheses (H, 4, 4): T_second M_order T_first^-1."""
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
    """Return errors (H, N), for each frame with the best candidate pose of the first camera and the best order."""
    errors = np.full((len(hypotheses), len(frames)), np.inf)
    for column, frame in enumerate(frames):
        for candidate in np.flatnonzero(np.isfinite(first.errors[frame])):
            boards = hypotheses @ first.poses[frame, candidate]
            error = transfer_errors(boards, second.normalized[frame], object_points, orders).min(axis=1)
            # With a single frame, only the candidate's own error can decide between the candidates.
            error = np.hypot(error, first.errors[frame, candidate])
            errors[:, column] = np.minimum(errors[:, column], error)
    return errors


def transfer_errors(boards: Floats, normalized: Floats, object_points: Floats, orders: Ints) -> Floats:
    """Compute the distance of observed corners from the corners that a board pose predicts.

    Args:
        boards: (H, 4, 4) poses from board to camera.
        normalized: (K, 2) corners seen by the camera in normalized coordinates; NaN is missing. An evenly spread subset
            is used.
        object_points: (K, 3) corners in the board's frame and unit.
        orders: (G, K) corner orders; the camera's corner k is matched to the board's corner orders[g][k].

    Returns:
        Root mean square errors (H, G) in normalized coordinates; infinite where the board is behind the camera. All
            orders but the first get a penalty of about half a pixel, so that corners are not reordered without need.
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
