"""The world of a board that calibrated cameras see in one frame."""

from __future__ import annotations

import numpy as np

from mvgeom.calibration.board_poses import normalize_corners, pose_candidates
from mvgeom.calibration.boards import Floats
from mvgeom.calibration.detections import Detections
from mvgeom.calibration.world_axes import WorldChange, match_points
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.triangulation import reprojection_error, triangulate

__all__ = ["world_of_board"]

_MISFIT = 0.1
"""Distance of corners from a board as a fraction of its size, from which on it is not this board."""


def world_of_board(
    cams: CameraGroup, detections: Detections, *, frame: str | None = None, keep_scale: bool = False
) -> tuple[WorldChange, str]:
    """Find the world whose origin is a board's first corner: x along its rows, y along its columns, z into it.

    With two views or more, corners are triangulated, and the board's unit becomes the world's. One view gives the pose
    of the board in its own unit, which must be that of the calibration.

    Args:
        cams: V calibrated cameras.
        detections: Corners in images of some of the cameras.
        frame: Name of the frame; None takes the one that most cameras see.
        keep_scale: True to keep the unit of the calibration.

    Returns:
        Change of the world, and the name of the frame.

    Raises:
        InputError: `missing-argument`, if the poses of a body's faces are unknown; `missing-frame`, if no board was
            detected (in this frame); `out-of-range`, if the corners that several views see are not those of this
            board, apart from its unit.
    """
    if detections.faces is not None:
        raise InputError(
            "the poses of the body's faces are unknown, so that it defines no world. Give the position and rotation of "
            "each face; mvgeom calibrate finds them.",
            code="missing-argument",
            argument="detections",
        )
    group = cams.select(detections.names)
    if frame is not None and frame not in detections.frames:
        raise InputError(
            f"frame: no board was detected in {frame!r}, found boards in {', '.join(detections.frames[:5])}",
            code="missing-frame",
            frame=frame,
        )
    counts = detections.seen.sum(axis=0)
    if not counts.any():
        raise InputError("no board was detected in any image", code="missing-frame", frame=frame or "")
    row = detections.frames.index(frame) if frame is not None else int(counts.argmax())
    views = np.flatnonzero(detections.seen[:, row])
    part = group.select([group.names[view] for view in views])
    corners = detections.points[views, row]
    board = detections.object_points
    if len(views) == 1:
        poses, _ = pose_candidates(normalize_corners(corners[:, None], part)[0], board)
        if not np.isfinite(poses[0, 0]).all():
            raise InputError("the board has no pose in front of the camera", code="missing-frame", frame=frame or "")
        # X_board = B'(R X + t - b)
        turn, place = poses[0, 0, :3, :3], poses[0, 0, :3, 3]
        change = WorldChange(
            scale=1.0, rotation=turn.T @ part.rotation[0], shift=turn.T @ (part.translation[0] - place)
        )
        return change, detections.frames[row]
    corners = _alike(part, corners, detections.orders)
    seen = triangulate(corners, part)
    change = match_points(seen, board)
    size = float(np.linalg.norm(np.ptp(board, axis=0)))
    if change.error > _MISFIT * size:
        raise InputError(
            f"the corners that {len(views)} cameras see are {change.error:.3g} beside those of a board of {size:.3g}: "
            "the images are not of the same frame, or the calibration is wrong",
            code="out-of-range",
            found=change.error,
        )
    if keep_scale:  # tested above in the board's unit, where the calibration's does not count as a misfit
        change = match_points(seen, board, keep_scale=True)
    return change, detections.frames[row]


def _alike(cams: CameraGroup, corners: Floats, orders: np.ndarray) -> Floats:
    """Return corners (V, K, 2) listed alike in all views: boards that differ not from themselves turned have "
    "several."""
    result = corners.copy()
    for view in range(1, len(cams)):
        pair = cams.select([cams.names[0], cams.names[view]])
        errors = []
        for order in orders:
            both = np.stack([result[0], corners[view][order]])
            errors.append(float(np.nanmedian(reprojection_error(triangulate(both, pair), both, pair))))
        result[view] = corners[view][orders[int(np.nanargmin(np.nan_to_num(errors, nan=np.inf)))]]
    return result
