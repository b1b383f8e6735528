"""One pass of smoothing: keypoints are linearized about the present trajectories and combined with the prior."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mvgeom._components import local_rig, world_components
from mvgeom.cameras import CameraGroup
from mvgeom.refinement import project_with_jacobian
from mvgeom.smoothing.motion import make_prior
from mvgeom.smoothing.noise import Noise, averaged_covariance
from mvgeom.smoothing.state_space import smooth_states, transpose

__all__ = ["Observations", "Trajectories", "linearize", "project_covariance", "smooth_once"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """Keypoints of T frames in V views.

    Attributes:
        points: (T, V, K, 2) keypoints in full-image px; NaN is missing.
        covariance: (T, V, K, 2, 2) stated covariances in px^2, finite.
        excess: (T, V, K) factors of the variance that follows from the stated one: 1, and more in episodes in which a
            view is worse than it states, see `mvgeom.smoothing.episodes`.
        times: (T,) times in typical steps, increasing.
        cameras: V cameras; None for trajectories in the image of a single view.
    """

    points: Floats
    covariance: Floats
    excess: Floats
    times: Floats
    cameras: CameraGroup | None

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """(T, V, K), True where there is a keypoint."""
        return np.asarray(np.isfinite(self.points).all(-1))

    def frames(self, rows: slice) -> Observations:
        """Return the observations of a range of frames."""
        return Observations(
            points=self.points[rows],
            covariance=self.covariance[rows],
            excess=self.excess[rows],
            times=self.times[rows],
            cameras=self.cameras,
        )

    def select(self, rows: npt.NDArray[np.intp], keypoints: list[int]) -> Observations:
        """Return the observations of some of the keypoints in some of the frames, ascending."""
        return Observations(
            points=self.points[rows][:, :, keypoints],
            covariance=self.covariance[rows][:, :, keypoints],
            excess=self.excess[rows][:, :, keypoints],
            times=self.times[rows],
            cameras=self.cameras,
        )

    def averaged(self, window: float) -> Observations:
        """Return the observations with stated covariances averaged over some time before and after each frame."""
        return replace(self, covariance=averaged_covariance(self.covariance, self.present, self.times, window))

    def noise_covariance(self, noise: Noise) -> Floats:
        """Return the covariances (T, V, K, 2, 2) in px^2 of the keypoints' errors."""
        return self.excess[..., None, None] * noise.covariance(self.covariance)


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectories:
    """Positions and velocities of K keypoints with their uncertainty. D is 3, or 2 without cameras.

    Attributes:
        points: (..., T, K, D) positions.
        covariance: (..., T, K, D, D) covariances of the positions.
        velocity: (..., T, K, D) velocities per unit of time.
        velocity_covariance: (..., T, K, D, D) covariances of the velocities.
        activity: (..., T-1, K) mean square of each step's disturbance relative to its variance: 1 where the intensity
            of motion is right, more where the keypoint is more agile.
    """

    points: Floats
    covariance: Floats
    velocity: Floats
    velocity_covariance: Floats
    activity: Floats


def linearize(points: Floats, cameras: CameraGroup | None) -> tuple[Floats, Floats]:
    """Return the projections (T, V, K, 2) in px of positions (T, K, D), and their derivatives (T, V, K, 2, D).

    Without cameras, the projection is the identity. Both are NaN where a camera has no projection of the position.
    """
    if cameras is None:
        return points[:, None], np.broadcast_to(np.eye(2), (len(points), 1, points.shape[1], 2, 2))
    rig = local_rig(cameras, points, np)
    offset, present = world_components(points, rig, np)
    pixels, jacobian, seen = project_with_jacobian(offset, rig, cameras, np)
    valid = seen & present[..., None, :]
    derivative = np.stack(jacobian, axis=-1).reshape(*valid.shape, 2, 3)
    projected = np.where(valid[..., None], np.stack(pixels, axis=-1), np.nan)
    return projected, np.where(valid[..., None, None], derivative, np.nan)


def project_covariance(derivative: Floats, covariance: Floats) -> Floats:
    """Return the covariances (T, V, K, 2, 2) in px^2 of the projections of positions with covariances (T, K, D, D)."""
    return np.asarray(derivative @ covariance[:, None] @ transpose(derivative))


def smooth_once(
    start: Floats,
    observations: Observations,
    noise: Noise,
    weights: Floats,
    activity: Floats,
    unit: float,
    ray: Floats | None = None,
) -> Trajectories:
    """Smooth all trajectories once, with the projections linearized about `start`.

    Args:
        start: (T, K, D) positions, finite.
        observations: Keypoints.
        noise: Noise of the keypoints and of their motion.
        weights: (T, V, K) weights of the keypoints from 0 (left out) to 1. With a further first dimension there are as
            many variants of all trajectories, and the results have that dimension, too.
        activity: (T-1, K) factors of the intensity of motion.
        unit: Length that turns positions into numbers near the size of their noise; it has no influence but rounding.
        ray: (T, K, D) directions in which projections are taken not to move, see `mvgeom.smoothing.passes.Estimate`;
            None for none.
    """
    variants = weights if weights.ndim == 4 else weights[None]
    length, num_keypoints, dims = start.shape
    origin = start.reshape(-1, dims).mean(0)
    first = (start[0] - origin) / unit
    design, target, usable = _whitened(start, (start - origin) / unit, observations, noise, unit, ray)
    root = np.sqrt(np.where(usable, variants, 0.0))
    # All views of a frame are one observation of R = 2 V numbers.
    designs = np.einsum("ltvk,tvkri->tlkvri", root, design, optimize=True)
    targets = np.einsum("ltvk,tvkr->tlkvr", root, target, optimize=True)
    num_errors = design.shape[-1] - dims
    intensity = noise.motion / unit**2 * activity
    prior = make_prior(
        np.tile(first, (len(variants), 1)),
        observations.times,
        np.tile(intensity, len(variants)),
        num_errors,
        noise.decay,
    )
    shape = (length, len(variants) * num_keypoints, 2 * design.shape[1])
    posterior = smooth_states(prior, designs.reshape(*shape, design.shape[-1]), targets.reshape(shape))

    def per_variant(values: Floats) -> Floats:
        shaped = values.reshape(len(values), len(variants), num_keypoints, *values.shape[2:])
        return np.moveaxis(shaped, 1, 0) if weights.ndim == 4 else shaped[:, 0]

    return Trajectories(
        points=per_variant(posterior.mean[..., :dims] * unit + origin),
        covariance=per_variant(posterior.covariance[..., :dims, :dims] * unit**2),
        velocity=per_variant(posterior.mean[..., dims:] * unit),
        velocity_covariance=per_variant(posterior.covariance[..., dims:, dims:] * unit**2),
        activity=per_variant(posterior.energy),
    )


def _whitened(
    start: Floats, local: Floats, observations: Observations, noise: Noise, unit: float, ray: Floats | None
) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Return A (T, V, K, 2, m) and y (T, V, K, 2) of y = A z + e with e of unit covariance, and where they count.

    The columns of A are the position in local units and, if errors are correlated in time, two unit errors per view,
    which the Cholesky factor of the keypoint's covariance turns into px. Keypoints count (T, V, K) where there is one.
    """
    length, num_views, num_keypoints, _ = observations.points.shape
    dims = start.shape[-1]
    projected, derivative = linearize(start, observations.cameras)
    usable = observations.present & np.isfinite(projected).all(-1)
    there = usable[..., None, None]
    derivative = np.where(there, derivative * unit, 0.0)
    if ray is not None:
        column = ray[:, None, :, :, None]
        derivative = derivative - derivative @ column @ transpose(column)
    residual = np.where(usable[..., None], observations.points - projected, 0.0)
    target = residual[..., None] + derivative @ local[:, None, :, :, None]
    covariance = np.where(there, observations.noise_covariance(noise), np.eye(2))
    num_errors = 2 * num_views if noise.share > 0 else 0
    design = np.zeros((length, num_views, num_keypoints, 2, dims + num_errors))
    design[..., :dims] = derivative
    if num_errors:
        factor = np.where(there, np.sqrt(noise.share) * np.linalg.cholesky(covariance), 0.0)
        for view in range(num_views):
            column = dims + 2 * view
            design[:, view, ..., column : column + 2] = factor[:, view]
    white = np.linalg.inv(np.linalg.cholesky((1 - noise.share) * covariance))
    return white @ design, (white @ target)[..., 0], usable
