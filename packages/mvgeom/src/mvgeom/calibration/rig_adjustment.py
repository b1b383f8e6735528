"""Joint adjustment of cameras and boards, without the views that do not fit."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from mvgeom.calibration.boards import Floats, Ints, seen_corners
from mvgeom.calibration.bundle import NUM_POSE, Booleans, Scene, Views, residuals
from mvgeom.calibration.findings import CalibrationError, error
from mvgeom.calibration.mirrored_boards import leave_mirrored_poses
from mvgeom.calibration.one_to_one import adjust_one_to_one
from mvgeom.calibration.pose_graph import PoseGraph
from mvgeom.calibration.schur import Loss, Solution, adjust, propagate_lens_errors
from mvgeom.cameras import CameraGroup
from mvgeom.wording import counted

__all__ = [
    "RigAdjustment",
    "adjust_rig",
    "join_fitting_views",
    "noise_of",
    "relative_noise",
    "typical_scale",
    "views_of_boards",
    "weigh_cameras",
]

_OUTLIER_SIGMAS = 6.0
_JOINING_SIGMAS = 3.0
_SMALLEST_TYPICAL = 0.1
"""px; errors of views beside which none is an outlier."""

_ROBUST_SIGMAS = 3.0
_SMALLEST_SCALE = 1e-6
_FINEST_NOISE = 0.05
"""px; more precise corners count no more, because boards and lenses are not that exact."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RigAdjustment:
    """Adjusted cameras and boards.

    Attributes:
        solution: Solution of the bundle adjustment; it has one block for each board that is seen.
        blocks: (F,) block index of each frame; -1 for a frame without a block.
        used: (V, F) booleans, true for views that were adjusted.
        noise: Standard deviation of the corners per pixel coordinate in px, estimated from the residuals; cameras whose
            corners are less precise than others' have more, see `relative_noise`.
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
    waiting: Booleans,
    free: Booleans,
    square: Booleans,
    *,
    relative: Floats,
    faces: Ints | None,
    reference: int,
    loss: Loss,
    loss_scale: float | None,
    doubtful: Booleans | None = None,
    held: Floats | None = None,
) -> RigAdjustment:
    """Adjust poses, then all parameters; leave out views that fit much worse than others, and adjust again.

    Args:
        cameras: V cameras with initial intrinsics.
        graph: Initial poses of cameras and boards.
        object_points: (K, 3) corners in the board's frame and unit.
        points: (V, F, K, 2) corners in full-image px; NaN is missing.
        used: (V, F) booleans, true for views to adjust.
        waiting: (V, F) booleans, true for views that contradict the initial poses; those that fit the adjusted rig are
            adjusted, too.
        free: (V, C) booleans, true for camera parameters that may change; the reference camera's pose is always fixed.
        square: (V,) booleans, true for cameras with one focal length.
        relative: (V,) standard deviation of each camera's corners, relative to the others'; see `relative_noise`.
        faces: (K,) face that each corner is on, where poses of faces on the board are adjusted; None for a rigid board.
        reference: Index of the camera whose frame is the world.
        loss: Loss of the residuals.
        loss_scale: Residual in px beyond which the loss reduces the weight, multiplied by `relative`; None means three
            standard deviations of the residuals.
        doubtful: (V, C) booleans, true for camera parameters that are kept as they are, but count as unknown in the
            covariance; None for none.
        held: (V, C, V, C) covariance of lenses that are kept as they are; None if none is kept, or they are exact.

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
    views = weigh_cameras(views_of_boards(points, used, blocks), relative)
    _check_in_front(scene, views)
    scene = adjust(
        scene, views, poses, loss="huber", loss_scale=3.0 * relative[views.camera, None], tolerance=1e-4
    ).scene
    tried_others = faces is not None
    while True:
        rough = adjust(
            scene,
            views,
            free,
            loss=loss,
            loss_scale=_scale(scene, views, relative, loss_scale),
            tolerance=1e-6,
            square=square,
        )
        # With only the poses adjusted, errors of the intrinsics remain, so the scale is computed again.
        scale = _scale(rough.scene, views, relative, loss_scale)
        solution = adjust_one_to_one(rough.scene, views, free, loss=loss, loss_scale=scale, square=square)
        outliers = _outliers(solution.scene, views, relative)
        scene, joining = solution.scene, np.zeros_like(used)
        if not outliers.any() and waiting.any():
            limits = _joining_limits(scene, views, relative)
            scene, joining = join_fitting_views(scene, blocks, points, used, waiting, limits)
            waiting = waiting & ~joining
        if not outliers.any() and not joining.any() and not tried_others:
            tried_others = True
            better = leave_mirrored_poses(solution, views, free, loss=loss, loss_scale=scale, square=square)
            if better is not solution:
                scene = better.scene
                continue
        if not outliers.any() and not joining.any():
            noise = noise_of(solution.scene, views, free, loss, scale)
            if doubtful is not None:
                unknown = adjust(
                    solution.scene,
                    views,
                    free | doubtful,
                    loss=loss,
                    loss_scale=scale,
                    max_iterations=0,
                    square=square,
                )
                solution = dataclasses.replace(solution, covariance=unknown.covariance)
            if held is not None:
                of_lenses = held / max(noise, _SMALLEST_SCALE) ** 2
                covariance = propagate_lens_errors(solution.scene, views, free, of_lenses, loss=loss, loss_scale=scale)
                solution = dataclasses.replace(solution, covariance=covariance)
            return RigAdjustment(solution=solution, blocks=blocks, used=used, noise=noise)
        camera, frame = (index[outliers] for index in np.nonzero(used))
        used[camera, frame] = False
        used |= joining
        views = weigh_cameras(views_of_boards(points, used, blocks), relative)


def join_fitting_views(
    scene: Scene, blocks: Ints, points: Floats, used: Booleans, waiting: Booleans, limits: Floats
) -> tuple[Scene, Booleans]:
    """Find waiting views that fit the adjusted rig, together with all other views of their frame.

    Before the adjustment, a board is compared by the pose that one camera alone gives it. Few corners determine that
    pose badly, and lenses are only roughly known: such a board contradicts the others without being wrong.

    Args:
        scene: Adjusted scene.
        blocks: (F,) block index of each frame; -1 for a frame without a block.
        points: (V, F, K, 2) corners in full-image px; NaN is missing.
        used: (V, F) booleans, true for views that were adjusted.
        waiting: (V, F) booleans, true for views to try.
        limits: (V,) largest root mean square error in px of a view that fits.

    Returns:
        The scene with boards at the poses at which they fit all their views, and booleans (V, F) for the views that
        join.
    """
    assert scene.rotation is not None
    frames = np.flatnonzero(waiting.any(axis=0) & (blocks >= 0))
    own = blocks[frames]
    views = views_of_boards(points[:, frames], (used | waiting)[:, frames], np.arange(len(frames)))
    boards = dataclasses.replace(scene, rotation=scene.rotation[own], position=scene.position[own])
    fits: Booleans = np.asarray(np.isfinite(residuals(boards, views)).all((1, 2)))
    views = dataclasses.replace(views, weights=views.weights * fits[:, None])
    held = np.zeros((len(points), scene.camera_size), dtype=bool)
    boards = adjust(
        boards, views, held, loss="huber", loss_scale=limits[views.camera, None], max_iterations=30, tolerance=1e-6
    ).scene
    assert boards.rotation is not None
    squares = (residuals(boards, views) ** 2).sum((1, 2)) / np.maximum(views.weights.sum(1), 1)
    fits &= np.sqrt(squares) <= limits[views.camera]
    wrong = np.unique(views.block[~fits])
    joining, rotation, position = np.zeros_like(waiting), scene.rotation.copy(), scene.position.copy()
    right = np.delete(np.arange(len(frames)), wrong)
    joining[:, frames[right]] = waiting[:, frames[right]]
    rotation[own[right]], position[own[right]] = boards.rotation[right], boards.position[right]
    return dataclasses.replace(scene, rotation=rotation, position=position), joining


def relative_noise(alone: Floats) -> Floats:
    """Return how imprecise each camera's corners are beside the others' (V,), around 1.

    A blurred camera, or one of low resolution, must neither lose its boards as outliers nor pull those of the others.

    Args:
        alone: (V,) errors in px of boards that each have their own pose; NaN for a camera without boards.
    """
    known = np.maximum(np.where(np.isfinite(alone), alone, np.nanmedian(alone)), _FINEST_NOISE)
    return np.asarray(known / np.median(known))


def weigh_cameras(views: Views, relative: Floats) -> Views:
    """Return the views with weights by the precision of their cameras' corners."""
    return dataclasses.replace(views, weights=views.weights / relative[views.camera, None] ** 2)


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


def typical_scale(scene: Scene, views: Views) -> float:
    """Return the scale of a robust loss in px, from the residuals' median length (Rayleigh distribution)."""
    return _from_lengths(np.linalg.norm(residuals(scene, views), axis=-1)[views.weights > 0])


def _from_lengths(lengths: Floats) -> float:
    return max(_ROBUST_SIGMAS * float(np.median(lengths) / np.sqrt(2 * np.log(2))), _SMALLEST_SCALE)


def _scale(scene: Scene, views: Views, relative: Floats, given: float | None) -> Floats:
    """Return the scale (G, 1) of a robust loss in px, by camera: that of `typical_scale` where none is given."""
    own = relative[views.camera, None]
    if given is None:
        lengths = (np.linalg.norm(residuals(scene, views), axis=-1) / own)[views.weights > 0]
        given = _from_lengths(lengths)
    return np.asarray(given * own)


def _outliers(scene: Scene, views: Views, relative: Floats) -> Booleans:
    """Return booleans (G,), true for views that fit much worse than others; the best view of a board is never one."""
    rms = _errors(scene, views, relative)
    best = np.full(views.num_blocks, np.inf)
    np.minimum.at(best, views.block, rms)
    return np.asarray((rms > _OUTLIER_SIGMAS * _typical(rms)) & (rms > best[views.block]))


def _joining_limits(scene: Scene, views: Views, relative: Floats) -> Floats:
    """Return the largest error (V,) in px of a view of each camera that still joins the others."""
    return np.asarray(_JOINING_SIGMAS * _typical(_errors(scene, views, relative)) * relative)


def _errors(scene: Scene, views: Views, relative: Floats) -> Floats:
    """Return the root mean square error (G,) of each view in px, divided by its camera's relative noise."""
    squares = (residuals(scene, views) ** 2).sum((1, 2))
    return np.asarray(np.sqrt(squares / (views.weights > 0).sum(1)) / relative[views.camera])


def _typical(errors: Floats) -> float:
    return max(float(np.median(errors)), _SMALLEST_TYPICAL)


def noise_of(scene: Scene, views: Views, free: Booleans, loss: Loss, scale: float | Floats) -> float:
    """Return the standard deviation per coordinate in px; a robust loss limits residuals to its scale."""
    squares = (residuals(scene, views) ** 2).sum(-1)
    if loss != "linear":
        squares = np.minimum(squares, scale**2)
    known = views.weights > 0
    of_scene = scene.block_size * views.num_blocks + NUM_POSE * scene.num_moving_faces
    freedom = 2 * int(known.sum()) - int(free.sum()) - of_scene
    return float(np.sqrt((views.weights * squares)[known].sum() / max(freedom, 1)))


def _check_in_front(scene: Scene, views: Views) -> None:
    behind = ~np.isfinite(residuals(scene, views)).all((1, 2))
    if behind.any():
        names = tuple(scene.cameras.names[camera] for camera in np.unique(views.camera[behind]))
        text = f"the poses of {', '.join(names)} put {counted(int(behind.sum()), 'board')} behind a camera"
        raise CalibrationError(
            [error("boards_behind", names, f"{text}; are the images of the same frames?", boards=int(behind.sum()))]
        )
