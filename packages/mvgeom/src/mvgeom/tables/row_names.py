"""Names of rows: frame and session in image paths, and the session in names of recordings.

The rule is that of `<session>_<view>`: a folder of images, or a video, is named by its session and its view. Also read
are `<view>_<session>` and folders of views inside a folder of the session (`<session>/<view>`).
"""

from __future__ import annotations

import re
from os.path import commonprefix
from pathlib import PurePosixPath

__all__ = [
    "frame_of_row",
    "is_frame_number",
    "session_of_recording",
    "session_of_row",
    "unlike_part",
    "without_decimals",
]

_LABELS = "CollectedData_"

_WHOLE = re.compile(r"(\d+)(?:[.,]0*)?")


def is_frame_number(row: str) -> bool:
    """Return True if an index entry is a frame number, False for the path or name of an image."""
    return row.isdecimal()


def without_decimals(rows: tuple[str, ...]) -> tuple[str, ...]:
    """Return frame numbers that were written as decimals (`0.0`, `1.0`) without them; other index entries unchanged."""
    found = [_WHOLE.fullmatch(row) for row in rows]
    if any(each is None for each in found) or all(map(is_frame_number, rows)):
        return rows
    return tuple(each[1] for each in found if each is not None)


def frame_of_row(row: str) -> str:
    """Return the part of an index entry that must agree between views: frame number, or file name of an image."""
    return _path(row).name


def session_of_row(row: str, view: str, table: str = "") -> tuple[str, str] | None:
    """Find the session of an image path, by the folder that names the view.

    Args:
        row: Image path as written in the table.
        view: Name of the view.
        table: Name of the table without suffix; that of `CollectedData_<name>` is another name of the view.

    Returns:
        Form of the folders and name of the session; sessions of the same form can be compared between views. None if no
        folder names the view.
    """
    parent = _path(row).parent
    for name in (view, table.removeprefix(_LABELS)):
        if not name:
            continue
        if parent.name.endswith(f"_{name}"):
            return "<session>_<view>", parent.name.removesuffix(f"_{name}")
        if parent.name.startswith(f"{name}_"):
            return "<view>_<session>", parent.name.removeprefix(f"{name}_")
        if parent.name == name:
            return "<session>/<view>", parent.parent.name
    return None


def session_of_recording(recording: str, view: str) -> str | None:
    """Return the session of a recording named `<session>_<view>`, also with DeepLabCut's ending; None otherwise."""
    name = re.split(r"DLC[_-]", recording, maxsplit=1)[0]
    return name.removesuffix(f"_{view}") if name.endswith(f"_{view}") else None


def unlike_part(rows: tuple[str, ...]) -> list[str]:
    """Return the folder of each image path, without the beginning and end that the folders of all rows share."""
    folders = [_path(row).parent.name for row in rows]
    # By characters: sessions of a view may be called s1_top and s2_top.
    start = len(commonprefix(folders))  # noqa: RUF071
    end = len(commonprefix([folder[start:][::-1] for folder in folders]))  # noqa: RUF071
    return [folder[start : len(folder) - end] for folder in folders]


def _path(row: str) -> PurePosixPath:
    return PurePosixPath(row.replace("\\", "/"))  # tables written on Windows
