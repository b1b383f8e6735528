"""Calibration files: `load` finds the format by content, `save` by name or suffix. One module per format.

Whatever a file's own convention, what comes back is a `CameraGroup` in float64 NumPy with OpenCV's conventions.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from mvgeom.cameras import CameraGroup
from mvgeom.formats import anipose

FORMATS: tuple[ModuleType, ...] = (anipose,)


def load(path: str | Path, **options: Any) -> CameraGroup:
    """Read a calibration."""
    return anipose.load(Path(path), **options)


def save(cameras: CameraGroup, path: str | Path, **options: Any) -> None:
    """Write a calibration."""
    anipose.save(cameras, Path(path), **options)
