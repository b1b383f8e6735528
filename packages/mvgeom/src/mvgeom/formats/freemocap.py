"""FreeMoCap's calibration TOML: anipose's, with FreeMoCap's own entries in `[metadata]` and tables beside it.

Convention: that of anipose TOML (K not transposed, rotation vector, world to camera), translations in mm. Every table
is a camera but `[metadata]` and those named like FreeMoCap's metadata (`charuco_...`, `groundplane_...`,
`recording_info`). Tables without extrinsics are left out with a warning.

Layout after `freemocap_test_data_camera_calibration.toml` and the metadata that `anipose_camera_calibrator.py` of
FreeMoCap sets: `charuco_square_size`, `charuco_board_object`, `path_to_recorded_videos`, `date_time_calibrated`,
`groundplane_calibration`, `recording_info`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

from mvgeom.cameras import CameraGroup
from mvgeom.formats import anipose, records

__all__ = ["DESCRIPTION", "NAME", "READ_ONLY", "SUFFIXES", "load", "matches", "save"]

NAME = "freemocap"
DESCRIPTION = "FreeMoCap calibration TOML"
SUFFIXES = ()
UNIT = "mm"
READ_ONLY = True

_OWN = re.compile(r"charuco_\w+|groundplane_\w+|recording_info|path_to_recorded_videos|date_time_calibrated")


def matches(path: Path) -> bool:
    """Return True if the file is TOML whose `[metadata]` has one of FreeMoCap's entries."""
    if not anipose.looks_like_toml(path):
        return False
    metadata = anipose.parse_toml(path).get("metadata")
    return isinstance(metadata, dict) and any(_OWN.fullmatch(key) for key in metadata)


def load(path: Path) -> CameraGroup:
    """Load the cameras of the file, in its order, translations in mm.

    Raises:
        InputError: see `mvgeom.formats.anipose.load`.
    """
    tables = anipose.camera_tables(anipose.parse_toml(path))
    cameras = {key: table for key, table in tables.items() if not _OWN.fullmatch(key)}
    return records.assemble(anipose.read_tables(cameras, path), path)


def save(cameras: CameraGroup, path: Path) -> NoReturn:
    """Raise InputError: the format is only read; FreeMoCap reads anipose TOML."""
    records.refuse_to_write(DESCRIPTION)
