"""Sessions and views of a new project, by the names of the videos, with help where names do not fit."""

from __future__ import annotations

import glob
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mvgeom.calibration.sources import VIDEO_SUFFIXES
from mvgeom.errors import InputError
from mvgeom.files import list_files
from mvgeom.wording import counted
from mvtrain.project.names import DEFAULT_PATTERN, NameRule, check_distinct, pattern_rule, split_name

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

_MAX_ROWS = 30
"""Rows of the table of names that do not fit."""


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Reading of the videos.

    Attributes:
        view_names: V names of the views.
        videos: Path of each video by session and view; every session has all views.
        left_out: Messages about videos and sessions that are left out.
    """

    view_names: tuple[str, ...]
    videos: dict[str, dict[str, Path]]
    left_out: tuple[str, ...]


def plan_sessions(
    sources: Sequence[VideoInput],
    *,
    cameras: Sequence[str],
    view_names: Sequence[str],
    pattern: str | None,
    skip: bool,
    console: Console,
) -> Plan:
    """Read session and view of every video from its name.

    Args:
        sources: Inputs of the user.
        cameras: Names of the calibration's cameras; empty without a calibration.
        view_names: Names of the views in their order; empty: those of the calibration, else those that names have.
        pattern: Pattern of session and view in the names of the videos; None: `DEFAULT_PATTERN`.
        skip: Leave out videos whose names do not fit, and sessions without a video of every view.
        console: Console for the table of names that do not fit.

    Raises:
        InputError: Names do not tell session and view, or those of the project would be read as others (`bad-name`); a
            session lacks a view (`missing-view`) or has two videos of one (`duplicate-name`); a view is named twice, or
            a video has two (`duplicate-name`); a given view is none of the project's (`missing-view`); a video is
            missing.
    """
    check_distinct(view_names, "--views", option="--views")
    paths = _find_paths(sources)
    # Names of views can have a "_", and then only the views tell where the name of the session ends.
    given = () if None in paths.values() else tuple(dict.fromkeys(view for view in paths.values() if view is not None))
    known = view_names or cameras
    pattern = pattern or DEFAULT_PATTERN
    rule, depth = pattern_rule(pattern, known or given), pattern_depth(pattern)
    named = [read_name(path, view, rule, depth) for path, view in paths.items()]
    unfit = [video for video in named if video.view is None]
    if unfit and (not skip or len(unfit) == len(named)):
        free = [video.path for video, view in zip(named, paths.values(), strict=True) if view is None]
        raise _unfit_names(unfit, pattern, known, suggest_pattern(free, known), cameras, console)
    sessions = _group_by_session(named)
    views = tuple(view_names) or _views_in_order(sessions, known)
    _check_given_views(sources, views)
    complete = {
        name: sessions[name] for name in sorted(sessions, key=natural_key) if set(views) <= sessions[name].keys()
    }
    problems = [
        f"session {name!r} has no video of view {', '.join(view for view in views if view not in videos)}"
        for name, videos in sessions.items()
        if name not in complete
    ]
    if not complete or (problems and not skip):
        raise _incomplete_sessions(problems, sessions, views, suggest_pattern(list(paths), known), pattern)
    outside = [f"{video.path}: the name does not fit {pattern}" for video in unfit]
    plan = Plan(
        view_names=views,
        videos={name: {view: videos[view] for view in views} for name, videos in complete.items()},
        left_out=(*outside, *problems),
    )
    _check_names_in_project(plan)
    return plan


def _find_paths(sources: Sequence[VideoInput]) -> dict[Path, str | None]:
    """Return the view that the user gave for each video; None where its name tells it.

    Raises:
        InputError: A video has two views (`duplicate-name`), or there is none (see `find_videos`).
    """
    paths: dict[Path, str | None] = {}
    for source in sources:
        for path in map(Path.absolute, find_videos(source)):
            other = paths.get(path)
            if other is not None and source.view is not None and other != source.view:
                raise InputError(
                    f"{path}: one video for two views, found --view {other} and --view {source.view}. Give each view "
                    "a folder or pattern of its own, or give the folder without --view and describe the names with "
                    "--pattern",
                    code="duplicate-name",
                    path=path,
                    views=(other, source.view),
                )
            paths[path] = source.view or other
    return paths


def _group_by_session(named: Sequence[NamedVideo]) -> dict[str, dict[str, Path]]:
    """Return the path of each video by session and view, without those whose names do not fit.

    Raises:
        InputError: `duplicate-name`, if a session has two videos of one view.
    """
    sessions: dict[str, dict[str, Path]] = defaultdict(dict)
    for video in named:
        if video.session is None or video.view is None:
            continue
        other = sessions[video.session].setdefault(video.view, video.path)
        if other != video.path:
            raise InputError(
                f"session {video.session!r}: two videos of view {video.view}, found {other} and {video.path}. Give "
                "only one of them, or describe the names with --pattern",
                code="duplicate-name",
                session=video.session,
                view=video.view,
                paths=(other, video.path),
            )
    return sessions


def _views_in_order(sessions: Mapping[str, Mapping[str, Path]], known: Sequence[str]) -> tuple[str, ...]:
    """Return the known views that have videos, or else all that have some, in natural order."""
    found = {view for videos in sessions.values() for view in videos}
    return tuple(view for view in known if view in found) or tuple(sorted(found, key=natural_key))


def _check_given_views(sources: Sequence[VideoInput], views: Sequence[str]) -> None:
    """Check that the project has every view that the user gave videos of."""
    for source in sources:
        if source.view is not None and source.view not in views:
            raise InputError(
                f"--view {source.view}={source.path}: not one of the project's views, found "
                f"{', '.join(views)}. Name it in --views or --cameras, or leave its videos out",
                code="missing-view",
                view=source.view,
                path=source.path,
                found=tuple(views),
            )


def _unfit_names(
    unfit: Sequence[NamedVideo],
    pattern: str,
    known: Sequence[str],
    suggestion: str | None,
    cameras: Sequence[str],
    console: Console,
) -> InputError:
    """Print a table of the names that do not fit, and return the error with the option that helps."""
    table = Table("video", "problem", title=f"names that do not fit {pattern}", title_justify="left", box=None)
    free = pattern_rule(pattern)
    for video in unfit[:_MAX_ROWS]:
        read = read_name(video.path, None, free, pattern_depth(pattern))
        problem = "no session and view" if read.view is None else f"no view named {read.view}"
        table.add_row(video.path.name, problem)
    if len(unfit) > _MAX_ROWS:
        table.add_row(f"... and {len(unfit) - _MAX_ROWS} more", "")
    console.print(table)
    if known:
        console.print(f"known views: {', '.join(known)}", soft_wrap=True)
    if suggestion is not None:
        help_text = f"All names fit --pattern '{suggestion}'"
    else:
        help_text = "Describe the names with --pattern, or give the videos of each view with --view NAME=PATH"
        help_text += ", or name the cameras of the views with --cameras VIEW=CAMERA,..." if cameras else ""
    return InputError(
        f"{unfit[0].path}: cannot tell session and view from the name, found {counted(len(unfit), 'such name')}, "
        f"expected {pattern}{' with a known view' if known else ''}. {help_text}. --skip leaves these videos out",
        code="bad-name",
        path=unfit[0].path,
        found=tuple(video.path.name for video in unfit),
        suggestion=suggestion,
    )


def _incomplete_sessions(
    problems: Sequence[str],
    sessions: Mapping[str, Mapping[str, Path]],
    views: Sequence[str],
    suggestion: str | None,
    pattern: str,
) -> InputError:
    """Return the error for sessions that lack a view."""
    first = next(name for name, videos in sessions.items() if not set(views) <= videos.keys())
    missing = [view for view in views if view not in sessions[first]]
    help_text = f"All names fit --pattern '{suggestion}'" if suggestion not in (None, pattern) else "Give the videos"
    return InputError(
        f"{'; '.join(problems[:_MAX_ROWS])}; expected videos of {', '.join(views)}. {help_text}, or leave such "
        "sessions out with --skip",
        code="missing-view",
        session=first,
        view=missing[0],
        expected=tuple(views),
        suggestion=suggestion,
    )


def _check_names_in_project(plan: Plan) -> None:
    """Check that the project's own names, `<session>_<view>`, are read as the same sessions and views."""
    rule = pattern_rule(DEFAULT_PATTERN, plan.view_names)
    for session in plan.videos:
        for view in plan.view_names:
            parts = rule.split(f"{session}_{view}")
            if parts is None or (parts.session, parts.view) != (session, view) or "/" in session or "\\" in session:
                raise InputError(
                    f"session {session!r}, view {view!r}: the name {session}_{view} would be read as another session "
                    "or view. Rename the session or the view",
                    code="bad-name",
                    session=session,
                    view=view,
                )
