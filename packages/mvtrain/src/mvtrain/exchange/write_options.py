"""What writers are told beside the predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mvgeom import CameraGroup

METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
"""Units that a calibration can be in."""


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """Options of one recording.

    Attributes:
        frame_rate: frames per second; None where it is not known.
        cameras: in the order of the views; None where there are none.
        unit: of the calibration, a key of `METRES`; None where the user did not say.
        up: axis of the world that points up, "y" or "z".
    """

    frame_rate: float | None
    cameras: CameraGroup | None
    unit: str | None
    up: str


def write_cameras(cameras: CameraGroup | None, path: Path, file_format: str) -> list[str]:
    """Write a calibration, and make its folder.

    Predictions are worth having without it, so what the format cannot hold is told and does not stop anything.

    Args:
        cameras: None where none is known.
        path: of the file.
        file_format: of mvgeom.

    Returns:
        What the user should know: why there is none.
    """
    if cameras is None:
        return ["no calibration written: none is known; --calibration names one"]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        cameras.save(path, file_format=file_format)
    except ValueError as error:
        return [f"no calibration written: {error}"]
    return []
