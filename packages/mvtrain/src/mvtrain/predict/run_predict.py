"""The command `mvtrain predict`: from a run and inputs to predicted sessions and projects, with a report of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import cv2
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from rich.console import Console
from rich.text import Text

from mvgeom.errors import InputError
from mvgeom.files import write_text
from mvgeom.videos import check_video
from mvgeom.wording import counted
from mvtrain.config import Config
from mvtrain.drawing.keypoints import style_from_config
from mvtrain.model.likelihood import describe_likelihood
from mvtrain.model.run_folder import Run, load_run
from mvtrain.predict.ensemble import arrange_alike, find_error_bars
from mvtrain.predict.labeled_images import (
    PROJECT_NOTE,
    check_cameras,
    check_of_project,
    image_warnings,
    in_network_order,
    predict_with_all,
    project_config,
    write_project_predictions,
)
from mvtrain.predict.outputs import check_not_foreign
from mvtrain.predict.overlay import draw_videos
from mvtrain.predict.predictor import Predictor, choose_device
from mvtrain.predict.recordings import (
    Session,
    early_end,
    find_calibration,
    find_sessions,
    load_calibration,
    size_warnings,
)
from mvtrain.predict.saved_predictions import find_predictions
from mvtrain.predict.session import Job, Outcome, predict_session
from mvtrain.predict.smooth_predictions import SmoothOptions, smooth_all
from mvtrain.predict.timing import frame_progress
from mvtrain.predict.tracking import TrackingReference
from mvtrain.predict.video_batches import find_boxes
from mvtrain.project.calibrations import load_view_clocks
from mvtrain.project.held_out import read_held_out
from mvtrain.project.project import Project, read_project
from mvtrain.runtime.folders import find_runs
from mvtrain.runtime.interruption import Interruption
from mvtrain.runtime.messages import command, error_of_left_out
from mvtrain.training.hardware import choose_hardware, launch_processes

LONGEST_WAIT = timedelta(days=7)
"""Time by which the sessions of one device may take longer than those of another."""


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Options of `mvtrain predict`.

    Attributes:
        output_dir: Output folder; None takes `video_preds` in the folder of the run or ensemble, `image_preds` for
            labeled images.
        checkpoint: `best` or `last`.
        calibration: Calibration file for all sessions, or folder with one per session; None takes the project's.
        boxes: Folder of `<video>_bbox.csv`; None takes those beside the videos, if they exist.
        track: True tracks the subject by its 3D pose, without boxes.
        whole_frames: True predicts whole images also where there are boxes beside the videos.
        batch_size: Frames per batch; None takes `training.test_batch_size` of the run, the smallest of several.
        by_time: True matches the images of the views by their presentation times; False by their numbers.
        accelerator: Accelerator as Fabric names it.
        devices: Number of devices; they share the sessions.
        overlay: True also draws all views of a session into one video, and a still image.
        smooth: True also smooths the recordings over time, into the folder `smoothed`.
    """

    output_dir: Path | None = None
    checkpoint: str = "best"
    calibration: Path | None = None
    boxes: Path | None = None
    track: bool = False
    whole_frames: bool = False
    batch_size: int | None = None
    by_time: bool = True
    accelerator: str = "auto"
    devices: int = 1
    overlay: bool = False
    smooth: bool = False


def predict(run_dirs: Sequence[Path], inputs: Sequence[Path], options: PredictOptions, console: Console) -> None:
    """Predict recordings and labeled images with one network, or with several together.

    Args:
        run_dirs: Run folders that `mvtrain fit` wrote, or folders of ensembles.
        inputs: Folders, videos and patterns of videos; config files and folders of projects, for their images.
        options: Options of the command.
        console: Console for progress and results.

    Raises:
        InputError: A run folder, an input, or a calibration or box file cannot be used; the networks have other views
            (`views-differ`) or keypoints (`keypoints-differ`). If it can be known before predicting, nothing is
            predicted; else the other sessions are predicted, and the error is `left-out`.
        RunInterruptedError: A signal asked to stop; the same command resumes.
    """
    runs = arrange_alike([load_run(path, options.checkpoint) for run_dir in run_dirs for path in find_runs(run_dir)])
    first = runs[0]
    _check_options(options)
    out_dir = options.output_dir or _own_folder(run_dirs) / "video_preds"
    project_configs = [project_config(path, first.config) for path in inputs]
    recordings = [path for path, config in zip(inputs, project_configs, strict=True) if config is None]
    view_names, keypoint_names = first.spec.view_names, first.spec.keypoint_names
    sessions = _complete_sessions(recordings, view_names, console)
    jobs = make_jobs(sessions, first.config, view_names, keypoint_names, out_dir, options, console)
    if options.smooth:
        _check_smooth(jobs)
    configs = [config for config in project_configs if config is not None]
    projects = [read_project(config, need_labels=False) for config in configs]
    _check_folder_names(projects)
    image_dirs = [
        (options.output_dir or _own_folder(run_dirs) / "image_preds") / project.root.name for project in projects
    ]
    for project, folder in zip(projects, image_dirs, strict=True):
        check_of_project(folder, project)
    # The networks have the same views and keypoints in one order; each may need a calibration.
    projects = [in_network_order(project, first.spec) for project in projects]
    all_held_out = [read_held_out(config, project) for config, project in zip(configs, projects, strict=True)]
    for project in (*projects, *(tables.project for held_out in all_held_out for tables in held_out.found)):
        for run in runs:
            check_cameras(project, run.spec)

    fabric = _launch(first.config, options, console)
    # A batch goes through all networks: the smallest that any of them asks for.
    batch_size = options.batch_size or min(run.config.training.test_batch_size for run in runs)
    predictors = [Predictor.from_run(run, fabric.device, batch_size) for run in runs]
    error_bars = find_error_bars(run_dirs, runs)
    if len(runs) > 1:
        jobs = [replace(job, error_bars=error_bars) for job in jobs]
    if fabric.is_global_zero:
        for line in dict.fromkeys(describe_likelihood(run.confidence_map) for run in runs):
            print_line(console, line)
        if error_bars is not None:
            print_line(console, error_bars.describe())
    if options.track and jobs:
        reference = _tracking_reference(first.config, predictors[0])
        jobs = [replace(job, reference=reference) for job in jobs]
    if fabric.is_global_zero:
        for project, held_out, folder in zip(projects, all_held_out, image_dirs, strict=True):
            texts = [text for run in runs for text in image_warnings(project, run.config)]
            for text in dict.fromkeys((*texts, *held_out.warnings)):
                print_warning(console, text)
            endings = {"": project, **{tables.ending: tables.project for tables in held_out.found}}
            for ending, frames in endings.items():
                predictions, confidence_map = predict_with_all(predictors, frames)
                write_project_predictions(folder, frames, predictions, None, confidence_map, error_bars, ending)
                labeled = counted(len(frames), "labeled frame")
                which = f" whose tables end in {ending}" if ending else ""
                print_line(console, f"predicted the {labeled} of {project.root}{which} into {folder}")
            write_text(folder / PROJECT_NOTE, f"{project.root.resolve()}\n")
    own = jobs[fabric.global_rank :: fabric.world_size]
    problems = predict_jobs(predictors, own, console, quiet=not fabric.is_global_zero)
    fabric.barrier()
    done = [job for job in jobs if job.session.name not in problems]
    if fabric.is_global_zero and done and options.smooth:
        problems |= _smooth(done, out_dir, console)
    if fabric.is_global_zero and done:
        print_line(
            console, f"wrote the tables to {out_dir}. Next: {_next_step(run_dirs, runs, jobs, out_dir, options)}"
        )
    if problems:
        raise error_of_left_out(problems, len(jobs))


def _check_options(options: PredictOptions) -> None:
    """Check that at most one option says what is cut out of the images."""
    choices = {"--boxes": options.boxes is not None, "--track": options.track, "--whole-frames": options.whole_frames}
    given = tuple(name for name, is_given in choices.items() if is_given)
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)}: give only one of them", code="excluded-options", options=given)


def _complete_sessions(recordings: Sequence[Path], view_names: Sequence[str], console: Console) -> Sequence[Session]:
    """Return the sessions of recordings, each with a video of every view, and print which videos are not used."""
    found = find_sessions(recordings, view_names)
    if found.incomplete:
        session = found.incomplete[0]
        raise InputError(
            "; ".join(session.problem for session in found.incomplete),
            code="missing-view",
            session=session.name,
            view=session.missing[0],
        )
    if note := found.ignored_note():
        print_warning(console, note)
    return found.complete


def _check_folder_names(projects: Sequence[Project]) -> None:
    """Check that the tables of every project get a folder of their own: it has the name of the project's folder."""
    first: dict[str, Project] = {}
    for project in projects:
        other = first.setdefault(project.root.name, project)
        if other is not project:
            raise InputError(
                f"{project.root}: found another project with the same name of the folder, {other.root}: both would be "
                f"written to {project.root.name}. Predict one after the other, each with its --output",
                code="duplicate-name",
                path=project.root,
                name=project.root.name,
            )


def _tracking_reference(config: Config, predictor: Predictor) -> TrackingReference:
    """Return what tracking takes from the labeled frames of the run's project."""
    try:
        labeled = read_project(config)
    except InputError as error:
        raise InputError(
            f"--track needs the run's project, for the crops of its images: {error}",
            code="not-a-project",
            **error.facts,
        ) from error
    return TrackingReference.from_project(labeled, predictor)


def _next_step(
    run_dirs: Sequence[Path], runs: Sequence[Run], jobs: Sequence[Job], out_dir: Path, options: PredictOptions
) -> str:
    """Return the next command: the report of a run has the predictions in its own folder alone."""
    if len(runs) == 1 and out_dir.resolve() == (run_dirs[0] / "video_preds").resolve():
        return command("mvtrain", "report", run_dirs[0])
    if not options.smooth and all(job.calibration is not None for job in jobs):
        return command("mvtrain", "smooth", out_dir, "--output", "NEW")
    return command("mvtrain", "label", "PROJECT", "--predictions", out_dir)


def _own_folder(run_dirs: Sequence[Path]) -> Path:
    """Return the folder in which predictions are kept: that of a run or of an ensemble.

    Raises:
        InputError: There are several (`missing-argument`).
    """
    if len(run_dirs) > 1:
        raise InputError(
            f"--output: found none for {len(run_dirs)} runs, {', '.join(map(str, run_dirs))}, expected a folder. Give "
            "it with --output.",
            code="missing-argument",
            option="--output",
        )
    return run_dirs[0]


def _check_smooth(jobs: Sequence[Job]) -> None:
    """Check that recordings can be smoothed: in 3D, so they need a calibration and two views."""
    for job in jobs:
        if job.calibration is None:
            raise InputError(
                f"session {job.session.name!r}: --smooth needs a calibration of two views or more, found none. Give "
                "one with --calibration, or leave --smooth out.",
                code="no-calibration",
                session=job.session.name,
            )


def _smooth(jobs: Sequence[Job], out_dir: Path, console: Console) -> dict[str, InputError]:
    """Smooth recordings that were predicted into a folder, as `mvtrain smooth` does; return errors by session."""
    folder = out_dir / "smoothed"
    folder.mkdir(exist_ok=True)
    names = {job.session.name for job in jobs}
    # Whatever else is in the folder, these were written before.
    found = find_predictions(out_dir, problems={})
    recordings = {files.session: [files] for files in found if files.session in names}
    problems = smooth_all(recordings, folder, SmoothOptions(output=folder), console)
    if len(problems) < len(recordings):
        print_line(console, f"smoothed the recordings into {folder}")
    return problems


def predict_jobs(
    predictors: Sequence[Predictor], jobs: Sequence[Job], console: Console, *, quiet: bool = False
) -> dict[str, InputError]:
    """Predict sessions one after the other, each with all networks, and print a report of each.

    Returns:
        Errors by session of those that could not be predicted, such as videos whose frame rates differ.

    Raises:
        InputError: The output folder cannot be written to (`unwritable-file`), or the device runs out of memory. Before
            anything is predicted, if the output folder has other files of these names (`occupied-folder`), or a network
            needs cameras and a session has no calibration (`no-calibration`).
        RunInterruptedError: As for `predict_session`.
    """
    problems: dict[str, InputError] = {}
    for job in jobs:
        check_not_foreign(job.session, job.out_dir)
        if job.calibration is None:
            for predictor in predictors:
                predictor.spec.check_needs_no_cameras(f"the videos of session {job.session.name!r}")
    cv2.setNumThreads(1)  # every view has a thread of its own, and the network the rest
    with Interruption() as interruption, frame_progress(console, quiet=quiet) as progress:
        for job in jobs:
            try:
                outcome = predict_session(predictors, job, progress, interruption)
            except InputError as error:
                if error.code == "unwritable-file":
                    raise
                problems[job.session.name] = error
                print_line(console, f"{job.session.name}: left out")
                continue
            except torch.OutOfMemoryError as error:
                raise InputError(
                    "--batch-size: the device ran out of memory, found "
                    f"{counted(predictors[0].batch_size, 'frame')} per batch. Give a smaller number",
                    code="out-of-memory",
                    argument="--batch-size",
                    found=predictors[0].batch_size,
                ) from error
            if outcome is None:
                print_line(console, f"{job.session.name}: predicted before, nothing to do")
            else:
                print_outcome(job, outcome, console)
            for path in draw_videos(job, predictors[0].spec.view_names, progress, interruption):
                print_line(console, f"drew {path}")
    return problems


def print_outcome(job: Job, outcome: Outcome, console: Console) -> None:
    """Print the time that a session took, its calibration, and warnings about its videos and frames."""
    summary, work = outcome.summary, outcome.work
    number = summary.num_frames - outcome.num_before
    before = f" ({outcome.num_before} of them before)" if outcome.num_before else ""
    in_3d = ""
    if job.calibration is not None and summary.noise is not None:
        in_3d = f"; 3D with {job.calibration.path}, keypoint noise {summary.noise.sigma:.2g} px"
    print_line(
        console,
        f"predicted {job.session.name}: {counted(summary.num_frames, 'frame')} of "
        f"{counted(len(summary.views), 'view')}{before} in {outcome.seconds:.1f} s "
        f"({number / outcome.seconds:.1f} frames/s){in_3d}",
    )
    names = {"model": "model", "waiting": "waiting for frames", "writing": "writing"}
    shares = ", ".join(f"{name} {work[key] / outcome.seconds:.0%}" for key, name in names.items())
    print_line(console, f"  time: {shares}")
    for warning in outcome.warnings:
        print_warning(console, warning)
    for view, video in zip(summary.views, outcome.videos, strict=True):
        if view.not_decodable:
            first = view.first_not_decodable
            problem = f"{counted(view.not_decodable, 'frame')} could not be decoded, the first is number {first}"
            print_warning(console, f"{video.path}: {problem}: empty rows")
        if view.without_image:
            first = view.first_without_image
            problem = f"by the times, no image for {counted(view.without_image, 'frame')} of the other views"
            print_warning(console, f"{video.path}: {problem}, the first is number {first}: empty rows")
        if view.num_frames < video.end:
            announced = counted(video.end, "frame")
            print_warning(console, f"{video.path} announces {announced} but ends after {view.num_frames}")
        if view.num_frames < summary.num_frames:
            print_warning(console, early_end(video.path, view.num_frames, summary.num_frames))
        if view.without_box:
            without = counted(view.without_box, "frame")
            print_line(console, f"  {video.path.name}: {without} without a bounding box: empty rows")
    not_found = max(view.not_found for view in summary.views)
    if not_found:
        share = not_found / summary.num_frames
        where = f"in {counted(not_found, 'frame')} ({share:.1%})"
        print_warning(console, f"{job.session.name}: the subject was not found {where}: empty rows")
    if job.calibration is not None and all(boxes is None for boxes in job.boxes):
        for warning in size_warnings(job.calibration, outcome.videos):
            print_warning(console, warning)


def print_line(console: Console, line: str) -> None:
    """Print a line as it is: without wrapping, and without markup, because paths may have brackets."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def print_warning(console: Console, problem: str) -> None:
    """Print a line that begins with `warning:`."""
    console.print(Text.assemble(("warning:", "yellow"), f" {problem}"), soft_wrap=True)


def make_jobs(
    sessions: Sequence[Session],
    config: Config,
    view_names: Sequence[str],
    keypoint_names: tuple[str, ...],
    out_dir: Path,
    options: PredictOptions,
    console: Console,
) -> list[Job]:
    """Collect the sessions with their boxes and calibrations, and print which are missing.

    Args:
        sessions: Sessions with a video of every view.
        config: Config of the run.
        view_names: Names of the network's views.
        keypoint_names: Names of its keypoints.
        out_dir: Output folder.
        options: Options of the command.
        console: Console for what is missing.

    Raises:
        InputError: A file cannot be opened as a video, only some views have boxes, or a calibration has other views.
    """
    jobs = []
    overlay = style_from_config(config, keypoint_names, min_confidence=0.0) if options.overlay else None
    for session in sessions:
        for video in session.videos:
            check_video(video)
        nothing = (None,) * len(session.videos)
        without = options.whole_frames or options.track
        boxes = nothing if without else find_boxes(session.videos, options.boxes)
        if boxes == nothing and config.data.bbox_file is not None and not without:
            print_warning(
                console,
                f"the run was trained on crops, but there are no bounding boxes {session.videos[0].stem}_bbox.csv: "
                "whole images are predicted. Give boxes with --boxes, or track the subject with --track",
            )
        path = None
        if len(view_names) > 1:
            path = find_calibration(session, options.calibration, config.data.data_dir)
            if path is None and not options.track:
                print_line(console, f"{session.name}: no calibration, so no 3D. Give one with --calibration")
        if path is None and options.track:
            raise InputError(
                f"session {session.name!r}: --track needs a calibration, found none. Give one with --calibration, or "
                "boxes with --boxes",
                code="no-calibration",
                session=session.name,
            )
        calibration = None if path is None else load_calibration(path, view_names)
        jobs.append(
            Job(
                session=session,
                boxes=boxes,
                calibration=calibration,
                out_dir=out_dir,
                by_time=options.by_time,
                clocks=load_view_clocks(path, view_names),
                overlay=overlay,
                skeleton=tuple(bone for bone in config.data.skeleton or () if set(bone) <= set(keypoint_names)),
            )
        )
    return jobs


def _launch(config: Config, options: PredictOptions, console: Console) -> Fabric:
    """Start the processes of a prediction.

    Raises:
        InputError: The device has no such name (`unknown-choice`), is not on this computer (`no-device`), or is one of
            several that were asked for (`excluded-options`).
    """
    chosen = None if options.accelerator == "auto" else choose_device(options.accelerator)
    if chosen is not None and chosen.index is not None and options.devices > 1:
        raise InputError(
            f"--device {options.accelerator} is one device, found --devices {options.devices}. Give --device "
            f"{chosen.type}, or leave --devices out.",
            code="excluded-options",
            option="--devices",
        )
    if chosen is not None and chosen.index is not None and chosen.type != "cpu":
        return Fabric(accelerator=chosen.type, devices=[chosen.index])
    training = replace(
        config.training,
        num_gpus=None,
        accelerator="auto" if chosen is None else chosen.type,
        devices=options.devices,
        strategy="auto",
    )
    accelerator, devices = choose_hardware(replace(config, training=training), console)
    # Devices that are done wait for the others, for as long as their sessions take.
    strategy = DDPStrategy(timeout=LONGEST_WAIT) if options.devices > 1 else "auto"
    fabric = Fabric(accelerator=accelerator, devices=devices, strategy=strategy)
    launch_processes(fabric)
    return fabric
