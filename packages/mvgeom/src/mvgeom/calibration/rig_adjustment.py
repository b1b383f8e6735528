"""Joint adjustment of cameras and boards, without the views that do not fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvgeom.calibration.boards import Floats, Ints, seen_corners
from mvgeom.calibration.bundle import NUM_POSE, Booleans, Scene, Views, residuals
from mvgeom.calibration.findings import CalibrationError, error
from mvgeom.calibration.lens_shape import lens_shape
from mvgeom.calibration.pose_graph import PoseGraph
from mvgeom.calibration.schur import Loss, Solution, adjust
from mvgeom.cameras import CameraGroup

__all__ = ["RigAdjustment", "adjust_rig", "views_of_boards"]

_OUTLIER_SIGMAS = 6.0
_ROBUST_SIGMAS = 3.0
_SMALLEST_SCALE = 1e-6
_SHAPE_ROUNDS = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class RigAdjustment:
    """Adjusted cameras and boards.

    Attributes:
        solution: Solution of the bundle adjustment; it has one block for each board that is seen.
        blocks: (F,) block index of each frame; -1 for a frame without a block.
        used: (V, F) booleans, true for views that were adjusted.
        noise: Standard deviation of the corners per pixel coordinate in px, estimated from the residuals.
    """

    solution: Solution
    blocks: Ints
    used: Booleans
    noise: float


def adjust_rig(
    cameras: CameraGroup,
    graph: PoseGraph,
    object_points: Floats,
    points: Floats,
    used: Booleans,
    free: Booleans,
    square: Booleans,
    *,
    faces: Ints | None,
    reference: int,
    loss: Loss,
    loss_scale: float | None,
) -> RigAdjustment:
    """Adjust poses, then all parameters; leave out views that fit much worse than others, and adjust again.

    Args:
        cameras: V cameras with initial intrinsics.
        graph: Initial poses of cameras and boards.
        object_points: (K, 3) corners in the board's frame and unit.
        points: (V, F, K, 2) corners in full-image px; NaN is missing.
        used: (V, F) booleans, true for views to adjust.
        free: (V, C) booleans, true for camera parameters that may change; the reference camera's pose is always fixed.
        square: (V,) booleans, true for cameras with one focal length.
        faces: (K,) face that each corner is on, where poses of faces on the board are adjusted; None for a rigid board.
        reference: Index of the camera whose frame is the world.
        loss: Loss of the residuals.
        loss_scale: Residual in px beyond which the loss reduces the weight; None means three standard deviations of the
            residuals.

    Raises:
        CalibrationError: If the initial poses put boards behind cameras.
    """
    has_views = used.any(axis=0)
    blocks = np.where(has_views, np.cumsum(has_views) - 1, -1)
    boards = graph.boards[has_views]
    scene = Scene(
        cameras=cameras.replace(rotation=graph.cameras[:, :3, :3], translation=graph.cameras[:, :3, 3]),
        rotation=boards[:, :3, :3],
        position=boards[:, :3, 3],
        object_points=object_points,
        faces=faces,
    )
    free = free.copy()
    free[reference, :NUM_POSE] = False
    poses = free.copy()
    poses[:, NUM_POSE:] = False
    used = used.copy()
    views = views_of_boards(points, used, blocks)
    _check_in_front(scene, views)
    scene = adjust(scene, views, poses, loss="huber", loss_scale=3.0, tolerance=1e-4).scene
    while True:
        rough = adjust(
            scene,
            views,
            free,
            loss=loss,
            loss_scale=_scale(scene, views, loss_scale),
            tolerance=1e-6,
            square=square,
        )
        # With only the poses adjusted, errors of the intrinsics remain, so the scale is computed again.
        scale = _scale(rough.scene, views, loss_scale)
        solution = adjust(rough.scene, views, free, loss=loss, loss_scale=scale, square=square)
        for _ in range(_SHAPE_ROUNDS):
            shape = lens_shape(solution.scene.cameras, free)
            if shape.cost(solution.scene.cameras) == 0:
                break
            solution = adjust(solution.scene, views, free, loss=loss, loss_scale=scale, square=square, shape=shape)
        outliers = _outliers(solution.scene, views)
        if not outliers.any():
            return RigAdjustment(
                solution=solution, blocks=blocks, used=used, noise=_noise(solution.scene, views, free, loss, scale)
            )
        camera, frame = (index[outliers] for index in np.nonzero(used))
        used[camera, frame] = False
        scene, views = solution.scene, views_of_boards(points, used, blocks)


def views_of_boards(points: Floats, used: Booleans, blocks: Ints) -> Views:
    """Return the used views (V, F) as `Views`, camera by camera.

    Args:
        points: (V, F, K, 2) corners in full-image px; NaN is missing.
        used: (V, F) booleans, true for views to include.
        blocks: (F,) block index of each frame.
    """
    camera, frame = np.nonzero(used)
    pixels = points[camera, frame]
    seen = seen_corners(pixels)
    return Views(
        camera=camera,
        block=blocks[frame],
        pixels=np.where(seen[..., None], pixels, 0.0),
        weights=seen.astype(np.float64),
        num_cameras=len(points),
        num_blocks=int(blocks.max(initial=-1)) + 1,
    )


def _scale(scene: Scene, views: Views, given: float | None) -> float:
    """Return the scale of a robust loss in px, from the median length of the residuals (Rayleigh distribution)."""
    if given is not None:
        return given
    lengths = np.linalg.norm(residuals(scene, views), axis=-1)[views.weights > 0]
    return float(max(_ROBUST_SIGMAS * float(np.median(lengths)) / np.sqrt(2 * np.log(2)), _SMALLEST_SCALE))


def _outliers(scene: Scene, views: Views) -> Booleans:
    """Return booleans (G,), true for views that fit much worse than others; the best view of a board is never one."""
    squares = (residuals(scene, views) ** 2).sum((1, 2))
    rms = np.sqrt(squares / views.weights.sum(1))
    best = np.full(views.num_blocks, np.inf)
    np.minimum.at(best, views.block, rms)
    return np.asarray((rms > _OUTLIER_SIGMAS * max(float(np.median(rms)), 0.1)) & (rms > best[views.block]))


def _noise(scene: Scene, views: Views, free: Booleans, loss: Loss, scale: float) -> float:
    """Return the standard deviation per coordinate in px; a robust loss limits residuals to its scale."""
    squares = (residuals(scene, views) ** 2).sum(-1)[views.weights > 0]
    if loss != "linear":
        squares = np.minimum(squares, scale**2)
    of_scene = scene.block_size * views.num_blocks + NUM_POSE * scene.num_moving_faces
    freedom = 2 * len(squares) - int(free.sum()) - of_scene
    return float(np.sqrt(squares.sum() / max(freedom, 1)))


def _check_in_front(scene: Scene, views: Views) -> None:
    behind = ~np.isfinite(residuals(scene, views)).all((1, 2))
    if behind.any():
        names = tuple(scene.cameras.names[camera] for camera in np.unique(views.camera[behind]))
        text = f"the poses of {', '.join(names)} put {int(behind.sum())} boards behind a camera"
        raise CalibrationError(
            [error("boards_behind", names, f"{text}; are the images of the same frames?", boards=int(behind.sum()))]
        )
