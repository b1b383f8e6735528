"""Command `mvtrain import`: a labeled project of another program to a project folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from mvgeom import CameraGroup
from mvgeom.clock_files import find_clocks
from mvgeom.errors import InputError
from mvgeom.wording import counted
from mvtrain.config import load_config
from mvtrain.exchange import from_anipose as anipose
from mvtrain.exchange import from_coco as coco
from mvtrain.exchange import from_deeplabcut as deeplabcut
from mvtrain.exchange import from_pose_json as pose_json
from mvtrain.exchange import from_sleap as sleap
from mvtrain.exchange.alignment import AlignedFrames, align, describe_single_view, number_by_time
from mvtrain.exchange.foreign_labels import ForeignLabels, ReadOptions, Source, merge
from mvtrain.exchange.into_project import AddedFrames, add_to_project, order_keypoints, order_views
from mvtrain.exchange.media import find_calibrations
from mvtrain.exchange.project_folder import ImportedProject, write_project
from mvtrain.exchange.stored_pixels import to_stored_pixels
from mvtrain.project.frame_rows import read_frame_rows
from mvtrain.project.names import DEFAULT_PATTERN, check_distinct, pattern_rule, split_view_paths
from mvtrain.runtime.messages import command

READERS: dict[str, Callable[[Sequence[Source], ReadOptions], list[ForeignLabels]]] = {
    "anipose": anipose.read,
    "coco": coco.read,
    "deeplabcut": deeplabcut.read,
    "mmpose": pose_json.read_mmpose,
    "openpose": pose_json.read_openpose,
    "sleap": sleap.read,
}
"""Readers of labels by format."""

_USUAL_ADVICE = "give their names with --views, or describe the names with --pattern"
_ADVICE = {"anipose": "correct cam_regex in its config.toml"}
"""Advice for labels that seem to have a single view, by format; for others, the usual one."""


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Options of the command.

    Attributes:
        out: Project folder to write; must not exist. None adds to `into`.
        into: Config file of the project to add the labels to; None writes `out`.
        views: Sources of one view each, as `NAME=PATH`.
        view_names: Names of the views in their order; empty: all views of the labels.
        pattern: Pattern of session and view in foreign names; None: `DEFAULT_PATTERN`.
        individual: Name of the animal to take from several.
        calibration: Calibration file, or folder of `<session>.toml`; None: those of the sources.
        media: Folder with images and videos that are not at the path in the foreign project.
        allow_absent: Allow views without an image of a frame.
        copy_videos: Copy the videos, too.
        predictions: Lowest likelihood of the predictions to take as labels; None: labels made by hand only.
        every: Step of the frame numbers of the predictions to take.
        by_time: True if the images of a session's videos belong together by their times, False by number.
    """

    out: Path | None = None
    into: Path | None = None
    views: tuple[str, ...] = ()
    view_names: tuple[str, ...] = ()
    pattern: str | None = None
    individual: str | None = None
    calibration: Path | None = None
    media: Path | None = None
    allow_absent: bool = False
    copy_videos: bool = False
    predictions: float | None = None
    every: int = 1
    by_time: bool = True


def import_project(file_format: str, paths: Sequence[Path], options: ImportOptions, console: Console) -> None:
    """Read foreign labels, match their views, write a project folder or add to one, and print a summary.

    Args:
        file_format: Key of `READERS`.
        paths: Sources with the view in their names.
        options: Options of the command.
        console: Console for notes and the summary.

    Raises:
        InputError: The format is unknown (`unknown-format`), the folder exists (`occupied-folder`), a source does not
            exist (`missing-file`), or a view is given twice (`duplicate-name`); besides, the errors of the readers, of
            `align`, and of `add_to_project`.
    """
    _check_options(file_format, options)
    sources = _sources(paths, options.views)
    config = None if options.into is None else load_config(options.into)
    project = None if config is None else read_frame_rows(config)
    if project is not None and not options.view_names and any("_" in view for view in project.view_names):
        # Otherwise the view of <session>_<view> begins after the last "_".
        options = replace(options, view_names=project.view_names)
    labels = merge(READERS[file_format](sources, _read_options(sources, options)))
    calibrations = _find_calibrations(sources, labels, options.calibration)
    clocks = {session: find_clocks(path) for session, path in calibrations.items() if isinstance(path, Path)}
    labels = number_by_time(labels, clocks, by_time=options.by_time)
    order = _view_order(sources, options)
    if project is not None:
        labels = order_keypoints(labels, project)
        order = order_views(labels, project, allow_absent=options.allow_absent)
    aligned, notes = to_stored_pixels(align(labels, order, allow_absent=options.allow_absent))
    _check_calibrations(options.calibration, calibrations, aligned)
    if project is None and not order:
        notes = (*notes, *describe_single_view(labels, _ADVICE.get(file_format, _USUAL_ADVICE)))
    labels = replace(labels, notes=(*labels.notes, *notes))
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("images")

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if config is not None:
            added = add_to_project(
                config, aligned, labels, calibrations, copy_videos=options.copy_videos, progress=progress
            )
        else:
            assert options.out is not None
            written = write_project(
                options.out, aligned, labels, calibrations, copy_videos=options.copy_videos, progress=progress
            )
    if config is not None:
        assert options.into is not None
        _print_added(options.into, aligned, labels, added, console)
    else:
        assert options.out is not None
        _print_summary(options.out, aligned, labels, written, console)


def _check_options(file_format: str, options: ImportOptions) -> None:
    """Check what can be known before anything is read."""
    if file_format not in READERS:
        raise InputError(
            f"unknown format of labels, found {file_format!r}, expected one of {', '.join(READERS)}",
            code="unknown-format",
            found=file_format,
            expected=tuple(READERS),
        )
    if options.out is None and options.into is None:
        raise InputError(
            "--output is missing. Give a new folder, or a project to add the labels to with --into.",
            code="missing-argument",
            argument="--output",
        )
    if options.out is not None and options.into is not None:
        raise InputError(
            "--output and --into exclude each other. Give the one or the other.",
            code="excluded-options",
            option="--output",
            other="--into",
        )
    if options.out is not None and options.out.exists():
        raise InputError(
            f"{options.out}: the folder exists. Remove it, or choose another folder",
            code="occupied-folder",
            path=options.out,
        )
    if options.media is not None and not options.media.is_dir():
        raise InputError(f"--media {options.media}: not a folder", code="not-a-folder", path=options.media)
    if options.pattern is not None and file_format == "anipose":
        raise InputError(
            "--pattern cannot be given for anipose, because cam_regex in its config.toml describes the names",
            code="excluded-options",
            option="--pattern",
        )
    check_distinct(options.view_names, "--views", option="--views")


def _sources(paths: Sequence[Path], views: Sequence[str]) -> list[Source]:
    """Return the sources of all views and of one view each."""
    sources = [Source(path=path) for path in paths]
    sources += [Source(path=path, view=view) for view, path in split_view_paths(views)]
    if not sources:
        raise InputError(
            "there is no source. Give a SOURCE, or --view NAME=PATH for each view",
            code="missing-argument",
            argument="SOURCE",
        )
    for source in sources:
        if not source.path.exists():
            raise InputError(f"source {source.path} does not exist", code="missing-file", path=source.path)
    return sources


def _find_calibrations(
    sources: Sequence[Source], labels: ForeignLabels, given: Path | None
) -> dict[str | None, Path | CameraGroup]:
    """Return the calibrations by session, None for all: the one given, or those of the sources."""
    found: dict[str | None, Path | CameraGroup] = {**find_calibrations([source.path for source in sources], given)}
    return {**found, **labels.calibrations} if given is None else found


def _view_order(sources: Sequence[Source], options: ImportOptions) -> tuple[str, ...]:
    """Return the views in their order as far as the command line tells it; else none."""
    given = tuple(dict.fromkeys(source.view for source in sources if source.view is not None))
    return options.view_names or (given if all(source.view is not None for source in sources) else ())


def _read_options(sources: Sequence[Source], options: ImportOptions) -> ReadOptions:
    """Return the options of the readers."""
    if options.predictions is not None and not 0 <= options.predictions <= 1:
        raise InputError(
            f"--min-likelihood: not a likelihood, found {options.predictions:g}, expected 0 to 1",
            code="out-of-range",
            option="--min-likelihood",
            found=options.predictions,
        )
    if options.every < 1 or (options.every > 1 and options.predictions is None):
        raise InputError(
            f"--every: a step of the frames of --min-likelihood, found {options.every}, expected 1 or more"
            f"{' beside --min-likelihood' if options.predictions is None else ''}",
            code="bad-option",
            option="--every",
            found=options.every,
        )
    given = tuple(source.view for source in sources if source.view is not None)
    rule = pattern_rule(
        options.pattern or DEFAULT_PATTERN,
        # Names of views can have a "_", and then only the views tell where the name of the session ends.
        options.view_names or (given if len(given) == len(sources) else ()),
        need_view=any(source.view is None for source in sources),
        given=options.pattern is not None,
    )
    return ReadOptions(
        rule=rule,
        individual=options.individual,
        media=options.media,
        min_likelihood=options.predictions,
        every=options.every,
    )


def _check_calibrations(
    given: Path | None, calibrations: Mapping[str | None, Path | CameraGroup], aligned: AlignedFrames
) -> None:
    """Check that one of the calibrations that the user gave is of a session of the labels.

    Raises:
        InputError: `no-calibration`.
    """
    sessions = {session for session, _ in aligned.frames}
    if given is not None and None not in calibrations and not sessions & calibrations.keys():
        raise InputError(
            f"--calibration {given}: no file is named like a session, found {', '.join(map(str, calibrations))}, "
            f"expected {', '.join(sorted(sessions))}. Give the file itself for all sessions, or rename it",
            code="no-calibration",
            option="--calibration",
            path=given,
            found=tuple(calibrations),
            expected=tuple(sorted(sessions)),
        )


def _print_summary(
    out: Path, aligned: AlignedFrames, labels: ForeignLabels, written: ImportedProject, console: Console
) -> None:
    """Print notes, warnings, the numbers of the project, and the next command."""
    lines = _notes(aligned, labels, written)
    if written.num_calibrated == 0:
        lines.append("note: no calibration found, so 3D is off in config.yaml. Give one with --calibration")
    lines.append(
        f"wrote {out}: {counted(len(aligned.view_names), 'view')} ({', '.join(aligned.view_names)}), "
        f"{counted(len(written.sessions), 'session')} ({written.num_calibrated} calibrated), "
        f"{counted(written.num_frames, 'frame')}, {counted(len(aligned.keypoint_names), 'keypoint')}, "
        f"{counted(written.num_labels, 'label')}, {counted(written.num_from_video, 'image')} from videos"
    )
    lines.append(f"Next: {command('mvtrain', 'check', out / 'config.yaml')}")
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _print_added(
    config: Path, aligned: AlignedFrames, labels: ForeignLabels, added: AddedFrames, console: Console
) -> None:
    """Print notes, warnings, what was added, and the next command."""
    lines = _notes(aligned, labels, added.written)
    if added.num_there:
        lines.append(f"note: {counted(added.num_there, 'frame')} in the project already, with the same labels")
    written = added.written
    number = 0 if written is None else written.num_frames
    num_labels = 0 if written is None else written.num_labels
    lines.append(
        f"added {counted(number, 'frame')} with {counted(num_labels, 'label')} to {config.parent}, which has "
        f"{added.num_frames} now; its config.yaml stays as it is"
    )
    lines.append(f"Next: {command('mvtrain', 'check', config)}")
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _notes(aligned: AlignedFrames, labels: ForeignLabels, written: ImportedProject | None) -> list[str]:
    """Return notes and warnings about the labels that were read."""
    lines = [f"note: {note}" for note in labels.notes]
    predicted = sum(
        entry is not None and entry.predicted and image is not None and bool(entry.visibility.any())
        for entries, images in zip(aligned.entries, aligned.images, strict=True)
        for entry, image in zip(entries, images, strict=True)
    )
    if predicted:
        lines.append(
            f"warning: predictions as labels in {counted(predicted, 'image')}, not labels made by hand. Correct them "
            "before you use errors that are measured with them"
        )
    if aligned.num_empty:
        lines.append(f"note: left out {counted(aligned.num_empty, 'frame')} without any label")
    if aligned.num_lost:
        lines.append(
            f"note: left out the labels of {counted(aligned.num_lost, 'missing image')}"
            + (f", and with them {counted(aligned.num_lost_frames, 'frame')}" if aligned.num_lost_frames else "")
        )
    lines += [f"warning: {warning}" for warning in (() if written is None else written.warnings)]
    return lines
