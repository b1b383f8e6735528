"""OpenPose's camera parameters: a folder with one OpenCV XML file per camera, named like its serial number.

Convention: OpenCV's throughout. `CameraMatrix` is the 3x4 pose [R | t] from world to camera (not the projection, which
is `Intrinsics` times it), `Intrinsics` is K, `Distortion` has 4 to 14 coefficients (OpenPose writes 8). Pixel (0, 0) is
the center of the top-left pixel; the unit is that of the calibration board, m or mm. No image sizes.
`CameraMatrixInitial` is not read.

A file without `CameraMatrix` is left out with a warning. OpenPose writes the identity until the extrinsics are
calibrated, and for the camera that is the world; two cameras with the identity are an error.

Layout after `CameraParameterReader` in OpenPose's `src/openpose/3d/cameraParameterReader.cpp`, and its
`doc/modules/calibration_module.md`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import numpy as np

from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.files import list_files
from mvgeom.formats import camera_fields, filestorage, records

__all__ = ["DESCRIPTION", "NAME", "READ_ONLY", "SUFFIXES", "load", "matches", "save"]

NAME = "openpose"
DESCRIPTION = "OpenPose XML (folder with one file per camera)"
SUFFIXES = ()
READ_ONLY = True


def matches(path: Path) -> bool:
    """Return True if the path is a folder with one of OpenPose's files, or such a file."""
    return any(
        filestorage.looks_like_storage(file) and {"CameraMatrix", "Intrinsics"} <= set(_keys(file))
        for file in _files(path)
    )


def load(path: Path, *, sizes: camera_fields.Sizes | None = None) -> CameraGroup:
    """Load the cameras of all XML files in the folder (or of the one file), named like the files, sorted by name.

    Args:
        path: Folder of the cameras, or one of its files.
        sizes: Image width and height in px, for all cameras or by name; must be given.

    Raises:
        InputError: for files that OpenCV cannot read, missing or wrong entries, two cameras whose pose is the identity,
            a missing image size.
    """
    files = {file: set(_keys(file)) for file in _files(path)}
    unplaced = {file for file, keys in files.items() if "Intrinsics" in keys and "CameraMatrix" not in keys}
    records.warn_left_out([file.stem for file in files if file in unplaced], path)
    cameras = [_read(file, sizes) for file in files if file not in unplaced]
    at_origin = [each.name for each in cameras if (each.rotation == np.eye(3)).all() and not each.translation.any()]
    if len(at_origin) > 1:
        raise InputError(
            f"{path}: CameraMatrix is the identity for {', '.join(at_origin)}; only one camera can be the world. "
            "Calibrate their extrinsics, or remove the files of those that are not calibrated",
            code="not-a-camera",
            path=path,
            views=tuple(at_origin),
        )
    return records.assemble(cameras, path)


def save(cameras: CameraGroup, path: Path) -> NoReturn:
    """Raise InputError: the format is only read."""
    records.refuse_to_write(DESCRIPTION)


def _files(path: Path) -> list[Path]:
    return list_files(path, "*.xml") if path.is_dir() else [path]


def _keys(file: Path) -> tuple[str, ...]:
    return tuple(filestorage.read(file))


def _read(file: Path, sizes: camera_fields.Sizes | None) -> records.CameraRecord:
    name = file.stem
    where = f"{file}: camera {name!r}: "
    document = filestorage.read(file)
    matrix = camera_fields.intrinsics(filestorage.matrix(document, "Intrinsics", (3, 3), where), f"{where}Intrinsics")
    pose = filestorage.matrix(document, "CameraMatrix", (3, 4), where)
    return records.CameraRecord(
        name=name,
        size=camera_fields.size_or_given(None, sizes, name, matrix, where),
        matrix=matrix,
        distortion=camera_fields.distortion_coefficients(
            filestorage.matrix(document, "Distortion", None, where), f"{where}Distortion"
        ),
        rotation=camera_fields.rotation_matrix(pose[:, :3], f"{where}CameraMatrix"),
        translation=pose[:, 3],
    )
