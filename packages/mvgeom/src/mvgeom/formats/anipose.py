"""Anipose TOML: one table per camera, `[cam_0]`, `[cam_1]`, ..., and `[metadata]`.

Every table but `[metadata]` is a camera, whatever its name. Tables without extrinsics (neither `rotation` nor
`translation`) are left out with a warning; any other incomplete table is an error.

Convention: K as in OpenCV (not transposed), Brown-Conrady with 4 or 5 coefficients (fisheye: 4), extrinsics from world
to camera, `rotation` a rotation vector in radians, `translation` in the unit of the calibration board. Pixel (0, 0) is
the center of the top-left pixel. Written by aniposelib, Lightning Pose's calibration app and Pose2Sim (which numbers
from 1 and writes sizes as floats). The order is that of the file; aniposelib reads tables in the order of text, cam_10
before cam_2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from mvgeom import documents
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.files import head, read_text, write_text
from mvgeom.formats import camera_fields, records

__all__ = [
    "DESCRIPTION",
    "NAME",
    "SUFFIXES",
    "camera_tables",
    "further_tables",
    "load",
    "looks_like_toml",
    "matches",
    "parse_toml",
    "read_table",
    "read_tables",
    "save",
    "table_of",
]

NAME = "anipose"
DESCRIPTION = "anipose TOML (.toml)"
SUFFIXES = (".toml",)

_TABLE = re.compile(r"cam_?\d+")
_METADATA = "metadata"
_POSE = ("rotation", "translation")
_LENS = {"size", "matrix", "distortions"}
_REQUIRED = ("name", "size", "matrix", "distortions", "rotation", "translation")


def matches(path: Path) -> bool:
    """Return True if the file is TOML with tables `cam_<number>`, none of them a moving camera of Pose2Sim."""
    if not looks_like_toml(path):
        return False
    tables = {key: table for key, table in parse_toml(path).items() if _TABLE.fullmatch(key)}
    return bool(tables) and not any(isinstance(table, dict) and table.get("moving") for table in tables.values())


def load(path: Path) -> CameraGroup:
    """Load the cameras of the file, in its order.

    Raises:
        InputError: `invalid-syntax`, if the file is not TOML (the message has the line); `missing-field`, if a table
            lacks a field; `wrong-shape`, `bad-number` or `not-finite`, if a value is wrong (the message names file,
            camera and field).
    """
    return records.assemble(read_tables(camera_tables(parse_toml(path)), path), path)


def save(cameras: CameraGroup, path: Path, *, metadata: Mapping[str, Any] | None = None) -> None:
    """Save the cameras as tables `[cam_0]`, `[cam_1]`, ...

    Args:
        cameras: Cameras of one rig; the unit is kept.
        path: Path of the file, replaced atomically.
        metadata: Content of the table `[metadata]`; None writes no such table. What else a file that is replaced has is
            left out with a warning.

    Raises:
        InputError: `unsupported-camera`, if a camera has more than 5 distortion coefficients (fisheye: 4) that are not
            zero.
    """
    document: dict[str, Any] = {}
    rig = records.records_of(cameras)
    records.warn_skew(rig, "aniposelib and OpenCV")
    for row, record in enumerate(rig):
        length = 4 if record.fisheye else 5
        document[f"cam_{row}"] = table_of(record, records.fit_distortion(record, length, "anipose TOML"))
    if metadata is not None:
        document[_METADATA] = dict(metadata)
    replaced = further_tables(path)
    records.warn_not_kept([key for key, value in replaced.items() if document.get(key) != value], path)
    write_text(path, tomli_w.dumps(document))


def further_tables(path: Path) -> dict[str, Any]:
    """Return the entries of a TOML file that are not cameras, such as `[metadata]`; none for any other file."""
    if not looks_like_toml(path):
        return {}
    try:
        document = parse_toml(path)
    except InputError:
        return {}
    return {key: value for key, value in document.items() if not (isinstance(value, dict) and "matrix" in value)}


def looks_like_toml(path: Path) -> bool:
    """Return True if the suffix is .toml, or the first line other than empty lines and comments is a table header."""
    if not path.is_file():
        return False
    if path.suffix.lower() == ".toml":
        return True
    lines = (line.strip() for line in head(path).splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return re.fullmatch(r"\[[\w.\"' -]+\]", first) is not None


def parse_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML document.

    Raises:
        InputError: `invalid-syntax`, if the file is not TOML; the message has file, line and column.
    """
    return documents.parse_toml(read_text(path), path)


def camera_tables(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return every table of the document but `[metadata]`, in its order; arrays of tables are among them."""
    return {
        key: value for key, value in document.items() if isinstance(value, dict | list) and key.lower() != _METADATA
    }


def read_tables(tables: Mapping[str, Any], path: Path) -> list[records.CameraRecord]:
    """Read the cameras of the tables; those without extrinsics are left out with a warning.

    A last one that is incomplete, or after which the line does not end, is one of a file that was cut off.

    Args:
        tables: Tables by name, as from `camera_tables`.
        path: File of the tables, for messages.

    Raises:
        InputError: see `load`.
    """
    unplaced = {key: table for key, table in tables.items() if _is_unplaced(table)}
    last = next(iter([*tables][-1:]), "")
    if last in unplaced and not (unplaced[last].keys() >= _LENS and read_text(path).endswith("\n")):
        del unplaced[last]  # a file that was cut off: an error, as of any other incomplete table
    cameras = [read_table(table, key, path) for key, table in tables.items() if key not in unplaced]
    records.warn_left_out([str(table.get("name") or key) for key, table in unplaced.items()], path)
    return cameras


def read_table(table: Any, key: str, path: Path) -> records.CameraRecord:
    """Read one camera from its TOML table.

    Args:
        table: Content of the document under `key`.
        key: Name of the table, for error messages.
        path: Path of the file, for error messages.

    Raises:
        InputError: `bad-field` or `missing-field`, if the table or a field is wrong; further codes as in `load`.
    """
    if not isinstance(table, dict):
        raise InputError(
            f"{path}: {key}: must be a table of one camera, found {table!r}", code="bad-field", path=path, field=key
        )
    missing = [field for field in _REQUIRED if field not in table]
    if missing:
        raise InputError(
            f"{path}: table [{key}] has no {' and no '.join(map(repr, missing))}",
            code="missing-field",
            path=path,
            field=missing[0],
        )
    name = table["name"]
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str) or not name:
        raise InputError(
            f"{path}: table [{key}]: name must be text, found {table['name']!r}",
            code="bad-field",
            path=path,
            field="name",
        )
    fisheye = camera_fields.fisheye_flag(table, name, path)
    where = f"{path}: camera {name!r}: "
    lengths = (4,) if fisheye else (4, 5, 8, 12, 14)
    return records.CameraRecord(
        name=name,
        size=camera_fields.image_size(table["size"], f"{where}size"),
        matrix=camera_fields.intrinsics(table["matrix"], f"{where}matrix"),
        distortion=camera_fields.distortion_coefficients(table["distortions"], f"{where}distortions", lengths=lengths),
        rotation=camera_fields.rotation_from_vector(table["rotation"], f"{where}rotation"),
        translation=camera_fields.numbers(table["translation"], (3,), f"{where}translation", reshape=True),
        fisheye=fisheye,
    )


def table_of(record: records.CameraRecord, distortion: camera_fields.Floats) -> dict[str, Any]:
    """Create the TOML table of one camera; whole sizes are written as integers."""
    return {
        "name": record.name,
        "size": [int(side) if side == int(side) else float(side) for side in record.size],
        "matrix": record.matrix.tolist(),
        "distortions": distortion.tolist(),
        "rotation": camera_fields.rotation_to_vector(record.rotation).tolist(),
        "translation": record.translation.tolist(),
        "fisheye": record.fisheye,
    }


def _is_unplaced(table: Any) -> bool:
    """Return True for the table of a camera (size or lens) that has no pose at all."""
    if not isinstance(table, dict) or any(field in table for field in _POSE):
        return False
    return any(field in table for field in ("size", "matrix", "distortions"))
