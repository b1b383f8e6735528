"""Reasons not to use a refined calibration, as findings."""

from __future__ import annotations

from mvgeom.calibration.boards import Floats
from mvgeom.calibration.diagnosis import REFINABLE_DEG, check
from mvgeom.calibration.findings import Finding, error, sort_findings
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError

__all__ = ["judge_refinement"]

_LARGE_NOISE = 0.01
"""Keypoint noise after the refinement, as a fraction of the image's longer side, that no detector has."""

_BEFORE = ("late_camera", "swapped_views", "image_size", "mirrored_images", "turned_keypoints", "identical_keypoints")
"""Mistakes in the keypoints, which a refinement would hide in the poses."""

_AFTER = (*_BEFORE, "camera_disagrees", "no_agreement")


def judge_refinement(
    given: CameraGroup, refined: CameraGroup, points: Floats, rotation_deg: Floats, noise: float
) -> tuple[Finding, ...]:
    """Find large turns, noise that is too large, and what `check` finds before and after the refinement.

    Args:
        given: V cameras before the refinement.
        refined: V cameras after it.
        points: (N, V, K, 2) keypoints in full-image px; NaN is missing.
        rotation_deg: (V,) turn of each camera in degrees.
        noise: Standard deviation of the keypoints in px after the refinement.

    Returns:
        Errors `large_turn`, `high_residual`, and the errors of `check`.
    """
    findings = []
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
    told = {(each.code, each.cameras) for each in findings}
    for cameras, codes in ((given, _BEFORE), (refined, _AFTER)):
        for each in _errors(cameras, points):
            if each.code in codes and (each.code, each.cameras) not in told:
                told.add((each.code, each.cameras))
                findings.append(each)
    return sort_findings(findings)


def _errors(cameras: CameraGroup, points: Floats) -> list[Finding]:
    """Return the errors that `check` finds; none if there are too few keypoints."""
    try:
        return [each for each in check(cameras, points).findings if each.severity == "error"]
    except InputError:
        return []
