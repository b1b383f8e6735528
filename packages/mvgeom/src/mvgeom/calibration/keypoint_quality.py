"""Doubts about a calibration from keypoints, as findings."""

from __future__ import annotations

import numpy as np

from mvgeom.calibration.boards import Floats
from mvgeom.calibration.bundle import Booleans
from mvgeom.calibration.deviation_words import degrees, percent
from mvgeom.calibration.findings import Finding, error, note, warning
from mvgeom.calibration.input_checks import compare_sizes
from mvgeom.calibration.keypoint_lenses import FittedLenses
from mvgeom.calibration.keypoint_suspects import find_suspects
from mvgeom.calibration.known_lengths import Scale
from mvgeom.calibration.lens_findings import find_lens_ends
from mvgeom.cameras import CameraGroup

__all__ = ["assess_keypoint_calibration"]

_LARGE_NOISE = 0.01
"""Noise as a fraction of the image's longer side that no detector has."""

_MUCH_FOCAL = 0.03
_MUCH_TURN_DEG = 1.0
_MUCH_SHIFT = 0.03
_LENGTH_SIGMAS, _LENGTH_SHARE = 4.0, 0.03
_NOT_RIGID = 0.15
_MOST_SCALE, _MUCH_SCALE = 0.10, 0.02


def assess_keypoint_calibration(
    cams: CameraGroup,
    points: Floats,
    used: Booleans,
    fitted: FittedLenses,
    scale: Scale,
) -> list[Finding]:
    """Find doubts about a calibration from keypoints.

    Args:
        cams: V calibrated cameras.
        points: (N, V, K, 2) keypoints in full-image px; NaN is missing.
        used: (N, V, K) booleans, true for keypoints that agree.
        fitted: The adjustment.
        scale: Scale of the world.
    """
    return [
        *_assess_noise(cams, fitted),
        *_assess_deviations(cams, fitted),
        *find_suspects(cams, points, used),
        *_assess_lengths(cams, scale),
        *find_lens_ends(cams, points, from_keypoints=True),
        *compare_sizes(cams, np.moveaxis(points, 1, 0).reshape(len(cams), -1, 2), None),
        *_name_similar_lenses(cams, fitted),
    ]


def _assess_noise(cams: CameraGroup, fitted: FittedLenses) -> list[Finding]:
    side = float(cams.sizes.max())
    if fitted.noise <= _LARGE_NOISE * side:
        return []
    text = (
        f"all cameras: the keypoints agree only to {fitted.noise:.1f} px ({100 * fitted.noise / side:.1f} % of the "
        "image), far more than detectors err. Are the rows of all views the same frames?"
    )
    return [error("high_residual", cams.names, text, noise=fitted.noise)]


def _assess_deviations(cams: CameraGroup, fitted: FittedLenses) -> list[Finding]:
    findings = []
    gaps = np.linalg.norm(cams.centers[:, None] - cams.centers, axis=-1)
    mean_gap = float(gaps.sum() / (len(cams) * (len(cams) - 1)))
    spread = fitted.scaled_deviations(cams, Scale())
    for view, name in enumerate(cams.names):
        focal = spread.focal[view].max() / cams.matrix[view, 0, 0]
        turn = float(np.linalg.norm(spread.rotation_deg[view]))
        shift = float(np.linalg.norm(spread.position[view])) / mean_gap
        if focal > _MUCH_FOCAL:
            text = f"camera {name!r}: the focal length is uncertain, standard deviation {percent(focal, 1)}"
            findings.append(warning("uncertain_focal_length", [name], text, focal=focal))
        if turn > _MUCH_TURN_DEG or shift > _MUCH_SHIFT:
            text = (
                f"camera {name!r}: the pose is uncertain, standard deviations of {degrees(turn, 2)} and "
                f"{percent(shift, 1)} of the cameras' mean distance"
            )
            findings.append(warning("uncertain_pose", [name], text, rotation_deg=turn, position=shift))
    return findings


def _name_similar_lenses(cams: CameraGroup, fitted: FittedLenses) -> list[Finding]:
    """Say which focal lengths were taken to be alike."""
    groups = fitted.lenses.groups
    if not fitted.lenses.free_focal:
        return []
    findings = []
    for group in sorted(set(groups)):
        names = [name for name, each in zip(cams.names, groups, strict=True) if each == group]
        if len(names) > 1:
            text = (
                f"cameras {', '.join(names)} are taken to have focal lengths within 2 % of each other: their images "
                "are of one size, and the keypoints do not show that they differ. Give --focal if they do"
            )
            findings.append(note("similar_lenses", names, text))
    return findings


def _assess_lengths(cams: CameraGroup, scale: Scale) -> list[Finding]:
    findings = []
    relative = scale.spread / scale.factor
    if relative > _MUCH_SCALE:
        build = error if relative > _MOST_SCALE else warning
        text = f"the scale is uncertain, standard deviation {100 * relative:.1f} %"
        if len(scale.lengths) > 1:
            text += ": the lengths contradict each other, or are measured badly"
        findings.append(build("uncertain_scale", cams.names, text, scale=relative))
    for each in scale.lengths:
        what = f"{each.known.first} - {each.known.second}"
        off = each.measured / each.known.length - 1
        if abs(off) > max(_LENGTH_SIGMAS * each.spread / each.measured, _LENGTH_SHARE):
            text = (
                f"the length {what} contradicts the others: it measures {each.measured:.4g} where "
                f"{each.known.length:.4g} was given. Is it in the same unit, and between these keypoints?"
            )
            findings.append(warning("lengths_differ", cams.names, text, ratio=1 + off))
        if each.variation > _NOT_RIGID:
            text = (
                f"the length {what} varies by {100 * each.variation:.0f} % (standard deviation over frames): either "
                "the keypoints are imprecise, or it is not rigid. The scale is as uncertain"
            )
            findings.append(warning("length_not_rigid", cams.names, text, variation=each.variation))
    return findings
