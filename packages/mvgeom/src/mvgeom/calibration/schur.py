"""Levenberg-Marquardt for bundle adjustment: Schur complement over the blocks, dense solution for the cameras.

Each block is connected only to its own views, so its part of the normal equations is a 3x3 or 6x6 matrix. The reduced
system has one row per parameter of a camera or of a face of the board: some dozens to hundreds, independent of the
number of boards or points. Robust losses act on the length of each point's residual through weights (iteratively
reweighted least squares).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.linalg import block_diag, null_space

from mvgeom.calibration.boards import Floats, Ints
from mvgeom.calibration.bundle import NUM_POSE, Booleans, Linearization, Scene, Step, Views, linearize, rows_of_camera
from mvgeom.calibration.information import at_least_tiny, invert_information
from mvgeom.calibration.lens_jacobian import NUM_INTRINSICS
from mvgeom.calibration.lens_prior import LensPrior
from mvgeom.calibration.lens_shape import LensShape
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError

__all__ = ["Loss", "Solution", "adjust", "propagate_lens_errors", "robust_weights", "world_motions"]

Loss = Literal["linear", "huber", "soft_l1", "cauchy"]

_MAX_DAMPING = 1e16

_NO_DAMPING = 1e-15
"""Damping of blocks that changes nothing, but inverts what is singular."""

_SAME_MOTION = 1e-9
"""Length of the difference of two motions of length 1 that counts as none."""

_FX, _FY = NUM_POSE, NUM_POSE + 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Solution:
    """Result of the bundle adjustment.

    Attributes:
        scene: Adjusted scene.
        cost: Half the sum of the (robust) squared residuals in px^2.
        iterations: Number of steps that were tried.
        converged: True if the steps became negligible.
        covariance: (V, camera_size, V, camera_size) covariance of the camera parameters for residuals of variance 1
            px^2, with boards, points and the poses of moving faces unknown; zeros for fixed parameters. Motions of the
            world as a whole have no part in it. What else the residuals do not determine has a variance of 1e14 times
            that of a parameter that is the only unknown one: finite, so that it can be propagated.
        undetermined: Number of combinations of camera parameters that the residuals do not depend on: 7 if neither
            scale nor frame of the world is fixed.
    """

    scene: Scene
    cost: float
    iterations: int
    converged: bool
    covariance: Floats
    undetermined: int


def adjust(
    scene: Scene,
    views: Views,
    free: Booleans,
    *,
    loss: Loss = "linear",
    loss_scale: float | Floats = 1.0,
    max_iterations: int = 100,
    tolerance: float = 1e-10,
    square: Booleans | None = None,
    groups: Ints | None = None,
    shape: LensShape | None = None,
    prior: LensPrior | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Solution:
    """Minimize the reprojection errors.

    Args:
        scene: Initial scene; points with positive weight must be in front of their cameras.
        views: Observations in px. Every block needs enough of them to be determined, given the cameras.
        free: (V, camera_size) booleans, true for camera parameters that may change; all those of blocks and of
            moving faces change.
        loss: Loss of a residual of length r, with s = (r / loss_scale)^2: linear s, huber (2 sqrt(s) - 1 beyond 1),
            soft_l1 2 (sqrt(1 + s) - 1), cauchy ln(1 + s), as in scipy.optimize.least_squares.
        loss_scale: Residual in px beyond which a robust loss reduces the weight, one or (G, 1), of each observation.
        max_iterations: Largest number of steps to try.
        tolerance: Relative decrease of the cost below which the iteration stops.
        square: (V,) booleans, true for cameras whose fx and fy change by the same px; None for no such camera.
        groups: (V,) group of each camera; free focal lengths and distortion of a group change together. None if all
            cameras change by themselves.
        shape: Penalty on lenses that are not one-to-one over their image; None for no penalty.
        prior: Knowledge about lenses that counts as observations; None for none.
        progress: Function called with the step number and the cost.

    Raises:
        ValueError: If a point with positive weight is initially behind its camera (a bug in the caller).
    """
    linear = linearize(scene, views)
    behind = ~np.isfinite(linear.residuals).all(-1)
    if behind.any():
        raise ValueError(f"points start behind their cameras: {int(behind.sum())}")
    basis = _basis(free, square, groups, scene.num_moving_faces)

    def total(error: Floats, cameras: CameraGroup) -> float:
        penalties = [each.cost(cameras) for each in (shape, prior) if each is not None]
        return _cost(error, views, loss, loss_scale) + sum(penalties)

    cost = total(linear.residuals, scene.cameras)
    damping, raise_by, converged, iteration = 1e-4, 2.0, False, 0
    normal = _normal_equations(scene, views, linear, free, basis, loss, loss_scale, shape, prior)
    for iteration in range(1, max_iterations + 1):
        step, predicted = normal.solve(damping)
        new_cost = np.inf
        if _is_lens(scene.cameras, step.cameras):
            moved = scene.moved(step)
            # With derivatives: most steps are accepted, and they are needed next.
            tried = linearize(moved, views)
            new_cost = total(tried.residuals, moved.cameras)
        decrease = cost - new_cost
        if np.isfinite(new_cost) and decrease >= 0:
            scene, linear, cost = moved, tried, new_cost
            if progress is not None:
                progress(iteration, cost)
            gain = decrease / predicted if predicted > 0 else 1.0
            # A small decrease is no sign of convergence if the step was damped.
            negligible = tolerance * cost + 1e-18 * views.num_observations
            converged = decrease <= negligible and (gain > 0.25 or predicted <= negligible)
            normal = _normal_equations(scene, views, linear, free, basis, loss, loss_scale, shape, prior)
            damping = max(damping * max(1 / 5, 1 - (2 * gain - 1) ** 3), 1e-12)
            raise_by = 2.0
        else:
            # No step, however small, lowers the cost: only rounding errors remain.
            converged = predicted <= tolerance * cost
            damping, raise_by = damping * raise_by, raise_by * 2
        if converged or damping > _MAX_DAMPING:
            break
    if shape is not None:  # the penalty is no observation
        normal = _normal_equations(scene, views, linear, free, basis, loss, loss_scale, None, prior)
    covariance, undetermined = normal.camera_covariance(world_motions(scene))
    return Solution(
        scene=scene,
        cost=cost,
        iterations=iteration,
        converged=converged,
        covariance=covariance,
        undetermined=undetermined,
    )


def _basis(free: Booleans, square: Booleans | None, groups: Ints | None, num_faces: int) -> Floats:
    """Return the matrix (S, P) of zeros and ones that maps the P distinct free parameters to the shared ones.

    Shared ones are those of all cameras (V * C), then the poses of the faces. Parameters that change together are one
    column; fixed parameters are rows of zeros.
    """
    number = np.arange(free.size).reshape(free.shape)
    if square is not None:
        tied = square & free[:, _FX]
        number[tied, _FY] = number[tied, _FX]
    if groups is not None:
        _, first, group = np.unique(groups, return_index=True, return_inverse=True)
        leader = first[group.reshape(-1)]
        common = [_FX, _FY, *range(NUM_POSE + NUM_INTRINSICS, free.shape[1])]
        number[:, common] = number[leader][:, common]
    used = free.reshape(-1)
    _, column = np.unique(number.reshape(-1)[used], return_inverse=True)
    basis = np.zeros((free.size, int(column.max(initial=-1)) + 1))
    basis[np.flatnonzero(used), column.reshape(-1)] = 1
    return np.asarray(block_diag(basis, np.eye(NUM_POSE * num_faces)))


@dataclass(frozen=True, kw_only=True, eq=False)
class _NormalEquations:
    """J'WJ and -J'Wr, split into what is shared by all blocks (cameras, faces of the board) and the blocks.

    Attributes:
        free: (V, C) booleans, true for camera parameters that may change.
        basis: (S, P) matrix from the distinct free parameters to the S = V * C + 6 faces shared ones.
        shared: (S, S) part of the shared parameters.
        blocks: (B, q, q) diagonal blocks of the blocks.
        mixed: (B, S, q) off-diagonal part between shared parameters and blocks.
        shared_slope: (S,) negative gradient of the shared parameters.
        block_slope: (B, q) negative gradient of the block parameters.
    """

    free: Booleans
    basis: Floats
    shared: Floats
    blocks: Floats
    mixed: Floats
    shared_slope: Floats
    block_slope: Floats

    def solve(self, damping: float) -> tuple[Step, float]:
        """Return a step, and the predicted decrease of the cost."""
        basis = self.basis
        own = np.einsum("sp,sp->p", basis, self.shared @ basis)
        shared_damping = damping * (at_least_tiny(own) if len(own) else own)
        block_damping = damping * _diagonal(self.blocks)
        reduced, eliminated = self._reduce(block_damping)
        slope = basis.T @ (self.shared_slope - np.einsum("bsq,bq->s", eliminated, self.block_slope))
        distinct = _solve_scaled(basis.T @ reduced @ basis + np.diag(shared_damping), slope)
        shared_step = basis @ distinct
        right = self.block_slope - np.einsum("bsq,s->bq", self.mixed, shared_step)
        block_step = np.linalg.solve(self.blocks + _diagonal_matrices(block_damping), right[..., None])[..., 0]
        # For (H + D) x = g the model's decrease is x'g - x'Hx / 2 = x'(g + D x) / 2.
        predicted = 0.5 * (
            distinct @ (basis.T @ self.shared_slope + shared_damping * distinct)
            + (block_step * (self.block_slope + block_damping * block_step)).sum()
        )
        camera_step = shared_step[: self.free.size].reshape(self.free.shape)
        face_step = shared_step[self.free.size :].reshape(-1, NUM_POSE)
        return Step(camera_step, block_step, face_step), float(predicted)

    def camera_covariance(self, motions: Floats) -> tuple[Floats, int]:
        """Return the covariance (V, C, V, C) of the cameras, all else unknown.

        Args:
            motions: (V * C, M) changes of the cameras that no observation shows; see `world_motions`. Those that leave
                the fixed parameters as they are have no variance.

        Returns:
            The covariance, and the number of combinations of parameters without information, motions included.
        """
        reduced, _ = self._reduce(_NO_DAMPING * _diagonal(self.blocks))
        hidden = self.basis[: self.free.size].T @ _keeping_fixed(motions, self.free.reshape(-1))
        inverse, undetermined = invert_information(self.basis.T @ reduced @ self.basis, hidden)
        return self._of_cameras(self.basis @ inverse @ self.basis.T), undetermined

    def propagate(self, lenses: Floats, moving: Floats) -> Floats:
        """Return the covariance (V, C, V, C) of all cameras whose lenses were held, and their poses adjusted.

        Args:
            lenses: (V, C, V, C) covariance of the lenses.
            moving: (S, Q) matrix from the parameters that were adjusted to the shared ones, as `basis`.
        """
        reduced, _ = self._reduce(_NO_DAMPING * _diagonal(self.blocks))
        inverse, _ = invert_information(moving.T @ reduced @ moving)
        # Where a lens is wrong by a step, the poses end where their slope for this step is 0.
        change = np.eye(len(reduced))[:, : self.free.size] - moving @ inverse @ (
            moving.T @ reduced[:, : self.free.size]
        )
        of_lenses = lenses.reshape(self.free.size, self.free.size)
        return self._of_cameras(moving @ inverse @ moving.T + change @ of_lenses @ change.T)

    def _of_cameras(self, covariance: Floats) -> Floats:
        """Return the part (V, C, V, C) of the cameras in a covariance (S, S) of the shared parameters."""
        return covariance[: self.free.size, : self.free.size].reshape(*self.free.shape, *self.free.shape)

    def _reduce(self, block_damping: Floats) -> tuple[Floats, Floats]:
        """Return the normal matrix of the shared parameters with the blocks eliminated, and mixed / blocks."""
        inverse = np.linalg.inv(self.blocks + _diagonal_matrices(block_damping))
        eliminated = self.mixed @ inverse
        size = self.mixed.shape[1]
        flat = np.swapaxes(self.mixed, 0, 1).reshape(size, -1)
        return self.shared - np.swapaxes(eliminated, 0, 1).reshape(size, -1) @ flat.T, eliminated


def _normal_equations(
    scene: Scene,
    views: Views,
    linear: Linearization,
    free: Booleans,
    basis: Floats,
    loss: Loss,
    loss_scale: float | Floats,
    shape: LensShape | None,
    prior: LensPrior | None,
) -> _NormalEquations:
    weights = views.weights * robust_weights(linear.residuals, loss, loss_scale)
    root = np.sqrt(weights)[..., None, None]
    num_views, size, block_size = len(scene.cameras), scene.camera_size, scene.block_size
    rows, of_cameras, num_shared = len(views.camera), num_views * size, len(basis)
    by_camera, by_block, by_face, error = (
        (each * root).reshape(rows, 2 * views.weights.shape[1], each.shape[-1])
        for each in (linear.by_camera, linear.by_block, linear.by_face, linear.residuals[..., None])
    )
    shared, shared_slope = np.zeros((num_shared, num_shared)), np.zeros(num_shared)
    penalty = None if shape is None else shape.residuals(scene.cameras)
    faces = slice(of_cameras, None)
    for view in range(num_views):
        own, (mine, _) = slice(view * size, (view + 1) * size), rows_of_camera(views, view)
        part, missed = by_camera[mine].reshape(-1, size), error[mine].reshape(-1)
        on_faces = by_face[mine].reshape(len(part), num_shared - of_cameras)
        shared[own, own] = part.T @ part
        shared[own, faces] = part.T @ on_faces
        shared[faces, own] = shared[own, faces].T
        shared[faces, faces] += on_faces.T @ on_faces
        shared_slope[own] = -part.T @ missed
        shared_slope[faces] -= on_faces.T @ missed
        if penalty is not None:
            excess, slopes = (each[view] for each in penalty)
            shared[own, own] += slopes.T @ slopes
            shared_slope[own] -= slopes.T @ excess
    if prior is not None:
        shared[:of_cameras, :of_cameras] += prior.precision
        shared_slope[:of_cameras] -= prior.precision @ prior.excess(scene.cameras).reshape(-1)
    transposed = np.swapaxes(by_block, 1, 2)
    blocks = np.zeros((views.num_blocks, block_size, block_size))
    np.add.at(blocks, views.block, transposed @ by_block)
    block_slope = np.zeros((views.num_blocks, block_size))
    np.add.at(block_slope, views.block, -(transposed @ error)[..., 0])
    cameras_mixed = np.zeros((views.num_blocks, num_views, size, block_size))
    np.add.at(cameras_mixed, (views.block, views.camera), np.swapaxes(by_camera, 1, 2) @ by_block)
    cameras_mixed *= free[None, :, :, None]
    faces_mixed = np.zeros((views.num_blocks, num_shared - of_cameras, block_size))
    np.add.at(faces_mixed, views.block, np.swapaxes(by_face, 1, 2) @ by_block)
    mixed = np.concatenate([cameras_mixed.reshape(views.num_blocks, of_cameras, block_size), faces_mixed], axis=1)
    return _NormalEquations(
        free=free,
        basis=basis,
        shared=shared,
        blocks=blocks,
        mixed=mixed,
        shared_slope=shared_slope,
        block_slope=block_slope,
    )


def propagate_lens_errors(
    scene: Scene, views: Views, free: Booleans, lenses: Floats, *, loss: Loss, loss_scale: float | Floats
) -> Floats:
    """Compute the covariance of cameras whose lenses were held, and are uncertain nevertheless.

    Args:
        scene: Adjusted scene, in which the frame of the world is fixed.
        views: Observations in px.
        free: (V, camera_size) booleans, true for camera parameters that were adjusted; none of a lens.
        lenses: (V, camera_size, V, camera_size) covariance of the lenses; zeros for poses.
        loss: Loss of the adjustment.
        loss_scale: Its scale in px.

    Returns:
        Covariance (V, camera_size, V, camera_size) for residuals of variance 1 px^2, if that of the lenses is.
    """
    all_free = free.copy()
    all_free[:, NUM_POSE:] = True
    moving = _basis(free, None, None, scene.num_moving_faces)
    linear = linearize(scene, views)
    normal = _normal_equations(scene, views, linear, all_free, moving, loss, loss_scale, None, None)
    return normal.propagate(lenses, moving)


def world_motions(scene: Scene) -> Floats:
    """Return changes (V * C, 6 or 7) of the cameras that no observation shows, if all blocks change with them.

    These are three turns of the world about its origin, three shifts, and, for single points, its growth.
    """
    cameras = scene.cameras
    none = np.zeros((len(cameras), 3, 3))
    turn = np.concatenate([-cameras.rotation, none], axis=1)
    shift = np.concatenate([none, -cameras.rotation], axis=1)
    growth = np.concatenate([np.zeros((len(cameras), 3)), cameras.translation], axis=1)[..., None]
    poses = np.concatenate([turn, shift, growth] if scene.rotation is None else [turn, shift], axis=2)
    motions = np.zeros((len(cameras), scene.camera_size, poses.shape[2]))
    motions[:, :NUM_POSE] = poses
    return motions.reshape(-1, poses.shape[2])


def _keeping_fixed(motions: Floats, free: Booleans) -> Floats:
    """Return directions (N, m) of those motions (N, M) that change none but the free parameters (N,)."""
    size = np.linalg.norm(motions, axis=0)
    motions = (motions / np.where(size > 0, size, 1))[:, size > 0]
    kept = motions @ null_space(np.where(free[:, None], 0.0, motions), rcond=_SAME_MOTION)
    directions, lengths, _ = np.linalg.svd(np.where(free[:, None], kept, 0.0), full_matrices=False)
    return np.asarray(directions[:, lengths > _SAME_MOTION])


def _is_lens(cameras: CameraGroup, step: Floats) -> bool:
    """Return True if focal lengths stay positive, and all numbers finite."""
    focal = cameras.matrix[:, [0, 1], [0, 1]] + step[:, [_FX, _FY]]
    return bool(np.isfinite(step).all() and (focal > 0).all())


def _cost(error: Floats, views: Views, loss: Loss, loss_scale: float | Floats) -> float:
    s = (error * error).sum(-1) / loss_scale**2
    if loss == "linear":
        value = s
    elif loss == "huber":
        value = np.where(s <= 1, s, 2 * np.sqrt(s) - 1)
    elif loss == "soft_l1":
        value = 2 * (np.sqrt(1 + s) - 1)
    elif loss == "cauchy":
        value = np.log1p(s)
    else:
        raise InputError(
            f"loss: unknown, found {loss!r}, expected linear, huber, soft_l1 or cauchy",
            code="unknown-choice",
            argument="loss",
            found=loss,
        )
    return float(0.5 * (loss_scale**2 * views.weights * value).sum())


def robust_weights(error: Floats, loss: Loss, loss_scale: float | Floats) -> Floats:
    """Return the derivative (G, P) of the loss with respect to s."""
    s = (error * error).sum(-1) / loss_scale**2
    if loss == "huber":
        return np.asarray(1 / np.sqrt(np.maximum(s, 1)))
    if loss == "soft_l1":
        return np.asarray(1 / np.sqrt(1 + s))
    if loss == "cauchy":
        return np.asarray(1 / (1 + s))
    return np.ones_like(s)


def _solve_scaled(system: Floats, right: Floats) -> Floats:
    """Solve a symmetric system whose parameters have very different scales (px, radians, meters)."""
    if len(right) == 0:
        return right
    scale = 1 / np.sqrt(at_least_tiny(np.diag(system)))
    solution: Floats = scale * np.linalg.solve(scale[:, None] * system * scale, scale * right)
    return solution


def _diagonal(matrices: Floats) -> Floats:
    """Return diagonals (..., n), with zero entries replaced by a tiny fraction of the largest."""
    return at_least_tiny(np.diagonal(matrices, axis1=-2, axis2=-1))


def _diagonal_matrices(diagonals: Floats) -> Floats:
    return diagonals[..., None] * np.eye(diagonals.shape[-1])
