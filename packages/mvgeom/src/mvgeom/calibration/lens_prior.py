"""Prior knowledge about lenses, which counts as observations in a bundle adjustment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvgeom.calibration.boards import Floats
from mvgeom.calibration.bundle import NUM_POSE
from mvgeom.calibration.lens_jacobian import NUM_INTRINSICS
from mvgeom.cameras import CameraGroup

__all__ = ["LensPrior"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LensPrior:
    """Gaussian prior of the lens parameters of all cameras.

    Attributes:
        mean: (V, C) expected parameters: rotation and translation (without a prior), fx, fy, cx, cy, distortion.
        precision: (V * C, V * C) weights of the squared differences: the variance of a residual in px^2 times the
            inverse of the parameters' covariance; zeros for parameters without a prior.
    """

    mean: Floats
    precision: Floats

    def excess(self, cameras: CameraGroup) -> Floats:
        """Return the differences (V, C) of the cameras' parameters from the expected ones; 0 for poses."""
        values = np.zeros_like(self.mean)
        lens = slice(NUM_POSE, NUM_POSE + NUM_INTRINSICS)
        values[:, lens] = cameras.matrix[:, [0, 1, 0, 1], [0, 1, 2, 2]]
        values[:, NUM_POSE + NUM_INTRINSICS :] = cameras.distortion
        values[:, NUM_POSE:] -= self.mean[:, NUM_POSE:]
        return values

    def cost(self, cameras: CameraGroup) -> float:
        """Return half the sum of the weighted squared differences in px^2."""
        excess = self.excess(cameras).reshape(-1)
        return float(0.5 * excess @ self.precision @ excess)
