"""Command `mvtrain init`: videos and a calibration to a project folder whose frames are still to be labeled."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from mvgeom import CameraGroup
from mvgeom.clock_files import copy_clocks
from mvgeom.errors import InputError
from mvgeom.files import file_name, list_files
from mvgeom.videos import open_video
from mvgeom.wording import counted
from mvtrain.config import load_config
from mvtrain.config.recommended import write_project_config
from mvtrain.project.frame_rows import read_frame_rows
from mvtrain.project.label_tables import write_labels
from mvtrain.runtime.folders import new_folder
from mvtrain.runtime.messages import command
from mvtrain.start.session_plan import Plan, VideoInput, plan_sessions

_TOML = ".toml"

SCORER = "mvtrain"
"""Scorer in the label tables of new projects."""


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
    plan = plan_sessions(
        sources,
        cameras=tuple(dict.fromkeys(name for rig in rigs.values() for name in rig.cameras.names)),
        view_names=options.view_names,
        pattern=options.pattern,
        skip=options.skip,
        console=console,
    )
    check_views(rigs, list(plan.videos), plan.view_names)
    sizes = {
        session: {view: open_video(path).size for view, path in videos.items()}
        for session, videos in plan.videos.items()
    }
    _print_plan(plan, sizes, rigs, console)
    if options.dry_run:
        console.print("nothing was written (--dry-run)", soft_wrap=True)
        return
    with new_folder(options.output) as folder:
        _fill(folder, plan, sizes, rigs, options)
    _print_end(plan, rigs, options, console)


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
            for source, ending in (
                (path, path.suffix.lower()),
                (path.with_name(file_name(f"{path.stem}_bbox.csv")), "_bbox.csv"),
            ):
                if source.is_file():
                    _put(source, folder / "videos" / file_name(f"{session}_{view}{ending}"), copy=options.copy)
    _write_rigs(folder, plan, sizes, rigs)
    nothing = np.zeros((0, len(options.keypoint_names)))
    for view in plan.view_names:
        points = np.zeros((*nothing.shape, 2))
        write_labels(
            folder / file_name(f"CollectedData_{view}.csv"), [], options.keypoint_names, points, nothing, scorer=SCORER
        )
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
            save_rig(with_sizes(rigs[session], sizes[session]), folder / "calibrations" / file_name(f"{session}.toml"))


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
        advice = "" if copy else " Copy the videos with --copy-videos, if links are not possible here."
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
        f"wrote {options.output}: {counted(len(plan.view_names), 'view')} ({', '.join(plan.view_names)}), "
        f"{counted(len(plan.videos), 'session')} ({calibrated} calibrated), "
        f"{counted(len(options.keypoint_names), 'keypoint')}, videos {'copied' if options.copy else 'linked'}",
        soft_wrap=True,
    )
    console.print(f"Next: {command('mvtrain', 'frames', options.output, '-n', 50)}", soft_wrap=True)
