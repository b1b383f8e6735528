"""Calibrations of the sessions that are imported: found, checked against the views, and written."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from mvgeom import CameraGroup

_TOML = ".toml"


def find_calibrations(sources: Sequence[Path], given: Path | None) -> dict[str | None, Path]:
    """Calibration files by session; the key None is for all other sessions.

    Args:
        sources: folders or files of the foreign project; `calibrations/<session>.toml` and `calibration.toml` beside
            them count.
        given: a calibration file of any format, or a folder of `<session>.toml`; then nothing else counts.

    Raises:
        ValueError: `given` does not exist, or is a folder without any.
    """
    if given is not None:
        if not given.exists():
            raise ValueError(f"calibration {given} does not exist")
        if not given.is_dir():
            return {None: given}
        found: dict[str | None, Path] = {path.stem: path for path in sorted(given.glob(f"*{_TOML}"))}
        if not found:
            raise ValueError(f"calibration folder {given} has no <session>.toml")
        return found
    result: dict[str | None, Path] = {}
    for source in sources:
        folder = source if source.is_dir() else source.parent
        for path in sorted((folder / "calibrations").glob(f"*{_TOML}")):
            result.setdefault(path.stem, path)
        if (folder / "calibration.toml").is_file():
            result.setdefault(None, folder / "calibration.toml")
    return result


def write_calibrations(
    folder: Path, calibrations: Mapping[str | None, Path], sessions: Sequence[str], views: Sequence[str]
) -> int:
    """Write `<session>.toml` for each session that has a calibration.

    TOML is copied as it is, other formats are written as anipose's TOML.

    Returns:
        How many sessions have one.

    Raises:
        ValueError: a file cannot be read, lacks a view (the message has both lists), or holds cameras that TOML cannot.
    """
    number = 0
    for session in sessions:
        path = calibrations.get(session, calibrations.get(None))
        if path is None:
            continue
        cameras = CameraGroup.load(path)
        missing = [view for view in views if view not in cameras.names]
        if missing:
            raise ValueError(
                f"calibration {path} has the cameras {', '.join(cameras.names)}, but the views are {', '.join(views)}; "
                "--pattern and --view say what the views are called"
            )
        folder.mkdir(exist_ok=True)
        target = folder / f"{session}{_TOML}"
        if path.suffix.lower() == _TOML:
            shutil.copyfile(path, target)
        else:
            cameras.save(target, file_format="anipose")
        number += 1
    return number
