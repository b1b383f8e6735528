"""Intrinsics of all cameras, each from its own images, which need not be of the same frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvgeom.calibration.boards import Floats
from mvgeom.calibration.bundle import Booleans
from mvgeom.calibration.detections import Detections
from mvgeom.calibration.findings import CalibrationError, Finding
from mvgeom.calibration.intrinsics import Lens, calibrate_intrinsics, known_intrinsics
from mvgeom.cameras import CameraGroup

__all__ = ["LensCalibration", "calibrate_lenses"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LensCalibration:
    """Intrinsics of all cameras with statistics and findings.

    Attributes:
        cameras: V cameras, all at the world's origin.
        used: (V, F) booleans, true for boards that fit their camera's lens.
        rms: (V,) root mean square of the reprojection errors in px; NaN where intrinsics were given.
        findings: Problems of the images and of the calibration.
    """

    cameras: CameraGroup
    used: Booleans
    rms: Floats
    findings: tuple[Finding, ...]


def calibrate_lenses(detections: Detections, lens: Lens, *, known: CameraGroup | None = None) -> LensCalibration:
    """Calibrate the intrinsics of each camera separately.

    Args:
        detections: Board corners; frames of different cameras may be unrelated.
        lens: Lens parameters to estimate.
        known: Cameras whose intrinsics are used instead of new ones; None if there are none.

    Raises:
        CalibrationError: If a camera saw no board or too few; its findings give the reason for each such camera.
        InputError: `missing-view`, `size-mismatch` or `cameras-differ`, if the known cameras do not fit the images.
    """
    names = detections.names
    errors = [each for each in detections.findings if each.severity == "error"]
    findings = list(detections.findings)
    unseen = {name for each in errors for name in each.cameras}
    used, rms = detections.seen, np.full(len(names), np.nan)
    groups: list[CameraGroup] = []
    for view, (name, size) in enumerate(zip(names, detections.sizes, strict=True)):
        if known is not None:
            groups.append(known_intrinsics(name, size, known, lens))
            continue
        if name in unseen:
            continue
        try:
            one, used[view], rms[view], said = calibrate_intrinsics(
                name, size, detections.points[view], detections.object_points, lens
            )
        except CalibrationError as error:
            errors += error.findings
            continue
        groups.append(one)
        findings += said
    if errors:
        raise CalibrationError([*errors, *(each for each in findings if each not in errors)])
    longest = max(lens.stored_coefficients, *(int(group.distortion.shape[-1]) for group in groups))
    cameras = CameraGroup(
        names=names,
        sizes=detections.sizes,
        matrix=np.concatenate([group.matrix for group in groups]),
        distortion=np.stack([np.pad(each.distortion[0], (0, longest - each.distortion.shape[-1])) for each in groups]),
        rotation=np.tile(np.eye(3), (len(names), 1, 1)),
        translation=np.zeros((len(names), 3)),
        fisheye=tuple(group.fisheye[0] for group in groups),
    )
    return LensCalibration(cameras=cameras, used=used, rms=rms, findings=tuple(findings))
