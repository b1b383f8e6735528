"""Options of the writers of predictions, and the writer of calibrations."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from mvgeom import CameraGroup
from mvgeom.errors import InputError


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """Options of one recording.

    Attributes:
        frame_rate: Frames per second; None if unknown.
        cameras: Cameras in the order of the views; None if there are none.
        unit: Unit of the calibration, a key of `mvgeom.formats.METERS_PER_UNIT`; None if unknown.
        up: World axis that points up, "y" or "z".
        start: Time at which the recording starts, with its time zone; None if unknown.
        skeleton: Pairs of keypoints that are joined by a bone.
    """

    frame_rate: float | None
    cameras: CameraGroup | None
    unit: str | None
    up: str
    start: datetime.datetime | None = None
    skeleton: tuple[tuple[str, str], ...] = ()


def write_cameras(cameras: CameraGroup | None, path: Path, file_format: str) -> list[str]:
    """Write a calibration, and make its folder.

    Cameras that the format cannot store are a note, not an error, because predictions are useful without them.

    Args:
        cameras: Cameras to write; None if unknown.
        path: File to write.
        file_format: Name of a format of mvgeom.

    Returns:
        Note for the user if no calibration is written.

    Raises:
        InputError: `unwritable-file`.
    """
    if cameras is None:
        return ["no calibration written, because none is known. Give one with --calibration"]
    is_new = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        cameras.save(path, file_format=file_format)
    except InputError as error:
        if error.code == "unwritable-file":
            raise
        if is_new:
            path.parent.rmdir()
        return [f"no calibration written: {error}"]
    return []
