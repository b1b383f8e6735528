"""Lens models that do not fit their boards, or have no viewing ray for a part of the image, as findings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mvgeom.calibration.boards import Floats, seen_corners
from mvgeom.calibration.findings import Finding, error, note, warning
from mvgeom.cameras import CameraGroup
from mvgeom.lens_reach import folds_at, image_without_ray, keypoints_without_ray

__all__ = ["LARGE_SHARE", "find_large_errors", "find_lens_ends"]

_HIGH_RMS = 1.0
_SMALL_SHARE = 0.002
LARGE_SHARE = 0.03
"""Share of an image, or of its keypoints, above which missing rays are an error."""

_BOARD_REMEDY = "with fewer coefficients or with boards out to the borders of the image"
_KEYPOINT_REMEDY = (
    "with keypoints out to the borders of the image, with --intrinsics from images of a board, or with --coefficients 0"
)


def find_large_errors(names: Sequence[str], rms: Floats) -> list[Finding]:
    """Find cameras that do not fit the boards that they saw.

    Args:
        names: V camera names.
        rms: (V,) root mean square of the reprojection errors in px; NaN where unknown.

    Returns:
        Warnings of code `high_error`.
    """
    findings = []
    for name, error_px in zip(names, rms, strict=True):
        if error_px > _HIGH_RMS:
            text = (
                f"camera {name!r}: the reprojection error is {error_px:.2f} px; below 0.5 px is usual for sharp images "
                "of a flat board. Check the description of the board, that it is flat, and that the images are sharp"
            )
            findings.append(warning("high_error", [name], text, rms=error_px))
    return findings


def find_lens_ends(cams: CameraGroup, points: Floats | None = None, *, from_keypoints: bool = False) -> list[Finding]:
    """Find cameras whose lens has no viewing ray for a part of the image, and count the keypoints there.

    Args:
        cams: V cameras, NumPy, no batch dimensions.
        points: (..., V, K, 2) keypoints in full-image px; NaN is missing. None if there are none.
        from_keypoints: True if the lenses were calibrated from these keypoints, without a board.

    Returns:
        Findings of code `no_ray`: errors for more than 3 % of an image or of its keypoints, warnings for less. Pixels
        of a fisheye lens beyond 90 degrees from its axis are a note, unless keypoints lie there.
    """
    shares, ends = image_without_ray(cams), folds_at(cams)
    lost = np.zeros(len(cams), dtype=np.int64)
    given = np.zeros(len(cams), dtype=np.int64)
    if points is not None:
        lost = keypoints_without_ray(points, cams)
        given = seen_corners(points).sum(axis=-1).reshape(-1, len(cams)).sum(axis=0)
    findings = []
    for view, name in enumerate(cams.names):
        if shares[view] < _SMALL_SHARE and not lost[view]:
            continue
        share_lost = float(lost[view] / max(given[view], 1))
        folds = np.isfinite(ends[view])
        where = f"its lens model turns back {ends[view]:.0f} degrees from the axis" if folds else "beyond 90 degrees"
        text = f"camera {name!r}: {100 * shares[view]:.1f} % of its image has no viewing ray ({where})"
        if points is not None:
            text += f"; keypoints that lie there and cannot be used: {lost[view]} of {given[view]}"
        if folds:
            text += f". Calibrate again, {_KEYPOINT_REMEDY if from_keypoints else _BOARD_REMEDY}"
        large = share_lost > LARGE_SHARE or (folds and shares[view] > LARGE_SHARE)
        build = error if large else warning if folds or lost[view] else note
        findings.append(
            build("no_ray", [name], text, image_share=shares[view], keypoints=lost[view], keypoint_share=share_lost)
        )
    return findings
