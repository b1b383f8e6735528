"""Calibration files: `load` detects the format by content, `save` selects it by name or suffix. One module per format.

Each format has its own convention, described in its module. `load` always returns a `CameraGroup` in float64 NumPy with
OpenCV's conventions, in the file's unit. If a format cannot hold a camera, `save` raises an error and drops nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.files import composed
from mvgeom.formats import (
    acinoset,
    anipose,
    caliscope,
    colmap,
    dannce,
    dlt,
    easymocap,
    freemocap,
    jarvis,
    json_file,
    multical,
    opencv,
    openpose,
    panoptic,
    pose2sim,
    qualisys,
)

__all__ = ["FORMATS", "METERS_PER_UNIT", "Format", "identify", "load", "save"]


class Format(Protocol):
    """Interface of a module of this package.

    One that is only read has `READ_ONLY = True`, and its `save` raises. One whose program has a unit of length, in
    which it reads and writes translations, has it as `UNIT`, a key of `METERS_PER_UNIT`.
    """

    NAME: str
    DESCRIPTION: str
    SUFFIXES: tuple[str, ...]
    load: Callable[..., CameraGroup]
    save: Callable[..., None]
    matches: Callable[[Path], bool]


METERS_PER_UNIT = {"m": 1.0, "cm": 0.01, "mm": 0.001}
"""Length in meters of each unit that a format has."""

# The first that matches reads the file: opencv comes after those who write OpenCV's YAML or XML with their own entries,
# anipose after those whose TOML is much like its own.
FORMATS: dict[str, Format] = {
    module.NAME: cast(Format, module)
    for module in (
        caliscope,
        freemocap,
        anipose,
        pose2sim,
        json_file,
        panoptic,
        multical,
        acinoset,
        qualisys,
        easymocap,
        colmap,
        jarvis,
        openpose,
        dannce,
        opencv,
        dlt,
    )
}


def load(path: str | Path, *, file_format: str | None = None, **options: Any) -> CameraGroup:
    """Load the cameras of a calibration file or folder.

    Args:
        path: Path of the calibration file, or of the folder if the format is a folder.
        file_format: Name of the format, a key of `FORMATS`; None detects it by the content.
        options: Options of the format's own `load`. The most common one is `sizes`, image width and height in px (for
            all cameras or by name), for formats that do not store them.

    Returns:
        Cameras in float64 NumPy, in the file's unit. Accents in names are part of their letters (NFC).

    Raises:
        InputError: `missing-file`, if the file does not exist; `unknown-format`, if no format matches (the message
            lists them); `unknown-choice`, if the format has no such option; further codes, if the content is wrong (the
            message names file, camera and field).
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder", code="missing-file", path=path)
    chosen = _named(file_format) if file_format else identify(path)
    _check_options(chosen, chosen.load, options)
    cameras = chosen.load(path, **options)
    names = tuple(map(composed, cameras.names))
    return cameras if names == cameras.names else cameras.replace(names=names)


def save(cameras: CameraGroup, path: str | Path, *, file_format: str | None = None, **options: Any) -> None:
    """Save the cameras to a calibration file or folder; every file is replaced atomically.

    Args:
        cameras: Cameras of one rig, arrays of any library; the unit is kept.
        path: Path of the calibration file, or of the folder if the format is a folder.
        file_format: Name of the format, a key of `FORMATS`; None selects it by the suffix.
        options: Options of the format's own `save`.

    Raises:
        InputError: `unknown-format`, if the suffix belongs to no format; `unknown-choice`, if the format has no such
            option; `unsupported-camera` or `bad-name`, if the format cannot hold the cameras without loss;
            `unwritable-file`, if the file cannot be written.
    """
    path = Path(path)
    chosen = _named(file_format) if file_format else _by_suffix(path)
    _check_options(chosen, chosen.save, options)
    chosen.save(cameras, path, **options)


def identify(path: Path) -> Format:
    """Identify the format of an existing file or folder by its content.

    Raises:
        InputError: `unknown-format`, if no format matches; the message lists the known formats.
    """
    for candidate in FORMATS.values():
        if candidate.matches(path):
            return candidate
    known = "; ".join(each.DESCRIPTION for each in FORMATS.values())
    raise InputError(
        f"{path}: not a calibration in a known format, expected one of: {known}", code="unknown-format", path=path
    )


def _named(name: str) -> Format:
    if name not in FORMATS:
        raise InputError(
            f"file_format: unknown calibration format, found {name!r}, expected one of {', '.join(FORMATS)}",
            code="unknown-format",
            argument="file_format",
            found=name,
        )
    return FORMATS[name]


def _by_suffix(path: Path) -> Format:
    for candidate in FORMATS.values():
        if any(path.name.lower().endswith(suffix) for suffix in candidate.SUFFIXES):
            return candidate
    written = {name: each for name, each in FORMATS.items() if not getattr(each, "READ_ONLY", False)}
    known = "; ".join(f"{name}: {each.DESCRIPTION}" for name, each in written.items())
    raise InputError(
        f"{path}: no format has this suffix. Give file_format=, on the command line --to, as one of: {known}",
        code="unknown-format",
        path=path,
    )


def _check_options(chosen: Format, function: Callable[..., Any], options: dict[str, Any]) -> None:
    accepted = [name for name, each in inspect.signature(function).parameters.items() if each.kind is each.KEYWORD_ONLY]
    unknown = [name for name in options if name not in accepted]
    if unknown:
        takes = f"it takes {', '.join(accepted)}" if accepted else "it takes none"
        raise InputError(
            f"{chosen.DESCRIPTION}: unknown option for this operation, found {', '.join(unknown)}; {takes}",
            code="unknown-choice",
            argument=unknown[0],
            expected=tuple(accepted),
        )
