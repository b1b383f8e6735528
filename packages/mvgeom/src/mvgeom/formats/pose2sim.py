"""Pose2Sim TOML: one table per camera, named like the camera, and `[metadata]`.

Every table but `[metadata]` is a camera. Tables without extrinsics are left out with a warning; any other incomplete
table is an error.

Convention: that of anipose TOML (K not transposed, rotation vector, world to camera), with 4 distortion coefficients,
sizes as floats, and translations in meters. In a table with `moving = true`, every field has one entry per frame.

In files that Pose2Sim converted from Qualisys, distortion coefficients are divided by 64, as if they were in px: real
images of such a rig are fitted by 64 times the stored values (`mvgeom.formats.qualisys` reads them undivided). This
module reads the stored values unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.files import write_text
from mvgeom.formats import anipose, records
from mvgeom.wording import counted

__all__ = ["DESCRIPTION", "NAME", "SUFFIXES", "load", "matches", "save"]

NAME = "pose2sim"
DESCRIPTION = "Pose2Sim TOML (.toml)"
SUFFIXES = ()
UNIT = "m"

_NEW = {"adjusted": False, "error": 0.0}
_PER_FRAME = ("size", "matrix", "distortions", "rotation", "translation")


def matches(path: Path) -> bool:
    """Return True if the file is TOML with at least one table of a camera."""
    if not anipose.looks_like_toml(path):
        return False
    tables = anipose.camera_tables(anipose.parse_toml(path)).values()
    return any(isinstance(table, dict) and {"matrix", "rotation"} & table.keys() for table in tables)


def load(path: Path, *, frame: int | None = None) -> CameraGroup:
    """Load the cameras of the file, in the file's order.

    Args:
        path: Path of the file.
        frame: Index of the frame to load for moving cameras, from 0; None if no camera moves.

    Raises:
        InputError: `missing-argument`, if a camera moves and `frame` is None; `missing-frame`, if the camera has no
            such frame; further codes as in `mvgeom.formats.anipose.load`.
    """
    tables = anipose.camera_tables(anipose.parse_toml(path))
    resting = {
        key: _at_frame(table, key, frame, path) if isinstance(table, dict) and table.get("moving") else table
        for key, table in tables.items()
    }
    return records.assemble(anipose.read_tables(resting, path), path)


def save(cameras: CameraGroup, path: Path, *, metadata: Mapping[str, Any] | None = None) -> None:
    """Save the cameras as tables with the cameras' names; translations must already be in meters.

    Args:
        cameras: Cameras of one rig.
        path: Path of the file, replaced atomically.
        metadata: Content of the table `[metadata]`; None writes that of a new calibration of Pose2Sim. What else a file
            that is replaced has is left out with a warning.

    Raises:
        InputError: when a camera is fisheye, has more than 4 distortion coefficients that are not zero, or is named
            like the table `[metadata]`.
    """
    document: dict[str, Any] = {}
    rig = records.records_of(cameras)
    records.warn_skew(rig, "Pose2Sim, where it undistorts, and OpenCV")
    for record in rig:
        records.reject_fisheye(record, "Pose2Sim TOML")
        if record.name.lower() == "metadata":
            raise InputError(
                f"camera name {record.name!r} is that of a table of Pose2Sim TOML", code="bad-name", view=record.name
            )
        table = anipose.table_of(record, records.fit_distortion(record, 4, "Pose2Sim TOML"))
        document[record.name] = {**table, "size": record.size.tolist()}
    document["metadata"] = dict(_NEW if metadata is None else metadata)
    replaced = anipose.further_tables(path)
    records.warn_not_kept([key for key, value in replaced.items() if document.get(key) != value], path)
    write_text(path, tomli_w.dumps(document))


def _at_frame(table: dict[str, Any], key: str, frame: int | None, path: Path) -> dict[str, Any]:
    """Return the table of a moving camera with every field at one frame."""
    rotations = table.get("rotation")
    length = len(rotations) if isinstance(rotations, list) else 0
    if frame is None:
        raise InputError(
            f"{path}: camera [{key}] moves ({counted(length, 'frame')}). Give frame=, or write one pose with "
            "mvgeom convert -O frame=0",
            code="missing-argument",
            path=path,
            argument="frame",
        )
    if not 0 <= frame < length:
        raise InputError(
            f"{path}: camera [{key}]: no such frame, found {frame}, expected 0 to {length - 1}",
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
