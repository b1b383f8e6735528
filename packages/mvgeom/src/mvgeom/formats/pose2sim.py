"""Pose2Sim TOML: one table per camera, named like the camera, and `[metadata]`.

Convention: that of anipose TOML (K not transposed, rotation vector, world to camera), with 4 distortion coefficients,
sizes as floats, and translations in metres. A table with `moving = true` has one entry per frame in every field.

Files that Pose2Sim converted from Qualisys hold distortion coefficients divided by 64, as if they were pixels: real
images of such a rig are fitted by 64 times the stored values (`mvgeom.formats.qualisys` reads them undivided). They are
read here as they stand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tomli_w

from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.files import write_text
from mvgeom.formats import anipose, records

NAME = "pose2sim"
DESCRIPTION = "Pose2Sim TOML (.toml)"
SUFFIXES = ()

_PER_FRAME = ("size", "matrix", "distortions", "rotation", "translation")


def matches(path: Path) -> bool:
    """Whether the file is TOML with at least one table of a camera."""
    return anipose.looks_like_toml(path) and bool(_tables(anipose.parse_toml(path)))


def load(path: Path, *, frame: int | None = None) -> CameraGroup:
    """The cameras of the file, in its order.

    Args:
        path: the file.
        frame: which entry to take from cameras that move; counted from 0.

    Raises:
        ValueError: see `mvgeom.formats.anipose.load`; also for a moving camera without `frame`, or with one it does not
            reach.
    """
    tables = _tables(anipose.parse_toml(path))
    resting = {
        key: _at_frame(table, key, frame, path) if table.get("moving") else table for key, table in tables.items()
    }
    return records.assemble([anipose.read_table(table, key, path) for key, table in resting.items()], path)


def save(cameras: CameraGroup, path: Path) -> None:
    """Write the cameras as tables named after them; translations must be in metres already.

    Raises:
        ValueError: when a camera is fisheye or has more than 4 distortion coefficients that are not zero.
    """
    document: dict[str, Any] = {}
    for record in records.records_of(cameras):
        records.reject_fisheye(record, "Pose2Sim TOML")
        table = anipose.table_of(record, records.fit_distortion(record, 4, "Pose2Sim TOML"))
        document[record.name] = {**table, "size": record.size.tolist()}
    document["metadata"] = {"adjusted": False, "error": 0.0}
    write_text(path, tomli_w.dumps(document))


def _tables(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        key: value
        for key, value in document.items()
        if key != "metadata" and isinstance(value, dict) and {"matrix", "rotation"} & value.keys()
    }


def _at_frame(table: dict[str, Any], key: str, frame: int | None, path: Path) -> dict[str, Any]:
    """The table of a moving camera with every field at one frame."""
    rotations = table.get("rotation")
    length = len(rotations) if isinstance(rotations, list) else 0
    if frame is None:
        raise InputError(
            f"{path}: camera [{key}] moves ({length} frames). Give frame=, on the command line -O frame=0, for one "
            "pose",
            code="missing-argument",
            path=path,
            argument="frame",
        )
    if not 0 <= frame < length:
        raise InputError(
            f"{path}: camera [{key}] has the frames 0 to {length - 1}, not {frame}",
            code="missing-frame",
            path=path,
            frame=frame,
        )
    short = [
        field
        for field, value in table.items()
        if field in _PER_FRAME and not (isinstance(value, list) and len(value) > frame)
    ]
    if short:
        raise InputError(
            f"{path}: camera [{key}]: {short[0]} has no entry for frame {frame}, expected one per frame",
            code="missing-frame",
            path=path,
            frame=frame,
        )
    return {field: value[frame] if field in _PER_FRAME else value for field, value in table.items()}
