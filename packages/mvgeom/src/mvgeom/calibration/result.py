"""`Calibration`: a calibrated rig and what speaks for it."""

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
    """A calibrated rig and what speaks for it.

    Attributes:
        cameras: V cameras; the unit is the board's.
        detections: the frames that were adjusted, corners put in the boards' order.
        boards: (F, 4, 4) board to world.
        used: (V, F) views that took part.
        residuals: (V, F, K, 2) projection minus corner in px; NaN where not seen, also for views that were left out.
        noise: standard deviation of the corners per pixel coordinate, estimated from the residuals.
        deviations: standard deviations of the parameters for that noise.
        relations: pairs of cameras, by index, as they agreed before the adjustment.
        findings: what is wrong or worth knowing.
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
        """Root mean square of the reprojection errors (lengths) in px over the views that took part."""
        return float(np.sqrt(np.nanmean((self.residuals[self.used] ** 2).sum(-1))))

    @property
    def camera_rms(self) -> Floats:
        """(V,) the same for each camera; NaN for one without views."""
        return np.array(
            [
                np.sqrt(np.nanmean((errors[used] ** 2).sum(-1))) if used.any() else np.nan
                for errors, used in zip(self.residuals, self.used, strict=True)
            ]
        )
