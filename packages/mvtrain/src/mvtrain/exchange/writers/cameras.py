"""The calibration beside converted predictions, as far as the foreign format can hold it."""

from __future__ import annotations

from pathlib import Path

from mvgeom import CameraGroup


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
