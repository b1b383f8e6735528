"""Reasons not to use a refined calibration, as findings."""

from __future__ import annotations

import numpy as np

from mvgeom.calibration.adjusted import Deviations
from mvgeom.calibration.boards import Floats
from mvgeom.calibration.deviation_words import degrees, percent
from mvgeom.calibration.diagnosis import REFINABLE_DEG, check
from mvgeom.calibration.findings import Finding, error, sort_findings, warning
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError

__all__ = ["assess_refinement"]

_LARGE_NOISE = 0.01
"""Keypoint noise after the refinement, as a fraction of the image's longer side, that no detector has."""

_MUCH_TURN_DEG = 1.0
_MUCH_SHIFT = 0.03
"""Standard deviations of a pose, of its position as a share of the cameras' mean distance, that are a warning; those of
a calibration from keypoints."""

_BEFORE = ("late_camera", "swapped_views", "image_size", "mirrored_images", "turned_keypoints", "identical_keypoints")
"""Mistakes in the keypoints, which a refinement would hide in the poses."""

_AFTER = (*_BEFORE, "camera_disagrees", "no_agreement")


def assess_refinement(
    given: CameraGroup,
    refined: CameraGroup,
    points: Floats,
    rotation_deg: Floats,
    noise: float,
    spread: Deviations,
) -> tuple[Finding, ...]:
    """Find large turns, uncertain poses, noise that is too large, and what `check` finds before and after.

    Args:
        given: V cameras before the refinement.
        refined: V cameras after it.
        points: (N, V, K, 2) keypoints in full-image px; NaN is missing.
        rotation_deg: (V,) turn of each camera in degrees.
        noise: Standard deviation of the keypoints in px after the refinement.
        spread: Standard deviations of the refined cameras.

    Returns:
        Errors `large_turn`, `high_residual`, and the errors of `check`; warnings `uncertain_pose`.
    """
    findings = _uncertain_poses(refined, rotation_deg, spread)
    for name, turn in zip(given.names, rotation_deg, strict=True):
        if turn > REFINABLE_DEG:
            text = (
                f"camera {name!r} was turned by {turn:.1f} degrees. From so far off, the refinement may have ended at "
                f"another pose than the true one: up to {REFINABLE_DEG:.0f} degrees can be refined. Calibrate it again"
            )
            findings.append(error("large_turn", [name], text, rotation_deg=turn))
    side = float(given.sizes.max())
    if noise > _LARGE_NOISE * side:
        text = (
            f"all cameras: after the refinement the keypoints still agree only to {noise:.1f} px "
            f"({100 * noise / side:.1f} % of the image), far more than detectors err: the poses are not the cause. Run "
            "`mvgeom check` on the calibration as it was"
        )
        findings.append(error("high_residual", given.names, text, noise=noise))
    reported = {(each.code, each.cameras) for each in findings}
    for cameras, codes in ((given, _BEFORE), (refined, _AFTER)):
        for each in _errors(cameras, points):
            if each.code in codes and (each.code, each.cameras) not in reported:
                reported.add((each.code, each.cameras))
                findings.append(each)
    return sort_findings(findings)


def _uncertain_poses(refined: CameraGroup, rotation_deg: Floats, spread: Deviations) -> list[Finding]:
    """Find poses that the keypoints do not determine: they agree with many, and the given one may be nearer."""
    findings = []
    gaps = np.linalg.norm(refined.centers[:, None] - refined.centers, axis=-1)
    mean_gap = float(gaps.sum() / (len(refined) * (len(refined) - 1)))
    for view, name in enumerate(refined.names):
        turn = float(np.linalg.norm(spread.rotation_deg[view]))
        shift = float(np.linalg.norm(spread.position[view])) / mean_gap
        if turn > _MUCH_TURN_DEG or shift > _MUCH_SHIFT:
            text = (
                f"camera {name!r}: the pose is uncertain, standard deviations of {degrees(turn)} and "
                f"{percent(shift)} of the cameras' mean distance; it was turned by {rotation_deg[view]:.1f} "
                "degrees. The calibration as it was may be better: keep it, or give more keypoints, all over the volume"
            )
            findings.append(
                warning("uncertain_pose", [name], text, rotation_deg=turn, position=shift, turned=rotation_deg[view])
            )
    return findings


def _errors(cameras: CameraGroup, points: Floats) -> list[Finding]:
    """Return the errors that `check` finds; none if there are too few keypoints."""
    try:
        return [each for each in check(cameras, points).findings if each.severity == "error"]
    except InputError:
        return []
