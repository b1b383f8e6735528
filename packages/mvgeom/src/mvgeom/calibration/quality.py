"""Weaknesses of a completed calibration, as findings."""

from __future__ import annotations

import numpy as np

from mvgeom.calibration.boards import Floats
from mvgeom.calibration.findings import Finding, warning
from mvgeom.calibration.result import Calibration
from mvgeom.calibration.selection import coverage_cells

__all__ = ["image_coverage", "judge"]

_LOW_COVERAGE = 0.4
_HIGH_RMS = 1.0
_LOOSE_FOCAL = 0.005
_UNEQUAL_FOCAL = 0.01


def image_coverage(points: Floats, sizes: Floats) -> Floats:
    """Return the fraction (V,) of the cells of an 8x8 grid over each image that boards cover.

    Args:
        points: (V, F, K, 2) board corners in full-image px; NaN is missing.
        sizes: (V, 2) image width and height in px.
    """
    return np.asarray(coverage_cells(points, sizes).any(axis=1).mean(axis=-1))


def judge(calibration: Calibration) -> list[Finding]:
    """Find large errors, low coverage, and uncertain or unequal focal lengths."""
    names = calibration.cameras.names
    used = np.where(calibration.used[..., None, None], calibration.detections.points, np.nan)
    coverage = image_coverage(used, calibration.detections.sizes)
    focal = calibration.cameras.matrix[:, [0, 1], [0, 1]]
    spread = calibration.deviations.focal
    findings = []
    for view, name in enumerate(names):
        rms = calibration.camera_rms[view]
        if rms > _HIGH_RMS:
            text = (
                f"camera {name!r}: the reprojection error is {rms:.2f} px; below 0.5 px is usual for sharp images "
                "of a flat board"
            )
            findings.append(warning("high_error", [name], text, rms=rms))
        if not spread[view].any():
            continue  # intrinsics were kept as given
        if coverage[view] < _LOW_COVERAGE:
            text = (
                f"camera {name!r}: boards cover {100 * coverage[view]:.0f} % of the image; outside this area the lens "
                "is only extrapolated. Show the board near the borders too"
            )
            findings.append(warning("low_coverage", [name], text, coverage=coverage[view]))
        relative = spread[view].max() / focal[view].min()
        if relative > _LOOSE_FOCAL:
            text = (
                f"camera {name!r}: its focal length is uncertain by {100 * relative:.1f} %. Tilt the board more (30 to "
                "50 degrees), in several directions"
            )
            findings.append(warning("uncertain_focal_length", [name], text, relative_deviation=relative))
        ratio = focal[view, 0] / focal[view, 1]
        if abs(ratio - 1) > max(_UNEQUAL_FOCAL, 5 * np.hypot(*spread[view]) / focal[view].min()):
            text = (
                f"camera {name!r}: fx and fy differ by {100 * (ratio - 1):.1f} %. Either its pixels are not square, "
                "or the board's squares are not (check the print), or its images were stretched"
            )
            findings.append(warning("unequal_focal_lengths", [name], text, fx_over_fy=ratio))
    return findings
