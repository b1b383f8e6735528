"""Cameras of a calibration file as records: assembly into a `CameraGroup`, and what a format cannot hold."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.formats.camera_fields import Floats

__all__ = [
    "CameraRecord",
    "assemble",
    "fit_distortion",
    "records_of",
    "refuse_to_write",
    "reject_fisheye",
    "reject_skew",
    "warn_left_out",
    "warn_not_kept",
    "warn_skew",
]

_NEGLIGIBLE = 0.01
"""Effect of a skew in px that is not worth a warning."""


@dataclass(frozen=True, kw_only=True)
class CameraRecord:
    """One camera in `CameraGroup`'s conventions: K not transposed, `x_cam = R X + t`, OpenCV's distortion order."""

    name: str
    size: Floats
    matrix: Floats
    distortion: Floats
    rotation: Floats
    translation: Floats
    fisheye: bool = False


def assemble(records: Sequence[CameraRecord], where: object) -> CameraGroup:
    """Assemble cameras into a group, in their order.

    Args:
        records: Cameras with distinct names.
        where: Path of the file, for error messages.

    Raises:
        InputError: `too-few-views`, if there are no cameras; `duplicate-name`, if names repeat.
    """
    if not records:
        raise InputError(f"{where}: no cameras found", code="too-few-views", path=where)
    names = [record.name for record in records]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(
            f"{where}: camera names must be distinct, found repeated {', '.join(map(repr, repeated))}",
            code="duplicate-name",
            path=where,
            name=repeated[0],
        )
    return CameraGroup(
        names=tuple(names),
        sizes=np.stack([record.size for record in records]),
        matrix=np.stack([record.matrix for record in records]),
        distortion=[record.distortion for record in records],
        rotation=np.stack([record.rotation for record in records]),
        translation=np.stack([record.translation for record in records]),
        fisheye=tuple(record.fisheye for record in records),
    )


def warn_left_out(names: Sequence[str], where: object) -> None:
    """Warn of cameras that are not loaded because the file has no extrinsics of them; nothing without names.

    Args:
        names: Names of the cameras.
        where: File of the cameras, the start of the message.
    """
    if names:
        warnings.warn(f"{where}: cameras without extrinsics are left out: {', '.join(names)}", stacklevel=3)


def warn_not_kept(names: Sequence[str], path: Path) -> None:
    """Warn of entries of a file that are lost when it is replaced, because they need not be those of the new cameras.

    Args:
        names: Names of the entries; nothing without names.
        path: File that is replaced.
    """
    if names:
        warnings.warn(f"{path}: entries of the file that is replaced are not kept: {', '.join(names)}", stacklevel=4)


def refuse_to_write(format_name: str) -> NoReturn:
    """Raise InputError: the format is only read."""
    raise InputError(
        f"{format_name} is only read, not written; save as anipose TOML (.toml) or JSON (.json)",
        code="unknown-format",
        argument="file_format",
        found=format_name,
    )


def records_of(cameras: CameraGroup) -> list[CameraRecord]:
    """Return the cameras of one rig as float64 NumPy records for saving.

    Raises:
        InputError: `wrong-shape`, if the cameras are a batch of rigs; a file holds one rig. `bad-name`, if a name is
            empty or has halves of characters, which no format holds.
    """
    if cameras.batch_shape:
        raise InputError(
            f"cameras: a calibration file holds one rig, found a batch of shape {cameras.batch_shape}",
            code="wrong-shape",
            argument="cameras",
            found=cameras.batch_shape,
        )

    wrong = next((name for name in cameras.names if not name or re.search(r"[\ud800-\udfff]", name)), None)
    if wrong is not None:
        raise InputError(f"camera name {wrong!r}: no file can hold it. Rename the camera.", code="bad-name", view=wrong)

    def rows(array: Any) -> Floats:
        if hasattr(array, "detach"):  # a torch tensor, which may be on a device or require gradients
            array = array.detach().cpu().numpy()
        return np.asarray(array, dtype=np.float64)

    fields = zip(
        cameras.names,
        rows(cameras.sizes),
        rows(cameras.matrix),
        rows(cameras.distortion),
        rows(cameras.rotation),
        rows(cameras.translation),
        cameras.fisheye,
        strict=True,
    )
    return [
        CameraRecord(
            name=name,
            size=size,
            matrix=matrix,
            distortion=distortion,
            rotation=rotation,
            translation=translation,
            fisheye=fisheye,
        )
        for name, size, matrix, distortion, rotation, translation, fisheye in fields
    ]


def fit_distortion(record: CameraRecord, length: int, format_name: str) -> Floats:
    """Return coefficients of exactly `length`: padded with zeros, or without trailing zeros.

    Raises:
        InputError: `unsupported-camera`, if the format cannot hold a coefficient that is not zero.
    """
    coefficients = record.distortion
    if coefficients[length:].any():
        found = int(np.flatnonzero(coefficients)[-1]) + 1
        raise InputError(
            f"camera {record.name!r}: too many distortion coefficients for {format_name}, found {found}, expected "
            f"{length} at most. Save as JSON to keep them, or calibrate again with `mvgeom calibrate --coefficients "
            f"{length}`.",
            code="unsupported-camera",
            view=record.name,
            field="distortion",
        )
    return np.pad(coefficients[:length], (0, max(0, length - len(coefficients))))


def reject_fisheye(record: CameraRecord, format_name: str) -> None:
    """Raise an InputError for a fisheye camera, which the format cannot hold."""
    if record.fisheye:
        raise InputError(
            f"camera {record.name!r}: {format_name} cannot hold a fisheye lens. Save as anipose TOML or JSON.",
            code="unsupported-camera",
            view=record.name,
            field="fisheye",
        )


def reject_skew(record: CameraRecord, format_name: str) -> None:
    """Raise an InputError for a camera with skew, which the format cannot hold."""
    if record.matrix[0, 1] != 0:
        raise InputError(
            f"camera {record.name!r}: {format_name} cannot hold skew, found {record.matrix[0, 1]:g} px. Save as "
            "anipose TOML or JSON.",
            code="unsupported-camera",
            view=record.name,
            field="skew",
        )


def warn_skew(cameras: Sequence[CameraRecord], programs: str) -> None:
    """Warn of cameras whose skew is written, but ignored by OpenCV and the programs that project with it.

    Args:
        cameras: Cameras that are written.
        programs: Programs that read the file.
    """
    for record in cameras:
        height = np.array([-0.5, record.size[1] - 0.5])
        off = float(np.abs(record.matrix[0, 1] * (height - record.matrix[1, 2]) / record.matrix[1, 1]).max())
        if off > _NEGLIGIBLE:
            warnings.warn(
                f"camera {record.name!r}: skew of {record.matrix[0, 1]:g} px, which {programs} ignore: they project up "
                f"to {off:.2g} px beside mvgeom, which reads it. Calibrate without skew for them",
                stacklevel=4,
            )
