"""The file with the clocks of cameras, beside their calibration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mvgeom.clocks import Clocks
from mvgeom.documents import parse_json
from mvgeom.errors import InputError
from mvgeom.files import read_text, write_text

__all__ = ["CLOCKS_SUFFIX", "clocks_file", "copy_clocks", "find_clocks", "load_clocks", "save_clocks"]

CLOCKS_SUFFIX = ".sync.json"
"""End of the file's name, after the calibration's name without its suffix."""

_PURPOSE = (
    "Clocks of cameras. What the reference shows at t seconds of its recording, a camera shows at "
    "offset + (1 + drift) t seconds of its own. Written by mvgeom sync."
)
_FIELDS = ("offset", "drift", "offset_std", "drift_std")


def clocks_file(calibration: Path) -> Path:
    """Return the path of the clocks that belong to a calibration file or folder, beside it, which need not exist."""
    path = calibration if calibration.name not in ("", "..") else calibration.resolve()
    name = path.name if path.is_dir() else path.stem
    return path.with_name(f"{name}{CLOCKS_SUFFIX}")


def find_clocks(calibration: Path) -> Clocks | None:
    """Load the clocks beside a calibration; None where there are none.

    Raises:
        InputError: As `load_clocks`.
    """
    path = clocks_file(calibration)
    return load_clocks(path) if path.is_file() else None


def copy_clocks(calibration: Path, target: Path, renamed: Mapping[str, str] | None = None) -> Path | None:
    """Write the clocks beside a calibration beside a copy of it, too; return their path, None where there are none.

    Args:
        calibration: Calibration file or folder.
        target: Its copy.
        renamed: New names of cameras by old ones; others keep their names.

    Raises:
        InputError: As `load_clocks` and `save_clocks`.
    """
    clocks, path = find_clocks(calibration), clocks_file(target)
    if clocks is None:
        return None
    if renamed:
        names = tuple(renamed.get(name, name) for name in clocks.names)
        clocks = replace(clocks, names=names, reference=renamed.get(clocks.reference, clocks.reference))
    if renamed or path.absolute() != clocks_file(calibration).absolute():
        save_clocks(clocks, path)
    return path


def load_clocks(path: Path) -> Clocks:
    """Load the clocks of cameras from their JSON file.

    Raises:
        InputError: `unreadable-file`, `not-text` or `invalid-syntax`, if it is no JSON; `missing-field`, `bad-field` or
            `bad-number`, if an entry is missing or wrong; further codes of `Clocks`. The message names the file.
    """
    document = parse_json(read_text(path), path)
    cameras = document.get("cameras") if isinstance(document, dict) else None
    if not isinstance(cameras, dict) or not cameras:
        raise InputError(
            f"{path}: not the clocks of cameras: there is no map 'cameras'. Write it with mvgeom sync",
            code="missing-field",
            path=path,
            field="cameras",
        )
    reference = document.get("reference")
    if not isinstance(reference, str) or reference not in cameras:
        raise InputError(
            f"{path}: reference must be one of the cameras, found {reference!r}, expected one of {list(cameras)}",
            code="bad-field",
            path=path,
            field="reference",
        )
    rows = [_read_camera(name, entry, path) for name, entry in cameras.items()]
    rate = _number(document.get("frame_rate"), f"{path}: frame_rate", path, "frame_rate")
    try:
        return Clocks(
            names=tuple(cameras),
            reference=reference,
            frame_rate=rate,
            **{field: np.array([row[field] for row in rows]) for field in _FIELDS},
        )
    except InputError as error:
        raise error.prefixed(f"{path}: ", path=path) from error


def save_clocks(clocks: Clocks, path: Path) -> None:
    """Save the clocks of cameras as JSON; the file is replaced atomically.

    Raises:
        InputError: `unwritable-file`, if the file cannot be written.
    """
    cameras: dict[str, dict[str, float | None]] = {}
    for row, name in enumerate(clocks.names):
        values = {field: float(getattr(clocks, field)[row]) for field in _FIELDS}
        cameras[name] = {field: value if np.isfinite(value) else None for field, value in values.items()}
    document = {
        "purpose": _PURPOSE,
        "units": {"offset": "s", "drift": "s per s", "frame_rate": "frames per s"},
        "reference": clocks.reference,
        "frame_rate": clocks.frame_rate,
        "cameras": cameras,
    }
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _read_camera(name: str, entry: Any, path: Path) -> dict[str, float]:
    if not isinstance(entry, dict):
        raise InputError(
            f"{path}: camera {name!r}: must be a map, found {entry!r}", code="bad-field", path=path, view=name
        )
    missing = [field for field in ("offset", "drift") if field not in entry]
    if missing:
        raise InputError(
            f"{path}: camera {name!r} has no {missing[0]}", code="missing-field", path=path, view=name, field=missing[0]
        )
    values = {field: entry.get(field) for field in _FIELDS}
    return {
        field: float("nan")
        if value is None and field.endswith("_std")
        else _number(value, f"{path}: camera {name!r}: {field}", path, field)
        for field, value in values.items()
    }


def _number(value: Any, where: str, path: Path, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where} must be a number, found {value!r}", code="bad-number", path=path, field=field)
    return float(value)
