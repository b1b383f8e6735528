"""Intrinsics of all cameras, each from its own images, which need not be of the same frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mvgeom.calibration.boards import Floats
from mvgeom.calibration.bundle import Booleans
from mvgeom.calibration.detections import Detections
from mvgeom.calibration.faces_apart import split_faces
from mvgeom.calibration.findings import CalibrationError, Finding
from mvgeom.calibration.intrinsics import calibrate_intrinsics, known_intrinsics
from mvgeom.calibration.lens_findings import find_large_errors
from mvgeom.calibration.lens_model import LENSES, Lens
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError

__all__ = ["LensCalibration", "Lenses", "calibrate_lenses", "fit_lenses", "lenses_by_camera"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LensCalibration:
    """Intrinsics of all cameras with statistics and findings.

    Attributes:
        cameras: V cameras, all at the world's origin.
        lenses: V lenses with the parameters that were estimated, each with its number of coefficients.
        used: (V, F) booleans, true for boards that fit their camera's lens; where the poses of a body's faces are
            unknown, each face is a board, see `split_faces`.
        rms: (V,) root mean square of the reprojection errors in px; NaN where intrinsics were given.
        findings: Problems of the images and of the calibration.
    """

    cameras: CameraGroup
    lenses: tuple[Lens, ...]
    used: Booleans
    rms: Floats
    findings: tuple[Finding, ...]


Lenses = Lens | Mapping[str, Lens]
"""One lens for all cameras, or one by camera name."""


def calibrate_lenses(
    detections: Detections, lens: Lenses | None = None, *, known: CameraGroup | None = None
) -> LensCalibration:
    """Calibrate the intrinsics of each camera separately.

    Args:
        detections: Board corners; frames of different cameras may be unrelated.
        lens: Lens parameters to estimate, of all cameras or by camera name; None chooses the number of coefficients.
        known: Cameras whose intrinsics are used instead of new ones; None if there are none.

    Raises:
        CalibrationError: If a camera saw no board or too few; its findings give the reason for each such camera.
        InputError: `missing-view`, `size-mismatch` or `cameras-differ`, if the known cameras do not fit the images;
            `missing-view`, if lenses by name are not those of the cameras.
    """
    fitted = fit_lenses(detections, lens, known=known)
    return replace(fitted, findings=(*fitted.findings, *find_large_errors(fitted.cameras.names, fitted.rms)))


def fit_lenses(
    detections: Detections, lens: Lenses | None = None, *, known: CameraGroup | None = None
) -> LensCalibration:
    """Calibrate intrinsics as `calibrate_lenses`, without judging their errors: those of a rig are judged as a whole.

    Args:
        detections: Board corners, as in `calibrate_lenses`.
        lens: Lens parameters to estimate, as in `calibrate_lenses`.
        known: Cameras whose intrinsics are used, as in `calibrate_lenses`.

    Raises:
        CalibrationError: As `calibrate_lenses`.
        InputError: As `calibrate_lenses`.
    """
    detections = split_faces(detections)
    names = detections.names
    lenses = list(lenses_by_camera(lens or Lens(), names))
    errors = [each for each in detections.findings if each.severity == "error"]
    findings = list(detections.findings)
    unseen = {name for each in errors for name in each.cameras}
    used, rms = detections.seen, np.full(len(names), np.nan)
    groups: list[CameraGroup] = []
    for view, (name, size) in enumerate(zip(names, detections.sizes, strict=True)):
        if known is not None:
            groups.append(known_intrinsics(name, size, known, lenses[view]))
            lenses[view] = _as_given(lenses[view], groups[-1])
            continue
        if name in unseen:
            continue
        try:
            fitted = calibrate_intrinsics(name, size, detections.points[view], detections.object_points, lenses[view])
        except CalibrationError as error:
            errors += error.findings
            continue
        groups.append(fitted.camera)
        lenses[view], used[view], rms[view] = fitted.lens, fitted.used, fitted.rms
        findings += fitted.findings
    if errors:
        raise CalibrationError([*errors, *(each for each in findings if each not in errors)])
    longest = max(
        *(each.stored_coefficients for each in lenses), *(int(group.distortion.shape[-1]) for group in groups)
    )
    cameras = CameraGroup(
        names=names,
        sizes=detections.sizes,
        matrix=np.concatenate([group.matrix for group in groups]),
        distortion=np.stack([np.pad(each.distortion[0], (0, longest - each.distortion.shape[-1])) for each in groups]),
        rotation=np.tile(np.eye(3), (len(names), 1, 1)),
        translation=np.zeros((len(names), 3)),
        fisheye=tuple(group.fisheye[0] for group in groups),
    )
    return LensCalibration(cameras=cameras, lenses=tuple(lenses), used=used, rms=rms, findings=tuple(findings))


def lenses_by_camera(lens: Lenses, names: Sequence[str]) -> tuple[Lens, ...]:
    """Return the lens of each camera.

    Raises:
        InputError: `missing-view`, if lenses by name are not those of the cameras.
    """
    if isinstance(lens, Lens):
        return (lens,) * len(names)
    wrong = sorted(set(names) ^ set(lens))
    if wrong:
        raise InputError(
            f"lens: must have one entry per camera, found {sorted(lens)}, expected {list(names)}",
            code="missing-view",
            argument="lens",
            view=wrong[0],
        )
    return tuple(lens[name] for name in names)


def _as_given(lens: Lens, camera: CameraGroup) -> Lens:
    """Return the lens with the number of coefficients of the given camera, if the number is open."""
    if lens.num_coefficients is not None:
        return lens
    used = np.flatnonzero(camera.distortion[0])
    count = int(used[-1]) + 1 if len(used) else 0
    return lens.with_coefficients(next(each for each in LENSES if each >= count))
