"""Calibrations of new projects: files of any format, their cameras under the names of the views, and their copies."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mvgeom import CameraGroup
from mvgeom.clock_files import copy_clocks
from mvgeom.errors import InputError
from mvgeom.files import list_files

_TOML = ".toml"


@dataclass(frozen=True, kw_only=True, eq=False)
class RigFile:
    """Cameras of a calibration file.

    Attributes:
        path: Path of the file or folder.
        cameras: Cameras, named as the views.
        is_unchanged: True if the file itself has these names and sizes, so that it can be copied.
        needs_sizes: True if the file has no image sizes, so that those of the videos are taken.
        renamed: Names of the views by names of the file's cameras, where they differ.
    """

    path: Path
    cameras: CameraGroup
    is_unchanged: bool = True
    needs_sizes: bool = False
    renamed: Mapping[str, str] = field(default_factory=dict)


def read_rigs(given: Path, renamed: Mapping[str, str]) -> dict[str | None, RigFile]:
    """Read calibrations: one for all sessions under the key None, or one for each session by its name.

    Args:
        given: Calibration file or folder of any format that mvgeom reads, or folder of `<session>.toml`.
        renamed: Names of the views by names of the file's cameras; others keep their names.

    Raises:
        InputError: The path does not exist, is not a calibration, or has no camera of a name in `renamed`
            (`missing-view`).
    """
    if not given.exists():
        raise InputError(f"--calibration {given}: no such file or folder", code="missing-file", path=given)
    files = list_files(given, f"*{_TOML}") if given.is_dir() else []
    if files:
        return {path.stem: _read_rig(path, renamed) for path in files}
    return {None: _read_rig(given, renamed)}


def _read_rig(path: Path, renamed: Mapping[str, str]) -> RigFile:
    """Read one calibration; sizes that it lacks are 1 px until `with_sizes`."""
    needs_sizes = False
    try:
        cameras = CameraGroup.load(path)
    except InputError as error:
        if error.code != "missing-size":
            raise
        cameras, needs_sizes = CameraGroup.load(path, sizes=(1, 1)), True
    missing = [name for name in renamed if name not in cameras.names]
    if missing:
        raise InputError(
            f"--cameras: {path} has no camera {missing[0]!r}, found {', '.join(cameras.names)}",
            code="missing-view",
            path=path,
            view=missing[0],
            found=cameras.names,
        )
    names = tuple(renamed.get(name, name) for name in cameras.names)
    return RigFile(
        path=path,
        cameras=cameras.replace(names=names),
        is_unchanged=not needs_sizes and names == tuple(cameras.names),
        needs_sizes=needs_sizes,
        renamed=renamed,
    )


def with_sizes(rig: RigFile, sizes: Mapping[str, tuple[int, int]]) -> RigFile:
    """Give cameras without image sizes those of the videos; cameras without a video are left out.

    Args:
        rig: Cameras as read.
        sizes: Width and height of the videos in px, by view.
    """
    if not rig.needs_sizes:
        return rig
    cameras = rig.cameras.select([name for name in rig.cameras.names if name in sizes])
    widths_heights = [[float(length) for length in sizes[name]] for name in cameras.names]
    return RigFile(
        path=rig.path, cameras=cameras.replace(sizes=widths_heights), is_unchanged=False, renamed=rig.renamed
    )


def save_rig(rig: RigFile, target: Path) -> None:
    """Write a calibration as TOML, with the clocks beside it; a TOML file is copied as it is.

    Raises:
        InputError: The cameras cannot be stored as anipose's TOML (`unsupported-camera`, `bad-name`).
    """
    if rig.is_unchanged and rig.path.is_file() and rig.path.suffix.lower() == _TOML:
        shutil.copyfile(rig.path, target)
    else:
        rig.cameras.save(target, file_format="anipose")
    copy_clocks(rig.path, target, rig.renamed)


def parse_renaming(text: str | None) -> dict[str, str]:
    """Return views by cameras of `top=cam0,side=cam1`.

    Raises:
        InputError: The text does not have this form, or a name occurs twice (`bad-option`).
    """
    renamed: dict[str, str] = {}
    for part in text.split(",") if text else ():
        view, equals, camera = (piece.strip() for piece in part.partition("="))
        if not equals or not view or not camera or camera in renamed or view in renamed.values():
            raise InputError(
                f"--cameras: not VIEW=CAMERA,..., found {part!r} in {text!r}, expected for example top=cam0,side=cam1",
                code="bad-option",
                option="--cameras",
                found=text,
            )
        renamed[camera] = view
    return renamed


def check_views(rigs: Mapping[str | None, RigFile], sessions: Sequence[str], views: Sequence[str]) -> None:
    """Check that every calibration has a camera of every view.

    Raises:
        InputError: A camera is missing (`missing-view`), or no calibration is that of a session (`no-calibration`).
    """
    used = {key: rig for key, rig in rigs.items() if key is None or key in sessions}
    if rigs and not used:
        raise InputError(
            f"--calibration: no file is named after a session, found {', '.join(f'{key}{_TOML}' for key in rigs)}, "
            f"expected {', '.join(f'{session}{_TOML}' for session in sessions)}",
            code="no-calibration",
            found=tuple(rigs),
            expected=tuple(sessions),
        )
    for rig in used.values():
        missing = [view for view in views if view not in rig.cameras.names]
        if missing:
            raise InputError(
                f"{rig.path}: the calibration has no camera named {', '.join(missing)}, found "
                f"{', '.join(rig.cameras.names)}, expected the views {', '.join(views)}. Name the cameras of the views "
                f"with --cameras {missing[0]}=CAMERA,...",
                code="missing-view",
                path=rig.path,
                view=missing[0],
                found=tuple(rig.cameras.names),
                expected=tuple(views),
            )
