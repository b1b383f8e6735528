"""Calibration files: `load` finds the format by content, `save` by name or suffix. One module per format.

Whatever a file's own convention (stated in its module), what comes back is a `CameraGroup` in float64 NumPy with
OpenCV's conventions, in the file's unit. A format that cannot hold a camera says so instead of dropping what it cannot
hold.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
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

__all__ = ["FORMATS", "Format", "identify", "load", "save"]


class Format(Protocol):
    """Interface of a module of this package; one that is only read has `READ_ONLY = True`, and its `save` raises."""

    NAME: str
    DESCRIPTION: str
    SUFFIXES: tuple[str, ...]
    load: Callable[..., CameraGroup]
    save: Callable[..., None]
    matches: Callable[[Path], bool]


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
    """Read the cameras of a calibration file or folder.

    Args:
        path: the file, or the folder of a format that is one.
        file_format: a key of `FORMATS`; found by the content when None.
        options: of the format's own `load`; most common is `sizes`, image width and height in px (for all cameras or by
            name), for formats that do not store them.

    Returns:
        The cameras in float64 NumPy, in the file's unit.

    Raises:
        InputError: when there is no such file, no format matches (the message lists them), an option does not belong to
            the format, or the content is wrong (the message names file, camera and field).
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder", code="missing-file", path=path)
    chosen = _named(file_format) if file_format else identify(path)
    _check_options(chosen, chosen.load, options)
    return chosen.load(path, **options)


def save(cameras: CameraGroup, path: str | Path, *, file_format: str | None = None, **options: Any) -> None:
    """Write the cameras to a calibration file or folder; every file is replaced whole or not at all.

    Args:
        cameras: one rig, arrays of any backend; its unit is kept.
        path: the file, or the folder for a format that is one.
        file_format: a key of `FORMATS`; chosen by the suffix when None.
        options: of the format's own `save`.

    Raises:
        InputError: when the suffix belongs to no format, an option does not belong to the format, the format cannot
            hold the cameras without loss, or the file cannot be written.
    """
    path = Path(path)
    chosen = _named(file_format) if file_format else _by_suffix(path)
    _check_options(chosen, chosen.save, options)
    chosen.save(cameras, path, **options)


def identify(path: Path) -> Format:
    """Identify the format of an existing file or folder by its content.

    Raises:
        InputError: when none matches; the message lists the known ones.
    """
    for candidate in FORMATS.values():
        if candidate.matches(path):
            return candidate
    known = "; ".join(each.DESCRIPTION for each in FORMATS.values())
    raise InputError(
        f"{path}: not a calibration in a known format. Known are: {known}", code="unknown-format", path=path
    )


def _named(name: str) -> Format:
    if name not in FORMATS:
        raise InputError(
            f"no calibration format {name!r}; there are {', '.join(FORMATS)}",
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
        f"{path}: the name does not tell the format to write; give file_format=, on the command line --to, "
        f"one of: {known}",
        code="unknown-format",
        path=path,
    )


def _check_options(chosen: Format, function: Callable[..., Any], options: dict[str, Any]) -> None:
    accepted = [name for name, each in inspect.signature(function).parameters.items() if each.kind is each.KEYWORD_ONLY]
    unknown = [name for name in options if name not in accepted]
    if unknown:
        takes = f"it takes {', '.join(accepted)}" if accepted else "it takes none"
        raise InputError(
            f"{chosen.DESCRIPTION} has no option {', '.join(unknown)} here; {takes}",
            code="unknown-choice",
            argument=unknown[0],
            expected=tuple(accepted),
        )
