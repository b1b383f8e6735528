"""Exact smoothing of linear Gaussian Markov states: a Kalman filter and a Rauch-Tung-Striebel smoother over batches.

All trajectories of a batch take each time step together, so a step costs a few calls of small batched matrix products;
what no step has to wait for is computed for many steps at once.
Observations are whitened: a missing one is a row of zeros, and any number of views is one update.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Posterior", "Prior", "smooth_states", "transpose"]

Floats = npt.NDArray[np.float64]

_MATRICES = 256
"""Number of matrices that a call works on, where the order of the steps does not matter."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prior:
    """A Gauss-Markov prior of B trajectories: z_0 ~ N(mean, covariance), z_t+1 = F_t z_t + w_t.

    w_t has the covariance `intensity[t] * disturbance[t] + innovation[t]`.

    Attributes:
        mean: (B, n) means of the first states.
        covariance: (n, n) covariance of the first states, positive definite.
        transition: (T-1, n, n) matrices F_t.
        disturbance: (T-1, n, n) covariances of the disturbance of the motion; 0 but for the components `moving`.
        intensity: (T-1, B) factors of the disturbance, positive.
        innovation: (T-1, n, n) covariances of the other components' steps; 0 for the components `moving`.
        moving: (M,) indices of the components that make the motion.
    """

    mean: Floats
    covariance: Floats
    transition: Floats
    disturbance: Floats
    intensity: Floats
    innovation: Floats
    moving: npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, eq=False)
class Posterior:
    """Marginal distributions of the components `moving`, given all observations.

    Attributes:
        mean: (T, B, M) means.
        covariance: (T, B, M, M) covariances, symmetric and positive definite.
        energy: (T-1, B) expected squared Mahalanobis length of the motion's disturbance w_t, divided by M.
    """

    mean: Floats
    covariance: Floats
    energy: Floats


def smooth_states(prior: Prior, design: Floats, target: Floats) -> Posterior:
    """Compute the marginal posteriors of the motion's components.

    The filter needs no inverse of the predicted covariance. Its covariance (Joseph's form) and the smoother's, which is
    (I - GF) P (I - GF)' + G (Q + P') G', are sums of positive terms, which stay positive definite over any number of
    steps. Source: Särkkä and Svensson, Bayesian Filtering and Smoothing, 2nd edition, sections 6.3 and 12.2.

    Args:
        prior: Prior of the states.
        design: (T, B, R, m) matrices A of the observations y = A z[:m] + e of a time step, with errors e that are
            independent and have the variance 1; rows of zeros where nothing is observed.
        target: (T, B, R) values y; 0 where nothing is observed.
    """
    length, batch = design.shape[:2]
    moving, size = prior.moving, prior.mean.shape[-1]
    block = (..., moving[:, None], moving)
    filtered_means = np.empty((length, batch, size, 1))
    filtered = np.empty((length, batch, size, size))
    mean, covariance = prior.mean[..., None], np.broadcast_to(prior.covariance, (batch, size, size))
    mean, covariance = _update(mean, covariance, design[0], target[0])
    filtered_means[0], filtered[0] = mean, covariance
    parts = _parts(length - 1, batch)
    for steps in parts:
        for step, noise in zip(range(steps.start, steps.stop), _step_covariances(prior, steps), strict=True):
            transition = prior.transition[step]
            mean = transition @ mean
            covariance = transition @ covariance @ transition.T + noise
            mean, covariance = _update(mean, covariance, design[step + 1], target[step + 1])
            filtered_means[step + 1], filtered[step + 1] = mean, covariance

    weights = np.linalg.inv(prior.disturbance[(slice(None), *block[1:])])
    means, covariances = np.empty((length, batch, len(moving))), np.empty((length, batch, len(moving), len(moving)))
    energy = np.empty((max(length - 1, 0), batch))
    means[-1], covariances[-1] = mean[..., moving, 0], covariance[block]
    identity = np.eye(size)
    for steps in reversed(parts):
        # All that does not depend on later observations, for many steps at once.
        transition, noise = prior.transition[steps, None], _step_covariances(prior, steps)
        predicted, ahead = transition @ filtered_means[steps], transition @ filtered[steps]
        gain = transpose(np.linalg.solve(ahead @ transpose(transition) + noise, ahead))
        # Given z_t+1, the state is distributed about m + G (z_t+1 - F m), independent of all later observations.
        kept = identity - gain @ transition
        given_next = kept @ filtered[steps] @ transpose(kept) + gain @ noise @ transpose(gain)
        count = steps.stop - steps.start
        # Of the first state of each step, and of the last state after them.
        smoothed_means, smoothed = np.empty((count + 1, batch, size, 1)), np.empty((count + 1, batch, size, size))
        smoothed_means[-1], smoothed[-1] = mean, covariance
        for step in range(count - 1, -1, -1):
            mean = filtered_means[steps.start + step] + gain[step] @ (mean - predicted[step])
            covariance = given_next[step] + gain[step] @ covariance @ transpose(gain[step])
            smoothed_means[step], smoothed[step] = mean, covariance
        onto = transition[..., moving, :]
        left = identity[moving] - onto @ gain
        disturbed = left @ (smoothed_means[1:] - predicted)
        spread = left @ smoothed[1:] @ transpose(left) + onto @ given_next @ transpose(onto)
        expected = (weights[steps, None] * (spread + disturbed @ transpose(disturbed))).sum((-2, -1))
        energy[steps] = expected / (prior.intensity[steps] * len(moving))
        means[steps], covariances[steps] = smoothed_means[:-1][..., moving, 0], smoothed[:-1][block]
    return Posterior(mean=means, covariance=covariances, energy=energy)


def transpose(matrices: Floats) -> Floats:
    """Swap the last two axes."""
    return matrices.swapaxes(-1, -2)


def _update(mean: Floats, covariance: Floats, design: Floats, target: Floats) -> tuple[Floats, Floats]:
    """Return the means (B, n, 1) and covariances (B, n, n) of the states, given the observations of a time step."""
    rows, observed = design.shape[1:]
    # Not by the information A'A: where a single view sees a keypoint, its depth is uncertain by many orders of
    # magnitude more than its direction, and rounding of A'A would be information about the depth.
    columns = covariance[..., :observed] @ transpose(design)
    total = np.eye(rows) + design @ columns[..., :observed, :]
    gain = transpose(np.asarray(np.linalg.solve(total, transpose(columns)), dtype=np.float64))
    mean = mean + gain @ (target[..., None] - design @ mean[..., :observed, :])
    kept = np.broadcast_to(np.eye(mean.shape[-2]), covariance.shape).copy()
    kept[..., :observed] -= gain @ design
    return mean, kept @ covariance @ transpose(kept) + gain @ transpose(gain)


def _parts(num_steps: int, batch: int) -> list[slice]:
    """Divide the steps, so that the matrices of a part stay in the processor's cache."""
    size = max(_MATRICES // max(batch, 1), 1)
    return [slice(start, min(start + size, num_steps)) for start in range(0, num_steps, size)]


def _step_covariances(prior: Prior, steps: slice) -> Floats:
    """Return the covariances (S, B, n, n) of w_t."""
    factor = prior.intensity[steps, :, None, None]
    return np.asarray(factor * prior.disturbance[steps, None] + prior.innovation[steps, None])
