"""Command `mvtrain init`: videos and a calibration to a project folder whose frames are still to be labeled."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from mvgeom.errors import InputError
from mvtrain.config import load_config
from mvtrain.config.generated import write_project_config
from mvtrain.project.frame_rows import read_frame_rows
from mvtrain.project.names import DEFAULT_PATTERN, pattern_rule
from mvtrain.project.writer import write_labels
from mvtrain.runtime.folders import new_folder
from mvtrain.start.rig_files import RigFile, check_views, read_rigs, save_rig, video_size, with_sizes
from mvtrain.start.video_names import (
    NamedVideo,
    VideoInput,
    find_videos,
    natural_key,
    pattern_depth,
    read_name,
    suggest_pattern,
)

SCORER = "mvtrain"
"""Scorer in the label tables of new projects."""

_MAX_ROWS = 30
"""Rows of the table of names that do not fit."""


@dataclass(frozen=True, kw_only=True)
class InitOptions:
    """Options of the command.

    Attributes:
        output: Project folder to write; must not exist.
        keypoint_names: K names of the keypoints.
        skeleton: Pairs of keypoints.
        calibration: Calibration file or folder; None for a project without 3D.
        cameras: Names of the views by names of the calibration's cameras; others keep their names.
        view_names: Names of the views in their order; empty: those of the calibration, else those that names have.
        pattern: Pattern of session and view in the names of the videos; None: `DEFAULT_PATTERN`.
        copy: Copy the videos; False links them.
        skip: Leave out videos whose names do not fit, and sessions without a video of every view.
        dry_run: Print the reading of the names, and write nothing.
    """

    output: Path
    keypoint_names: tuple[str, ...]
    skeleton: tuple[tuple[str, str], ...] = ()
    calibration: Path | None = None
    cameras: Mapping[str, str]
    view_names: tuple[str, ...] = ()
    pattern: str | None = None
    copy: bool = False
    skip: bool = False
    dry_run: bool = False


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


def init_project(sources: Sequence[VideoInput], options: InitOptions, console: Console) -> None:
    """Read the names of videos, and write a project folder, completely or not at all.

    Raises:
        InputError: The folder exists (`occupied-folder`), names of videos do not tell session and view (`bad-name`,
            after a table of the names), a session lacks a view (`missing-view`), or the calibration has other cameras
            (`missing-view`).
    """
    if options.output.exists() and not options.dry_run:
        raise InputError(
            f"{options.output} already exists. Remove it, or choose another folder with --output",
            code="occupied-folder",
            path=options.output,
        )
    rigs = {} if options.calibration is None else read_rigs(options.calibration, options.cameras)
    plan = plan_sessions(sources, options, rigs, console)
    check_views(rigs, list(plan.videos), plan.view_names)
    _check_names_in_project(plan)
    sizes = {
        session: {view: video_size(path) for view, path in videos.items()} for session, videos in plan.videos.items()
    }
    _print_plan(plan, sizes, rigs, console)
    if options.dry_run:
        console.print("nothing was written (--dry-run)", soft_wrap=True)
        return
    with new_folder(options.output) as folder:
        _fill(folder, plan, sizes, rigs, options)
    _print_end(plan, rigs, options, console)


def plan_sessions(
    sources: Sequence[VideoInput], options: InitOptions, rigs: Mapping[str | None, RigFile], console: Console
) -> Plan:
    """Read session and view of every video from its name.

    Raises:
        InputError: As for `init_project`.
    """
    cameras = tuple(dict.fromkeys(name for rig in rigs.values() for name in rig.cameras.names))
    known = options.view_names or cameras
    pattern = options.pattern or DEFAULT_PATTERN
    rule, depth = pattern_rule(pattern, known), pattern_depth(pattern)
    paths = {path.absolute(): source.view for source in sources for path in find_videos(source)}
    named = [read_name(path, view, rule, depth) for path, view in paths.items()]
    unfit = [video for video in named if video.view is None]
    if unfit and (not options.skip or len(unfit) == len(named)):
        free = [video.path for video, view in zip(named, paths.values(), strict=True) if view is None]
        raise _unfit_names(unfit, pattern, known, suggest_pattern(free, known), cameras, console)
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
    found = {view for videos in sessions.values() for view in videos}
    views = tuple(view for view in known if view in found) or tuple(sorted(found, key=natural_key))
    if options.view_names:
        views = options.view_names
    complete = {
        name: sessions[name] for name in sorted(sessions, key=natural_key) if set(views) <= sessions[name].keys()
    }
    problems = [
        f"session {name!r} has no video of view {', '.join(view for view in views if view not in videos)}"
        for name, videos in sessions.items()
        if name not in complete
    ]
    if not complete or (problems and not options.skip):
        raise _incomplete_sessions(problems, sessions, views, suggest_pattern(list(paths), known), pattern)
    outside = [f"{video.path}: the name does not fit {pattern}" for video in unfit]
    return Plan(
        view_names=views,
        videos={name: {view: videos[view] for view in views} for name, videos in complete.items()},
        left_out=(*outside, *problems),
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
        f"{unfit[0].path}: cannot tell session and view from the name, found {len(unfit)} such names, expected "
        f"{pattern}{' with a known view' if known else ''}. {help_text}. --skip leaves these videos out",
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


def _fill(
    folder: Path,
    plan: Plan,
    sizes: Mapping[str, Mapping[str, tuple[int, int]]],
    rigs: Mapping[str | None, RigFile],
    options: InitOptions,
) -> None:
    """Write the files of a project into an empty folder, and read them back."""
    (folder / "labeled-data").mkdir()
    (folder / "videos").mkdir()
    for session, videos in plan.videos.items():
        for view, path in videos.items():
            for source, ending in ((path, path.suffix.lower()), (path.with_name(f"{path.stem}_bbox.csv"), "_bbox.csv")):
                if source.is_file():
                    _put(source, folder / "videos" / f"{session}_{view}{ending}", copy=options.copy)
    _write_rigs(folder, plan, sizes, rigs)
    nothing = np.zeros((0, len(options.keypoint_names)))
    for view in plan.view_names:
        points = np.zeros((*nothing.shape, 2))
        write_labels(folder / f"CollectedData_{view}.csv", [], options.keypoint_names, points, nothing, scorer=SCORER)
    shapes = sorted(
        (size for by_view in sizes.values() for size in by_view.values()), key=lambda size: size[0] / size[1]
    )
    write_project_config(
        folder / "config.yaml",
        comment="Project of mvtrain init. World unit: that of the calibration." if rigs else "Project of mvtrain init.",
        view_names=plan.view_names,
        keypoint_names=options.keypoint_names,
        skeleton=options.skeleton,
        num_frames=None,
        image_size=shapes[len(shapes) // 2],
        num_sessions=len(plan.videos),
        num_calibrated=_num_calibrated(plan, rigs),
        with_boxes=False,
        with_videos=True,
        # Recordings can be hours long, and the first networks are trained on few labels.
        more_eval={"predict_vids_after_training": False},
    )
    read_frame_rows(load_config(folder / "config.yaml"))


def _write_rigs(
    folder: Path,
    plan: Plan,
    sizes: Mapping[str, Mapping[str, tuple[int, int]]],
    rigs: Mapping[str | None, RigFile],
) -> None:
    """Write `calibration.toml`, or `calibrations/<session>.toml`."""
    if None in rigs:
        first = next(iter(sizes.values()))
        save_rig(with_sizes(rigs[None], first), folder / "calibration.toml")
        return
    for session in plan.videos:
        if session in rigs:
            (folder / "calibrations").mkdir(exist_ok=True)
            save_rig(with_sizes(rigs[session], sizes[session]), folder / "calibrations" / f"{session}.toml")


def _num_calibrated(plan: Plan, rigs: Mapping[str | None, RigFile]) -> int:
    return len(plan.videos) if None in rigs else sum(session in rigs for session in plan.videos)


def _put(source: Path, target: Path, *, copy: bool) -> None:
    """Copy or link a file."""
    put: Callable[[Path, Path], object] = (
        shutil.copyfile if copy else lambda path, link: link.symlink_to(path.resolve())
    )
    try:
        put(source, target)
    except OSError as error:
        advice = "" if copy else " Copy the videos with --copy, if links are not possible here."
        raise InputError(
            f"{source}: cannot be put into the project: {error.strerror}.{advice}", code="unwritable-file", path=source
        ) from error


def _print_plan(
    plan: Plan,
    sizes: Mapping[str, Mapping[str, tuple[int, int]]],
    rigs: Mapping[str | None, RigFile],
    console: Console,
) -> None:
    """Print the reading of the names, and sizes that differ from the calibration's."""
    table = Table("session", *plan.view_names, "calibration", box=None)
    for session, videos in plan.videos.items():
        rig = rigs.get(session, rigs.get(None))
        cells = [f"{path.name} ({sizes[session][view][0]}x{sizes[session][view][1]})" for view, path in videos.items()]
        table.add_row(session, *cells, "none" if rig is None else rig.path.name)
    console.print(table)
    for problem in plan.left_out:
        console.print(f"left out: {problem}", soft_wrap=True)
    for session, by_view in sizes.items():
        rig = rigs.get(session, rigs.get(None))
        if rig is None or rig.needs_sizes:
            continue
        for view, size in by_view.items():
            calibrated = tuple(int(length) for length in rig.cameras.select([view]).sizes[0])
            if calibrated != size:
                console.print(
                    f"warning: {plan.videos[session][view].name} is {size[0]}x{size[1]} px, its camera in "
                    f"{rig.path.name} {calibrated[0]}x{calibrated[1]} px. 3D will be wrong if the video was resized or "
                    "cropped",
                    soft_wrap=True,
                )


def _print_end(plan: Plan, rigs: Mapping[str | None, RigFile], options: InitOptions, console: Console) -> None:
    """Print what was written, and the next command."""
    calibrated = _num_calibrated(plan, rigs)
    if len(plan.view_names) > 1 and not calibrated:
        console.print("note: no calibration, so 3D is off in config.yaml. Give one with --calibration", soft_wrap=True)
    console.print(
        f"wrote {options.output}: {len(plan.view_names)} views ({', '.join(plan.view_names)}), {len(plan.videos)} "
        f"sessions ({calibrated} calibrated), {len(options.keypoint_names)} keypoints, videos "
        f"{'copied' if options.copy else 'linked'}",
        soft_wrap=True,
    )
    console.print(f"Next: mvtrain frames {options.output} -n 50", soft_wrap=True)
