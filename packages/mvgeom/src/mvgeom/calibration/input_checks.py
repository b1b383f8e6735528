"""Checks before triangulation: shapes, duplicated cameras or tables, and images of another size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.spatial.transform import Rotation

from mvgeom._arrays import as_float64
from mvgeom.calibration.boards import Floats, seen_corners
from mvgeom.calibration.findings import Finding, error, warning
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.projection import in_image

__all__ = ["as_recording", "compare_sizes", "find_copies"]

_SAME_ANGLE_DEG = 0.1
_SAME_PLACE = 1e-3
_OUTSIDE = 0.02


def as_recording(points: Floats, cams: CameraGroup) -> Floats:
    """Return the keypoints of a recording in float64.

    Args:
        points: (N, V, K, 2) keypoints of N frames in full-image px; NaN is missing.
        cams: V cameras.

    Raises:
        InputError: `wrong-shape`, or `too-few-views` if there is only one camera.
    """
    points = as_float64(points, "points")
    if points.ndim != 4 or points.shape[1] != len(cams) or points.shape[3] != 2:
        raise InputError(
            f"points: wrong shape, found {points.shape}, expected (N, {len(cams)}, K, 2) for {list(cams.names)}",
            code="wrong-shape",
            argument="points",
            found=points.shape,
        )
    if len(cams) < 2:
        raise InputError(
            f"cameras: too few to compare views, found {len(cams)}, expected at least 2",
            code="too-few-views",
            found=len(cams),
            expected=2,
        )
    return points


def find_copies(cams: CameraGroup, flat: Floats) -> list[Finding]:
    """Find pairs of cameras with the same pose, and pairs of views with the same keypoints.

    Args:
        cams: V cameras.
        flat: (V, P, 2) keypoints in full-image px; NaN is missing.
    """
    findings = []
    centers, extent = cams.centers, float(np.ptp(cams.centers, axis=0).max())
    for one, other in combinations(range(len(cams)), 2):
        pair = cams.names[one], cams.names[other]
        angle = float(np.rad2deg(Rotation.from_matrix(cams.rotation[one] @ cams.rotation[other].T).magnitude()))
        apart = float(np.linalg.norm(centers[one] - centers[other]))
        if angle < _SAME_ANGLE_DEG and apart <= _SAME_PLACE * max(extent, float(np.abs(centers).max())):
            text = (
                f"cameras {pair[0]!r} and {pair[1]!r} have the same pose ({angle:.3f} degrees and {apart:.2g} "
                "apart): one of them was probably copied from the other"
            )
            findings.append(error("identical_cameras", pair, text, angle_deg=angle, distance=apart))
        both = seen_corners(flat[one]) & seen_corners(flat[other])
        equal = float(np.isclose(flat[one][both], flat[other][both], atol=1e-6).all(-1).mean()) if both.any() else 0.0
        if equal > 0.5:
            text = (
                f"{100 * equal:.0f} % of the keypoints of {pair[0]!r} and {pair[1]!r} are the same: one table "
                "was probably read twice"
            )
            findings.append(error("identical_keypoints", pair, text, share=equal))
    return findings


def compare_sizes(cams: CameraGroup, flat: Floats, image_sizes: Sequence[Sequence[float]] | None) -> list[Finding]:
    """Find images whose size differs from the calibration's, and keypoints outside the calibration's image.

    Args:
        cams: V cameras.
        flat: (V, P, 2) keypoints in full-image px; NaN is missing.
        image_sizes: (V, 2) true width and height of the images in px; None if unknown.

    Raises:
        InputError: `wrong-shape`, if the sizes are not (V, 2).
    """
    findings = []
    if image_sizes is not None:
        sizes = as_float64(image_sizes, "image_sizes")
        if sizes.shape != (len(cams), 2):
            raise InputError(
                f"image_sizes: wrong shape, found {sizes.shape}, expected ({len(cams)}, 2)",
                code="wrong-shape",
                argument="image_sizes",
                found=sizes.shape,
            )
        for name, expected, found in zip(cams.names, cams.sizes, sizes, strict=True):
            if not np.array_equal(expected, found):
                scale = found / expected
                resized = np.isclose(scale[0], scale[1], rtol=2e-3)
                hint = "the images were cropped or stretched, not resized: find out which, it moves the principal point"
                if resized:
                    hint = f"they are resized by {scale[0]:.3g}: resize the calibration, too (CameraGroup.resize)"
                text = (
                    f"camera {name!r} was calibrated for images of {expected[0]:g}x{expected[1]:g} px, they are "
                    f"{found[0]:g}x{found[1]:g} px; {hint}"
                )
                build = error if resized else warning
                findings.append(build("image_size", [name], text, width_ratio=scale[0], height_ratio=scale[1]))
    present = seen_corners(flat)
    outside = present & ~np.asarray(in_image(flat, cams))
    for view, name in enumerate(cams.names):
        share = float(outside[view].sum() / max(present[view].sum(), 1))
        if share > _OUTSIDE:
            reach = flat[view][present[view]].max(axis=0)
            text = (
                f"camera {name!r}: {100 * share:.0f} % of its keypoints lie outside its image of "
                f"{cams.sizes[view, 0]:g}x{cams.sizes[view, 1]:g} px (up to {reach[0]:.0f}, {reach[1]:.0f}): probably "
                "keypoints of another image size, or of crops that were not mapped back"
            )
            findings.append(warning("outside_image", [name], text, share=share))
    return findings
