"""DLT coefficients as written by DLTdv, DLTcal and Argus: 11 rows, one column per camera, comma separated.

Convention: u = (L1 x + L2 y + L3 z + L4) / (L9 x + L10 y + L11 z + 1), v likewise with L5 to L8, in px; world in the
unit of the calibration object. Pixel (1, 1) is the center of a pixel (MATLAB): of the top-left pixel since DLTdv8
(`origin="upper-left"`), of the bottom-left pixel with v upward in older versions and in Argus (`origin="lower-left"`).
Files have no lens distortion, no names and no image sizes. The 11 numbers are a full projection matrix, so K may have
skew.

The 12th coefficient is 1, which determines the sign of the depth: the world's origin is in front of every camera. With
the wrong `origin`, the scene is mirrored and the world's origin is behind the cameras; this raises an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.files import head, read_text, write_text
from mvgeom.formats import camera_fields, records
from mvgeom.wording import counted

__all__ = ["DESCRIPTION", "NAME", "NUM_COEFFICIENTS", "SUFFIXES", "Origin", "load", "matches", "save"]

NAME = "dlt"
DESCRIPTION = "DLT coefficients, 11 rows with a column per camera (.csv)"
SUFFIXES = (".csv",)

NUM_COEFFICIENTS = 11

Origin = Literal["upper-left", "lower-left"]


def matches(path: Path) -> bool:
    """Return True if the file is text of exactly 11 lines of numbers."""
    if not path.is_file():
        return False
    lines = [line for line in head(path, 65536).splitlines() if line.strip()]
    return len(lines) == NUM_COEFFICIENTS and all(_is_numeric(line) for line in lines)


def load(
    path: Path,
    *,
    sizes: camera_fields.Sizes | None = None,
    names: Sequence[str] | None = None,
    origin: Origin = "upper-left",
) -> CameraGroup:
    """Load the cameras by the RQ decomposition of each projection matrix.

    Args:
        path: Path of the file.
        sizes: Image width and height in px, for all cameras or by name; required.
        names: Names of the cameras, in the order of the columns; None means cam1, cam2, ...
        origin: Position of the image's first pixel, upper-left or lower-left.

    Raises:
        InputError: `wrong-count`, if there are not 11 rows or not one name per camera; `bad-number` or `not-finite`, if
            values are not finite numbers; `missing-size`, if an image size is missing; `not-a-camera`, if the
            coefficients are not those of a camera or the world's origin is behind a camera.
    """
    rows = [line.replace(",", " ").split() for line in read_text(path).splitlines() if line.strip()]
    if len(rows) != NUM_COEFFICIENTS or len({len(row) for row in rows}) != 1:
        hint = "; it seems to be transposed" if {len(row) for row in rows} == {NUM_COEFFICIENTS} else ""
        found = f"{counted(len(rows), 'row')} of {sorted({len(row) for row in rows})}"
        raise InputError(
            f"{path}: wrong table, found {found} numbers, expected 11 rows with a column per camera{hint}",
            code="wrong-count",
            path=path,
            found=len(rows),
            expected=NUM_COEFFICIENTS,
        )
    try:
        values = np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{path}: DLT coefficients must be numbers: {error}", code="bad-number", path=path) from error
    columns = camera_fields.numbers(values, values.shape, f"{path}: DLT coefficients").T
    if origin not in ("upper-left", "lower-left"):
        raise InputError(
            f"origin: unknown, found {origin!r}, expected upper-left or lower-left",
            code="unknown-choice",
            argument="origin",
            found=origin,
        )
    used = list(names) if names is not None else [f"cam{number}" for number in range(1, len(columns) + 1)]
    if len(used) != len(columns):
        raise InputError(
            f"{path}: wrong number of names, found {len(used)}: {used}, expected {len(columns)}, one per camera",
            code="wrong-count",
            path=path,
            argument="names",
            found=len(used),
            expected=len(columns),
        )
    return records.assemble(
        [_camera(column, name, sizes, origin, path) for column, name in zip(columns, used, strict=True)], path
    )


def save(cameras: CameraGroup, path: Path, *, origin: Origin = "upper-left") -> None:
    """Save the coefficients.

    Raises:
        InputError: `unsupported-camera`, if a camera has lens distortion or is fisheye, which DLT cannot hold, or if
            the world's origin is not in front of every camera.
    """
    columns = []
    for record in records.records_of(cameras):
        records.reject_fisheye(record, "DLT")
        records.fit_distortion(record, 0, "DLT")
        scale = float(record.translation[2])
        if scale <= 1e-9 * float(np.linalg.norm(record.translation)):
            raise InputError(
                f"camera {record.name!r}: the world's origin must be in front of the camera for DLT, found at depth "
                f"{scale:g}",
                code="unsupported-camera",
                view=record.name,
                field="translation",
            )
        pose = np.column_stack([record.rotation, record.translation])
        projection = _to_file_pixels(record.size, origin) @ record.matrix @ pose
        columns.append(projection.ravel()[:NUM_COEFFICIENTS] / scale)
    lines = (",".join(repr(float(value)) for value in row) for row in np.stack(columns, axis=1))
    write_text(path, "\n".join(lines) + "\n")


def _camera(
    column: camera_fields.Floats, name: str, sizes: camera_fields.Sizes | None, origin: Origin, path: Path
) -> records.CameraRecord:
    from scipy.linalg import rq

    where = f"{path}: camera {name!r}: "
    in_file = np.append(column, 1.0).reshape(3, 4)
    size = None if origin == "upper-left" else camera_fields.size_or_given(None, sizes, name, None, where)
    projection = np.linalg.inv(_to_file_pixels(size, origin)) @ in_file
    if np.linalg.matrix_rank(projection[:, :3]) < 3:
        raise InputError(
            f"{where}the coefficients are not those of a camera (singular)", code="not-a-camera", path=path, view=name
        )
    projection *= np.sign(np.linalg.det(projection[:, :3]))
    matrix, rotation = rq(projection[:, :3])
    signs = np.diag(np.sign(np.diag(matrix)))
    matrix, rotation = matrix @ signs, signs @ rotation
    translation = np.linalg.solve(matrix, projection[:, 3])
    if translation[2] <= 0:
        other = "lower-left" if origin == "upper-left" else "upper-left"
        raise InputError(
            f"{where}the world's origin is behind the camera, probably because of a wrong origin of the image. Try "
            f"origin={other!r} (mvgeom convert -O origin={other}).",
            code="not-a-camera",
            path=path,
            view=name,
            found=origin,
            expected=other,
        )
    matrix = matrix / matrix[2, 2]
    matrix[[1, 2, 2], [0, 0, 1]] = 0.0
    return records.CameraRecord(
        name=name,
        size=camera_fields.size_or_given(None, sizes, name, matrix, where),
        matrix=matrix,
        distortion=np.zeros(0),
        rotation=rotation,
        translation=translation,
    )


def _to_file_pixels(size: camera_fields.Floats | None, origin: Origin) -> camera_fields.Floats:
    """Return the 3x3 map from full-image px, (0, 0) at the top left, to the file's px."""
    if origin == "upper-left":
        return np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    assert size is not None
    return np.array([[1.0, 0.0, 1.0], [0.0, -1.0, size[1]], [0.0, 0.0, 1.0]])


def _is_numeric(line: str) -> bool:
    try:
        return bool([float(field) for field in line.replace(",", " ").split()])
    except ValueError:
        return False
