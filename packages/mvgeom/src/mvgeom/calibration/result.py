"""`Calibration`: a calibrated rig with its detections, residuals and statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvgeom.calibration.adjusted import Deviations
from mvgeom.calibration.boards import Floats
from mvgeom.calibration.bundle import Booleans
from mvgeom.calibration.camera_pairs import Relation
from mvgeom.calibration.detections import Detections
from mvgeom.calibration.findings import Finding
from mvgeom.cameras import CameraGroup

__all__ = ["Calibration"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """A calibrated rig with its detections, residuals and statistics.

    Attributes:
        cameras: V cameras; their unit is the board's unit.
        detections: Corners in the adjusted frames, listed in the board's order.
        boards: (F, 4, 4) transforms from board to world.
        used: (V, F) booleans, true for views that were adjusted.
        residuals: (V, F, K, 2) projection minus corner in px, also for views that were left out; NaN where not seen.
        noise: Standard deviation of the corners per pixel coordinate in px, estimated from the residuals.
        deviations: Standard deviations of the parameters for that noise.
        relations: Relative poses by pair of camera indices, as they agreed before the adjustment.
        findings: Problems and facts worth knowing.
    """

    cameras: CameraGroup
    detections: Detections
    boards: Floats
    used: Booleans
    residuals: Floats
    noise: float
    deviations: Deviations
    relations: dict[tuple[int, int], Relation]
    findings: tuple[Finding, ...]

    @property
    def rms(self) -> float:
        """Root mean square of the reprojection errors (lengths) in px over the adjusted views."""
        return float(np.sqrt(np.nanmean((self.residuals[self.used] ** 2).sum(-1))))

    @property
    def camera_rms(self) -> Floats:
        """(V,) root mean square of each camera's reprojection errors in px; NaN for a camera without views."""
        return np.array(
            [
                np.sqrt(np.nanmean((errors[used] ** 2).sum(-1))) if used.any() else np.nan
                for errors, used in zip(self.residuals, self.used, strict=True)
            ]
        )
