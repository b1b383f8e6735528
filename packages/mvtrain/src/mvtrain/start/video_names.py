"""Videos of a recording system: search, session and view by their names, and patterns that fit the names."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mvgeom.calibration.sources import VIDEO_SUFFIXES
from mvgeom.errors import InputError
from mvgeom.files import list_files
from mvgeom.wording import counted
from mvtrain.project.names import DEFAULT_PATTERN, NameRule, pattern_rule, split_name

SUGGESTED_PATTERNS = (
    DEFAULT_PATTERN,
    "<view>_<session>",
    "<session>-<view>",
    "<view>-<session>",
    "<session>.<view>",
    "<view>.<session>",
    "<session>/<view>",
    "<view>/<session>",
    "<view>",
)
"""Patterns that are tried where names do not fit, the most usual first."""


@dataclass(frozen=True, kw_only=True)
class VideoInput:
    """A file, folder or glob pattern that the user gave, and its view if the user gave one."""

    path: Path
    view: str | None = None


@dataclass(frozen=True, kw_only=True)
class NamedVideo:
    """A video with the session and view that its name tells.

    Attributes:
        path: Path of the file.
        session: Name of the session; None where the name does not fit.
        view: Name of the view; None where the name does not fit.
    """

    path: Path
    session: str | None
    view: str | None


def find_videos(source: VideoInput) -> list[Path]:
    """Find the videos of an input: the file itself, those in a folder and its folders, or those that match a pattern.

    Raises:
        InputError: There is no such file or folder, or no video in it (`missing-file`), or the file has another suffix
            than videos have (`unsupported-file`).
    """
    path, text = source.path, str(source.path)
    if path.is_file():
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            raise InputError(
                f"{path}: not a video by its name, expected one of {', '.join(VIDEO_SUFFIXES)}",
                code="unsupported-file",
                path=path,
            )
        return [path]
    if path.is_dir():
        found = list_files(path, "**/*")
    elif glob.has_magic(text):
        found = [Path(match) for match in glob.glob(text, recursive=True)]  # noqa: PTH207 (pathlib refuses absolute patterns)
    else:
        raise InputError(f"{path}: no such file or folder", code="missing-file", path=path)
    videos = [file for file in found if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()]
    videos = [file for file in videos if not file.name.startswith(".")]
    if not videos:
        number = counted(len(found), "other file or folder", "other files and folders")
        raise InputError(
            f"{path}: no videos, found {number}, expected {', '.join(VIDEO_SUFFIXES)}",
            code="missing-file",
            path=path,
        )
    return sorted(videos, key=natural_key)


def read_name(path: Path, view: str | None, rule: NameRule, depth: int) -> NamedVideo:
    """Read session and view from the name of a video, by the rule of `mvtrain import`.

    Args:
        path: Path of the video.
        view: View given by the user, or None.
        rule: Rule that splits names.
        depth: Number of parts of the path that the rule is about, folders included.
    """
    name = "/".join(path.with_suffix("").parts[-depth:])
    if view is None and rule.split(name) is None:
        return NamedVideo(path=path, session=None, view=None)
    parts = split_name(name if view is None else path.stem, view, rule, str(path))
    return NamedVideo(path=path, session=parts.session, view=parts.view)


def pattern_depth(pattern: str) -> int:
    """Return the number of parts of a path that a pattern is about."""
    return pattern.count("/") + 1


def suggest_pattern(videos: Sequence[Path], views: Sequence[str]) -> str | None:
    """Find a pattern by which every session has a video of every view.

    Args:
        videos: Paths of the videos.
        views: Names of the views if they are known, as from a calibration; empty: any names, but at least two.

    Returns:
        The first such pattern of `SUGGESTED_PATTERNS`; None if there is none.
    """
    for pattern in SUGGESTED_PATTERNS:
        rule = pattern_rule(pattern, views)
        named = [read_name(path, None, rule, pattern_depth(pattern)) for path in videos]
        if any(video.view is None for video in named):
            continue
        places = {(video.session, video.view) for video in named}
        found_views = {view for _, view in places}
        sessions = {session for session, _ in places}
        if len(places) == len(videos) == len(found_views) * len(sessions) and (views or len(found_views) > 1):
            return pattern
    return None


def natural_key(value: Path | str) -> list[tuple[int, int, str]]:
    """Return a key that sorts by the numbers in a text: cam2 before cam10."""
    parts = re.split(r"(\d+)", str(value))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
