"""Cameras whose images fit their own lens but not the rig: not synchronized, or moved."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mvgeom.calibration.board_timing import Moved, Shifted, explain_by_time, frame_numbers
from mvgeom.calibration.boards import Floats
from mvgeom.calibration.boards_alone import boards_alone
from mvgeom.calibration.bundle import NUM_POSE, Booleans, Scene, residuals
from mvgeom.calibration.detections import Detections
from mvgeom.calibration.findings import Finding, describe_shift, error, warning
from mvgeom.calibration.rig_adjustment import relative_noise, views_of_boards, weigh_cameras
from mvgeom.calibration.schur import adjust
from mvgeom.cameras import CameraGroup

__all__ = ["TIME_CODES", "Suspicion", "explain_suspects", "lens_only_error", "suspect"]

TIME_CODES = ("moved_camera", "late_camera", "not_synchronized")
"""Codes of the findings of `explain_suspects`."""

_RATIO = 2.0
_SMALLEST_EXCESS = 0.15
"""px; smaller differences of the two errors have many causes, such as a board that is not flat."""

_LEFT_OUT, _MOST_LEFT_OUT = 0.2, 0.5
"""Shares of a camera's boards that contradict the others above which it is suspected, and its pose is of no use."""

_SEVERE_RATIO, _SEVERE = 3.0, 0.0005
"""Ratio of the errors, and error as a fraction of the image's longer side, above which poses are of no use."""

_MAX_LEFT_OUT = 6


class Suspicion(NamedTuple):
    """Errors in px of each camera's boards: (V,) alone, each board at its own pose, and (V,) in the rig.

    The error in the rig is that of the boards that were not left out; (V,) is also the share of those that were.
    """

    alone: Floats
    joint: Floats
    left_out: Floats
    cameras: tuple[int, ...]


def lens_only_error(cameras: CameraGroup, detections: Detections, used: Booleans) -> Floats:
    """Return the root mean square error (V,) in px of boards that each have their own pose; NaN without boards.

    Args:
        cameras: V cameras with the intrinsics to test.
        detections: Corners of the boards.
        used: (V, F) booleans, true for boards to test.
    """
    found = [boards_alone(cameras, view, detections, used[view]) for view in range(len(cameras))]
    return np.array([np.nan if each is None else _median_rms(each[1].weights, residuals(*each)) for each in found])


def suspect(alone: Floats, cameras: CameraGroup, scene: Scene, detections: Detections, blocks: np.ndarray,
            located: Booleans, used: Booleans) -> Suspicion:  # fmt: skip
    """Find cameras whose boards fit more than twice as badly in the rig as alone, or contradict it often.

    Args:
        alone: (V,) errors of `lens_only_error`.
        cameras: V adjusted cameras.
        scene: Adjusted scene.
        detections: Corners of the boards.
        blocks: (F,) block index of each frame.
        located: (V, F) booleans, true for boards with an initial pose.
        used: (V, F) booleans, true for boards that were adjusted.
    """
    views = views_of_boards(detections.points, used, blocks)
    found = residuals(scene, views)
    joint = np.array(
        [_median_rms(views.weights[views.camera == view], found[views.camera == view]) for view in range(len(cameras))]
    )
    left_out = (located & ~used).sum(axis=1) / np.maximum(located.sum(axis=1), 1)
    worse = (joint > _RATIO * alone) & (joint - alone > _SMALLEST_EXCESS)
    return Suspicion(alone, joint, left_out, tuple(map(int, np.flatnonzero(worse | (left_out > _LEFT_OUT)))))


def explain_suspects(
    suspicion: Suspicion, cameras: CameraGroup, boards: Floats, detections: Detections, located: Booleans
) -> list[Finding]:
    """Describe the suspects: which camera it is, and whether a shift in time or a movement explains it.

    Args:
        suspicion: Result of `suspect`.
        cameras: V adjusted cameras, with held lenses.
        boards: (F, 4, 4) poses of the boards in the world; NaN where unknown.
        detections: Corners of the boards.
        located: (V, F) booleans, true for boards with a pose.

    Returns:
        Findings of the codes `TIME_CODES`.
    """
    if len(cameras) < 2 or not suspicion.cameras:
        return []
    numbers, relative = frame_numbers(detections.frames), relative_noise(suspicion.alone)
    order = sorted(suspicion.cameras, key=lambda view: -suspicion.joint[view] / suspicion.alone[view])
    best: tuple[float, int, CameraGroup, Floats] | None = None
    for view in order[:_MAX_LEFT_OUT]:
        rest, world, joint = _without(view, cameras, boards, detections, located, relative)
        others = np.arange(len(cameras)) != view
        ratio = float(np.nanmax((joint / suspicion.alone)[others]))
        if best is None or ratio < best[0]:
            best = ratio, view, rest, world
    assert best is not None
    ratio, view, rest, world = best
    alone = len(cameras) > 2 and ratio <= _RATIO
    cause = explain_by_time(rest.select([cameras.names[view]]), world, detections.points[view], numbers)
    if cause is not None and (alone or len(cameras) == 2):
        concerned = (view,) if alone else (0, 1)
        return [_described(cause, concerned, cameras.names, detections.frames)]
    blamed = (view,) if alone else suspicion.cameras
    return [_not_synchronized(each, suspicion, cameras) for each in blamed]


def _described(
    cause: Shifted | Moved, views: tuple[int, ...], names: tuple[str, ...], frames: tuple[str, ...]
) -> Finding:
    concerned = [names[view] for view in views]
    who = f"camera {concerned[0]!r}" if len(concerned) == 1 else f"cameras {' or '.join(map(repr, concerned))}"
    if isinstance(cause, Moved):
        text = (
            f"{who} moved before frame {frames[cause.before]}: turned by {cause.rotation_deg:.2f} degrees and shifted "
            f"by {cause.shift:.3g}. With one pose before and one after, the boards fit at {cause.error:.2f} px (mean), "
            f"with one pose at {cause.error_without:.2f} px. Calibrate with the images of one part only"
        )
        return error(
            "moved_camera", concerned, text, frame=cause.before, rotation_deg=cause.rotation_deg, shift=cause.shift,
            error_px=cause.error, error_without_px=cause.error_without,
        )  # fmt: skip
    last = names[views[-1]]
    text = (
        f"camera {last!r} is {describe_shift(cause.frames)} against the others: its boards then fit at "
        f"{cause.error:.2f} px (mean) instead of {cause.error_without:.2f} px. Its recording "
        f"{'began before' if cause.frames > 0 else 'began after'} the "
        "others', or frames were lost; shift its frames, and calibrate again"
    )
    return error(
        "late_camera", [last], text, frames=cause.frames, error_px=cause.error, error_without_px=cause.error_without
    )


def _not_synchronized(view: int, suspicion: Suspicion, cameras: CameraGroup) -> Finding:
    name, alone, joint = cameras.names[view], float(suspicion.alone[view]), float(suspicion.joint[view])
    left_out = float(suspicion.left_out[view])
    severe = joint > _SEVERE_RATIO * alone and joint > _SEVERE * float(cameras.sizes[view].max())
    without = f" without the {100 * left_out:.0f} % that contradict it" if left_out > _LEFT_OUT else ""
    text = (
        f"camera {name!r} is not synchronized with the others, or moved: its boards fit its lens at {alone:.2f} px, "
        f"but the rig at {joint:.2f} px{without}. The lenses are those of each camera's own images. Check that frames "
        "are of the same time (lost frames, a late start) and that no camera was touched, or keep the board still for "
        "each image"
    )
    build = error if severe or left_out > _MOST_LEFT_OUT else warning
    return build("not_synchronized", [name], text, alone_px=alone, joint_px=joint, left_out=left_out)


def _without(
    view: int, cameras: CameraGroup, boards: Floats, detections: Detections, located: Booleans, relative: Floats
) -> tuple[CameraGroup, Floats, Floats]:
    """Adjust the rig without one camera.

    Returns:
        Cameras, corners (F, K, 3) in the world, NaN where no other camera sees the board, and errors (V,) in px.
    """
    used = located & np.isfinite(boards).all((-1, -2))
    used[view] = False
    has_views = used.any(axis=0)
    blocks = np.where(has_views, np.cumsum(has_views) - 1, -1)
    views = views_of_boards(detections.points, used, blocks)
    scene = Scene(
        cameras=cameras,
        rotation=boards[has_views, :3, :3],
        position=boards[has_views, :3, 3],
        object_points=detections.object_points,
    )
    world = np.full((len(boards), len(detections.object_points), 3), np.nan)
    joint = np.full(len(cameras), np.nan)
    if not len(views.camera) or not np.isfinite(residuals(scene, views)).all():
        return cameras, world, joint
    free = np.zeros((len(cameras), scene.camera_size), dtype=bool)
    free[:, :NUM_POSE] = True
    free[[view, min(other for other in range(len(cameras)) if other != view)]] = False
    scale = relative[views.camera, None]
    weighed = weigh_cameras(views, relative)
    scene = adjust(scene, weighed, free, loss="huber", loss_scale=scale, max_iterations=40, tolerance=1e-6).scene
    found = residuals(scene, views)
    for other in np.unique(views.camera):
        rows = views.camera == other
        joint[other] = _median_rms(views.weights[rows], found[rows])
    world[has_views] = scene.world_points(np.arange(views.num_blocks))
    return scene.cameras, world, joint


def _median_rms(weights: Floats, found: Floats) -> float:
    """Return the median over boards of their root mean square errors in px, which a few false boards do not change."""
    if not len(found):
        return float("nan")
    return float(np.median(np.sqrt((found**2).sum((1, 2)) / weights.sum(1))))
