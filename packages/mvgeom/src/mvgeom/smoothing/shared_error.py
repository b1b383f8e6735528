"""Errors that all views of a frame share, which no view that is left out can show.

A network that takes a shadow for a paw does so in all views, and in many frames one after the other. The views agree,
and the trajectory is smooth. Only known positions tell how large such errors are: labels that were held out. They are
added after smoothing, because averaging over frames does not reduce what lasts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mvgeom._arrays import as_float64, check_number
from mvgeom.errors import InputError
from mvgeom.smoothing.noise import Noise
from mvgeom.smoothing.state_space import transpose
from mvgeom.smoothing.trajectories import Observations, linearize

__all__ = ["SharedError", "frame_information", "shared_covariance"]

Floats = npt.NDArray[np.float64]

LEAST_INFORMATION = 0.05
"""Information of each direction that counts beside a frame's own, as a share of a typical frame's.

So the shared error of a frame that one view sees, or none, is at most four to five times that of a typical one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedError:
    """Errors that all views of a frame share.

    A position that is triangulated from one frame has the covariance `scale^2 P + std^2 I`, where P is what the noise
    of the views makes of it, as far as their disagreement shows it. All beyond P is shared.

    Attributes:
        scale: Factor of the standard deviations that the views' disagreement states, 1 or more.
        std: (K,) standard deviations per coordinate that are added, in the world's unit.

    Raises:
        InputError: `not-finite` or `out-of-range`; `bad-number` or `wrong-array`, if `std` is no array.
    """

    scale: float
    std: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "std", as_float64(self.std, "std"))
        check_number(self.scale, "scale")
        if not (np.isfinite(self.scale) and np.isfinite(self.std).all()):
            raise InputError(
                f"shared error: expected finite numbers, found scale {self.scale} and std {self.std}",
                code="not-finite",
                argument="shared",
            )
        if self.scale < 1 or (np.asarray(self.std) < 0).any():
            raise InputError(
                f"shared error: expected a scale of 1 or more and standard deviations of 0 or more, found scale "
                f"{self.scale} and std {self.std}",
                code="out-of-range",
                argument="shared",
            )


def frame_information(points: Floats, observations: Observations, noise: Noise, inlier: Floats) -> Floats:
    """Compute the information (T, K, 3, 3) of positions (T, K, 3) that the views of their frame alone have.

    Args:
        points: Positions; NaN has no information.
        observations: Keypoints in calibrated views.
        noise: Noise of the keypoints.
        inlier: (T, V, K) probabilities that keypoints are no outliers.
    """
    projected, derivative = linearize(points, observations.cameras)
    used = observations.present & (np.nan_to_num(inlier) > 0.5) & np.isfinite(projected).all(-1)
    jacobian = np.where(used[..., None, None], derivative, 0.0)
    own = np.where(used[..., None, None], noise.covariance(observations.covariance), np.eye(2))
    return np.asarray((transpose(jacobian) @ np.linalg.inv(own) @ jacobian).sum(1))


def shared_covariance(information: Floats, shared: SharedError) -> Floats:
    """Return the covariances (T, K, 3, 3) of the shared errors.

    Args:
        information: (T, K, 3, 3) information of positions, see `frame_information`.
        shared: Shared error of the K keypoints.
    """
    typical = _typical_variance(information)
    least = LEAST_INFORMATION / np.where(typical > 0, typical, 1.0)
    inverse = np.linalg.inv(information + least[:, None, None] * np.eye(3))
    proportional = np.where((typical > 0)[:, None, None], (shared.scale**2 - 1) * inverse, 0.0)
    return np.asarray(proportional + np.square(shared.std)[:, None, None] * np.eye(3))


def _typical_variance(information: Floats) -> Floats:
    """Return the median variance (K,) per coordinate of each keypoint's frames that determine its position.

    For a keypoint that no frame determines it is that of all keypoints; 0 if there is none.
    """
    values = np.linalg.eigvalsh(information)
    determined = values[..., 0] > 1e-8 * values[..., -1]
    variance = np.where(determined, (1 / np.where(determined[..., None], values, 1.0)).mean(-1), np.nan)
    if not determined.any():
        return np.zeros(information.shape[1])
    pooled = float(np.nanmedian(variance))
    return np.array([np.nanmedian(row) if np.isfinite(row).any() else pooled for row in variance.T])
