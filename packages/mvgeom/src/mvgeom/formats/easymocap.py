"""EasyMocap: `intri.yml` and `extri.yml` in one folder, both OpenCV YAML.

Convention: OpenCV's throughout (K not transposed, world to camera, pixel (0, 0) the center of the top-left pixel),
translations in meters. Per camera `K_<name>`, `dist_<name>` (4 or 5 coefficients), optional `W_<name>` and `H_<name>`;
`R_<name>` is the rotation vector, `Rot_<name>` the same as a matrix, `T_<name>`. `names` lists the cameras; those with
entries that it does not list follow.

EasyMocap writes 6 decimals, so its rotations are accurate to about 1e-6. Cameras without extrinsics (in a rig of which
only some cameras have a pose) are not loaded; a warning names them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.formats import camera_fields, filestorage, records

__all__ = ["DESCRIPTION", "NAME", "SUFFIXES", "load", "matches", "save"]

NAME = "easymocap"
DESCRIPTION = "EasyMocap (folder with intri.yml and extri.yml)"
SUFFIXES = ()
UNIT = "m"

_INTRINSICS, _EXTRINSICS = "intri.yml", "extri.yml"
_NAME = re.compile(r"[\w-]+", re.ASCII)


def matches(path: Path) -> bool:
    """Return True if the path is a folder with intri.yml and extri.yml, or one of these two files."""
    if path.is_file():
        return path.name in (_INTRINSICS, _EXTRINSICS)
    return (path / _INTRINSICS).is_file() and (path / _EXTRINSICS).is_file()


def load(path: Path, *, sizes: camera_fields.Sizes | None = None) -> CameraGroup:
    """Load the cameras that have extrinsics, in the order of extri.yml.

    Args:
        path: Path of the folder, or of one of the two files in it.
        sizes: Image width and height in px, for all cameras or by name, if intri.yml does not have them.

    Raises:
        InputError: `invalid-syntax`, if OpenCV cannot read a file; `missing-field` or `bad-field`, if entries are
            missing or wrong; `missing-view`, if a camera has no intrinsics; `not-a-rotation`, if rotation vector and
            matrix disagree; `missing-size`, if an image size is missing.
    """
    folder = path.parent if path.is_file() else path
    intrinsics, extrinsics = (filestorage.read(folder / name) for name in (_INTRINSICS, _EXTRINSICS))
    described = _names(intrinsics, folder / _INTRINSICS, "K_")
    listed = _names(extrinsics, folder / _EXTRINSICS, "T_")
    posed = set(extrinsics)
    placed = [name for name in listed if posed & {f"R_{name}", f"Rot_{name}", f"T_{name}"}]
    unknown = [name for name in placed if name not in described]
    if unknown:
        raise InputError(
            f"{folder / _INTRINSICS}: no camera {', '.join(map(repr, unknown))}, which extri.yml has",
            code="missing-view",
            path=folder / _INTRINSICS,
            view=unknown[0],
        )
    records.warn_left_out([name for name in dict.fromkeys([*described, *listed]) if name not in placed], folder)
    return records.assemble([_read(intrinsics, extrinsics, name, sizes, folder) for name in placed], folder)


def save(cameras: CameraGroup, path: Path) -> None:
    """Save intri.yml and extri.yml in the folder, which is created if it does not exist.

    Raises:
        InputError: `unsupported-camera`, if a camera is fisheye, has more than 5 distortion coefficients, or an image
            size that is not whole; `bad-name`, if a name cannot be part of a YAML key; `not-a-folder`, if the path is a
            file.
    """
    intrinsics: dict[str, Any] = {"names": list(cameras.names)}
    extrinsics: dict[str, Any] = {"names": list(cameras.names)}
    rig = records.records_of(cameras)
    records.warn_skew(rig, "EasyMocap, where it undistorts, and OpenCV")
    for record in rig:
        name = record.name
        records.reject_fisheye(record, "EasyMocap")
        if not _NAME.fullmatch(name):
            raise InputError(
                f"camera name {name!r}: not valid for EasyMocap, expected letters, digits, - and _ only",
                code="bad-name",
                view=name,
            )
        intrinsics[f"K_{name}"] = record.matrix
        intrinsics[f"dist_{name}"] = records.fit_distortion(record, 5, "EasyMocap")[None]
        intrinsics[f"H_{name}"] = _whole(record.size[1])
        intrinsics[f"W_{name}"] = _whole(record.size[0])
        extrinsics[f"R_{name}"] = camera_fields.rotation_to_vector(record.rotation)[:, None]
        extrinsics[f"Rot_{name}"] = record.rotation
        extrinsics[f"T_{name}"] = record.translation[:, None]
    if path.exists() and not path.is_dir():
        raise InputError(
            f"{path}: not a folder, found a file, expected a folder for {_INTRINSICS} and {_EXTRINSICS}",
            code="not-a-folder",
            path=path,
        )
    path.mkdir(parents=True, exist_ok=True)
    filestorage.write(path / _INTRINSICS, intrinsics)
    filestorage.write(path / _EXTRINSICS, extrinsics)


def _names(document: Mapping[str, Any], file: Path, prefix: str) -> list[str]:
    """Return the list `names`, then every other camera that has an entry with the prefix."""
    present = [key.removeprefix(prefix) for key in document if key.startswith(prefix)]
    listed = filestorage.strings(document, "names")
    names = [*listed, *(name for name in present if name not in listed)]
    if not names:
        raise InputError(f"{file}: no cameras found, expected names or {prefix}<name>", code="too-few-views", path=file)
    return names


def _read(
    intrinsics: Mapping[str, Any],
    extrinsics: Mapping[str, Any],
    name: str,
    sizes: camera_fields.Sizes | None,
    folder: Path,
) -> records.CameraRecord:
    where_in, where_ex = (f"{folder / file}: camera {name!r}: " for file in (_INTRINSICS, _EXTRINSICS))
    matrix = camera_fields.intrinsics(
        filestorage.matrix(intrinsics, f"K_{name}", (3, 3), where_in), f"{where_in}K_{name}"
    )
    width, height = (filestorage.scalar(intrinsics, f"{side}_{name}") for side in "WH")
    stored = None if width is None or height is None else (width, height)
    return records.CameraRecord(
        name=name,
        size=camera_fields.size_or_given(stored, sizes, name, matrix, where_in),
        matrix=matrix,
        distortion=camera_fields.distortion_coefficients(
            filestorage.matrix(intrinsics, f"dist_{name}", None, where_in), f"{where_in}dist_{name}"
        ),
        rotation=_rotation(extrinsics, name, where_ex),
        translation=filestorage.matrix(extrinsics, f"T_{name}", (3,), where_ex),
    )


def _rotation(document: Mapping[str, Any], name: str, where: str) -> camera_fields.Floats:
    """Read the rotation from the vector, as EasyMocap does; the matrix must be the same rotation."""
    if document.get(f"R_{name}") is None:
        stored = filestorage.matrix(document, f"Rot_{name}", (3, 3), where)
        return camera_fields.rotation_matrix(stored, f"{where}Rot_{name}")
    rotation = camera_fields.rotation_from_vector(
        filestorage.matrix(document, f"R_{name}", (3,), where), f"{where}R_{name}"
    )
    if document.get(f"Rot_{name}") is not None:
        off = float(np.abs(filestorage.matrix(document, f"Rot_{name}", (3, 3), where) - rotation).max())
        if off > camera_fields.ROTATION_TOLERANCE:
            raise InputError(
                f"{where}R_{name} and Rot_{name} are different rotations (entries differ by {off:.2g})",
                code="not-a-rotation",
                view=name,
            )
    return rotation


def _whole(side: float) -> int:
    if side != int(side):
        raise InputError(
            f"EasyMocap needs whole image sizes, found {side:g}", code="unsupported-camera", field="sizes", found=side
        )
    return int(side)
