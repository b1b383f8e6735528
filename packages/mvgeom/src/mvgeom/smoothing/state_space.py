"""Exact smoothing of linear Gaussian Markov states: a Kalman filter and a Rauch-Tung-Striebel smoother over batches.

All trajectories of a batch take each time step together, so a step costs a few calls of small batched matrix products.
Observations are whitened: a missing one is a row of zeros, and any number of views is one update.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Posterior", "Prior", "smooth_states", "transpose"]

Floats = npt.NDArray[np.float64]


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
    length, batch, rows, observed = design.shape
    moving, size = prior.moving, prior.mean.shape[-1]
    block = (..., moving[:, None], moving)
    filtered_means = np.empty((length, batch, size, 1))
    filtered = np.empty((length, batch, size, size))
    mean, covariance = prior.mean[..., None], np.broadcast_to(prior.covariance, (batch, size, size))
    for t in range(length):
        if t > 0:
            transition = prior.transition[t - 1]
            mean = transition @ mean
            covariance = transition @ covariance @ transition.T + _step_covariance(prior, t - 1)
        # Not by the information A'A: where a single view sees a keypoint, its depth is uncertain by many orders of
        # magnitude more than its direction, and rounding of A'A would be information about the depth.
        columns = covariance[..., :observed] @ transpose(design[t])
        total = np.eye(rows) + design[t] @ columns[..., :observed, :]
        gain = transpose(np.asarray(np.linalg.solve(total, transpose(columns)), dtype=np.float64))
        mean = mean + gain @ (target[t, ..., None] - design[t] @ mean[..., :observed, :])
        kept = np.broadcast_to(np.eye(size), covariance.shape).copy()
        kept[..., :observed] -= gain @ design[t]
        covariance = kept @ covariance @ transpose(kept) + gain @ transpose(gain)
        filtered_means[t], filtered[t] = mean, covariance

    weights = np.linalg.inv(prior.disturbance[(slice(None), *block[1:])])
    means, covariances = np.empty((length, batch, len(moving))), np.empty((length, batch, len(moving), len(moving)))
    energy = np.empty((max(length - 1, 0), batch))
    means[-1], covariances[-1] = mean[..., moving, 0], covariance[block]
    for t in range(length - 2, -1, -1):
        transition, noise = prior.transition[t], _step_covariance(prior, t)
        ahead = transition @ filtered[t]
        gain = transpose(np.linalg.solve(ahead @ transition.T + noise, ahead))
        change = mean - transition @ filtered_means[t]
        # Given z_t+1, the state is distributed about m + G (z_t+1 - F m), independent of all later observations.
        kept = np.eye(size) - gain @ transition
        given_next = kept @ filtered[t] @ transpose(kept) + gain @ noise @ transpose(gain)
        left = np.eye(size) - transition @ gain
        step = (left @ change)[..., moving, :]
        spread = (left @ covariance @ transpose(left) + transition @ given_next @ transition.T)[block]
        expected = (weights[t] * (spread + step @ transpose(step))).sum((-2, -1))
        energy[t] = expected / (prior.intensity[t] * len(moving))
        mean = filtered_means[t] + gain @ change
        covariance = given_next + gain @ covariance @ transpose(gain)
        means[t], covariances[t] = mean[..., moving, 0], covariance[block]
    return Posterior(mean=means, covariance=covariances, energy=energy)


def transpose(matrices: Floats) -> Floats:
    """Swap the last two axes."""
    return np.swapaxes(matrices, -1, -2)


def _step_covariance(prior: Prior, step: int) -> Floats:
    """Return the covariance (B, n, n) of w_t."""
    return np.asarray(prior.intensity[step][:, None, None] * prior.disturbance[step] + prior.innovation[step])
