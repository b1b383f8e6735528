"""JARVIS YAML: a folder with one OpenCV YAML file per camera, `<camera>.yaml`.

Convention: MATLAB's row vectors, x = [X' 1] [R; T'] K: both `intrinsicMatrix` (principal point in the last row) and `R`
are the transposes of OpenCV's; `T` is OpenCV's, in mm. `distortionCoefficients` are OpenCV's five; JARVIS itself uses
only the first two. Pixel (0, 0) is the center of the top-left pixel. Files written by JARVIS have no image size; files
written by mvgeom also have `image_width` and `image_height`, which JARVIS ignores.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.files import file_name, list_files
from mvgeom.formats import camera_fields, filestorage, records

__all__ = ["DESCRIPTION", "NAME", "SUFFIXES", "load", "matches", "save"]

NAME = "jarvis"
DESCRIPTION = "JARVIS YAML (folder with one file per camera)"
SUFFIXES = ()
UNIT = "mm"


def matches(path: Path) -> bool:
    """Return True if the path is a folder with a JARVIS file, or such a file."""
    return any(_is_camera(file) for file in _files(path))


def load(path: Path, *, sizes: camera_fields.Sizes | None = None) -> CameraGroup:
    """Load the cameras of all files in the folder (or of the one file), named like the files, in alphabetical order.

    Files of the folder that are YAML but not OpenCV's are left out with a warning; others must be a camera.

    Args:
        path: Path of the folder, or of one file.
        sizes: Image width and height in px, for all cameras or by name, if the files do not have them.

    Raises:
        InputError: `invalid-syntax`, if OpenCV cannot read a file; `missing-field` or `bad-field`, if entries are
            missing or wrong; `missing-size`, if an image size is missing.
    """
    unread = _unreadable(path)
    if unread:
        warnings.warn(f"{path}: files that are not OpenCV YAML are left out: {', '.join(unread)}", stacklevel=2)
    return records.assemble([_read(file, sizes) for file in _files(path)], path)


def save(cameras: CameraGroup, path: Path) -> None:
    """Save one file per camera in the folder, which is created if it does not exist.

    Raises:
        InputError: `unsupported-camera`, if a camera is fisheye or has more than 5 distortion coefficients; `bad-name`,
            if a name cannot be a file name; `not-a-folder`, if the path is a file; `occupied-folder`, if the folder has
            JARVIS files of other cameras (they would be loaded as part of this rig).
    """
    rig = records.records_of(cameras)
    coefficients = []
    for record in rig:
        records.reject_fisheye(record, "JARVIS YAML")
        if file_name(f"{record.name}.yaml") != f"{record.name}.yaml" or record.name.startswith("."):
            raise InputError(
                f"camera name {record.name!r}: cannot be a file name, but JARVIS YAML needs one. Rename the camera.",
                code="bad-name",
                view=record.name,
            )
        coefficients.append(records.fit_distortion(record, 5, "JARVIS YAML"))
    if path.exists() and not path.is_dir():
        raise InputError(
            f"{path}: not a folder, found a file, expected a folder for one file per camera",
            code="not-a-folder",
            path=path,
        )
    others = sorted({file.stem for file in _files(path) if _is_camera(file)} - set(cameras.names))
    if others:
        raise InputError(
            f"{path}: the folder has calibrations of other cameras, found {', '.join(others)}. Choose an empty folder.",
            code="occupied-folder",
            path=path,
            views=tuple(others),
        )
    path.mkdir(parents=True, exist_ok=True)
    for record, distortion in zip(rig, coefficients, strict=True):
        filestorage.write(
            path / f"{record.name}.yaml",
            {
                "intrinsicMatrix": record.matrix.T,
                "distortionCoefficients": distortion[None],
                "R": record.rotation.T,
                "T": record.translation[:, None],
                "image_width": float(record.size[0]),
                "image_height": float(record.size[1]),
            },
        )


def _files(path: Path) -> list[Path]:
    """Return the OpenCV YAML files, each of which is a camera or an error."""
    return [file for file in _candidates(path) if filestorage.looks_like_storage(file)]


def _unreadable(path: Path) -> list[str]:
    return [file.name for file in _candidates(path) if not filestorage.looks_like_storage(file)]


def _candidates(path: Path) -> list[Path]:
    return sorted([*list_files(path, "*.yaml"), *list_files(path, "*.yml")]) if path.is_dir() else [path]


def _is_camera(file: Path) -> bool:
    return "intrinsicMatrix" in filestorage.read(file)


def _read(file: Path, sizes: camera_fields.Sizes | None) -> records.CameraRecord:
    name = file.stem
    where = f"{file}: camera {name!r}: "
    document = filestorage.read(file)
    matrix = camera_fields.intrinsics(
        filestorage.matrix(document, "intrinsicMatrix", (3, 3), where).T, f"{where}intrinsicMatrix, transposed,"
    )
    width, height = filestorage.scalar(document, "image_width"), filestorage.scalar(document, "image_height")
    stored = None if width is None or height is None else (width, height)
    return records.CameraRecord(
        name=name,
        size=camera_fields.size_or_given(stored, sizes, name, matrix, where),
        matrix=matrix,
        distortion=camera_fields.distortion_coefficients(
            filestorage.matrix(document, "distortionCoefficients", None, where), f"{where}distortionCoefficients"
        ),
        rotation=camera_fields.rotation_matrix(filestorage.matrix(document, "R", (3, 3), where).T, f"{where}R"),
        translation=filestorage.matrix(document, "T", (3,), where),
    )
