"""Caliscope TOML: `camera_array.toml` with a table `[cameras.0]` per camera, or the older `config.toml` with `[cam_0]`.

Convention: OpenCV's throughout (K not transposed, world to camera), `rotation` a rotation vector in radians or a 3x3
matrix, translations in m. Pixel (0, 0) is the center of the top-left pixel. Five coefficients, or with `fisheye` four.
A table's number is Caliscope's `cam_id` (formerly `port`): camera 0 is named cam_0, as Caliscope names it when it
exports; a table with another name is a camera of that name, and `name` names it, too.

Cameras without extrinsics, and those that Caliscope was told to `ignore`, are left out with a warning. In config.toml
every table is a camera but those that Caliscope itself writes beside them (`capture_volume`, `charuco`, ...).

Layout after `CameraArray.to_toml` and `from_toml` in Caliscope's `cameras/camera_array.py`, and the sessions in its
tests, which hold files of older versions.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.formats import anipose, camera_fields, records

__all__ = ["DESCRIPTION", "NAME", "READ_ONLY", "SUFFIXES", "load", "matches", "save"]

NAME = "caliscope"
DESCRIPTION = "Caliscope TOML (camera_array.toml, config.toml)"
SUFFIXES = ()
UNIT = "m"
READ_ONLY = True

_POSE = ("rotation", "translation")
_REQUIRED = ("size", "matrix", "distortions", *_POSE)
_OWN_FIELDS = {"port", "cam_id", "rotation_count", "grid_count", "verified_resolutions"}
_OTHER_TABLES = re.compile(
    r"metadata|capture_volume|charuco|chessboard|aruco_target|point_estimates|stereo_\w+|project\w*|recordings?"
)


def matches(path: Path) -> bool:
    """Return True if the file is TOML with a table `cameras` of cameras, or one with Caliscope's own fields."""
    if not anipose.looks_like_toml(path):
        return False
    document = anipose.parse_toml(path)
    nested = document.get("cameras")
    if isinstance(nested, dict) and any(isinstance(table, dict) and "size" in table for table in nested.values()):
        return True
    return any(
        isinstance(table, dict) and key.startswith("cam_") and bool(_OWN_FIELDS & table.keys())
        for key, table in document.items()
    )


def load(path: Path) -> CameraGroup:
    """Load the cameras of the file that have a pose, in its order, translations in m.

    Raises:
        InputError: for a file that is not TOML (with the line), missing or wrong fields.
    """
    document = anipose.parse_toml(path)
    others = {
        key: table
        for key, table in document.items()
        if isinstance(table, dict | list) and key != "cameras" and not _OTHER_TABLES.fullmatch(key)
    }
    nested = document.get("cameras", {})
    if not isinstance(nested, dict):
        raise InputError(
            f"{path}: cameras must be a table of cameras, found {nested!r}",
            code="bad-field",
            path=path,
            field="cameras",
        )
    tables = {**nested, **others}
    for key, table in tables.items():
        camera_fields.require(table, [], key, path)
    known = {key: {field: value for field, value in table.items() if value != "null"} for key, table in tables.items()}
    left_out = {key for key, table in known.items() if _is_left_out(table)}
    records.warn_left_out(
        [
            _name(table, key, path) + (" (ignored in Caliscope)" if table.get("ignore") is True else "")
            for key, table in known.items()
            if key in left_out
        ],
        path,
    )
    return records.assemble([_read(table, key, path) for key, table in known.items() if key not in left_out], path)


def save(cameras: CameraGroup, path: Path) -> NoReturn:
    """Raise InputError: the format is only read."""
    records.refuse_to_write(DESCRIPTION)


def _is_left_out(table: dict[str, Any]) -> bool:
    return "size" in table and (camera_fields.is_unplaced(table, _POSE) or table.get("ignore") is True)


def _name(table: dict[str, Any], key: str, path: Path) -> str:
    name = table.get("name", key)
    if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
        raise InputError(
            f"{path}: table {key}: name must be text or a number, found {name!r}",
            code="bad-field",
            path=path,
            field="name",
        )
    return f"cam_{name}" if str(name).isdecimal() else str(name)


def _read(table: dict[str, Any], key: str, path: Path) -> records.CameraRecord:
    name = _name(table, key, path)
    camera_fields.require(table, _REQUIRED, name, path)
    where = f"{path}: camera {name!r}: "
    fisheye = camera_fields.fisheye_flag(table, name, path)
    rotation = camera_fields.numbers(table["rotation"], None, f"{where}rotation")
    lengths = (4,) if fisheye else (4, 5, 8, 12, 14)
    return records.CameraRecord(
        name=name,
        size=camera_fields.image_size(table["size"], f"{where}size"),
        matrix=camera_fields.intrinsics(table["matrix"], f"{where}matrix"),
        distortion=camera_fields.distortion_coefficients(table["distortions"], f"{where}distortions", lengths=lengths),
        rotation=camera_fields.rotation_matrix(np.reshape(rotation, (3, 3)), f"{where}rotation")
        if rotation.size == 9
        else camera_fields.rotation_from_vector(rotation, f"{where}rotation"),
        translation=camera_fields.numbers(table["translation"], (3,), f"{where}translation", reshape=True),
        fisheye=fisheye,
    )
