"""Command `mvtrain report`: evaluate a run on its project and write the page."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from rich.console import Console

from mvgeom.errors import InputError
from mvgeom.files import read_text, write_text
from mvgeom.wording import counted
from mvtrain.drawing.keypoints import style_from_config
from mvtrain.evaluation.error_tables import error_3d_table, error_table, join_tables, pck_table
from mvtrain.evaluation.evaluation import evaluate, evaluate_held_out, held_out_first
from mvtrain.evaluation.fits_to_labels import DEFAULT_SHARE, calibration_table
from mvtrain.model.run_folder import load_run
from mvtrain.predict.labeled_images import read_run_project
from mvtrain.predict.predictor import choose_device
from mvtrain.predict.run_predict import print_line, print_warning
from mvtrain.project.held_out import read_held_out
from mvtrain.project.names import frame_number
from mvtrain.project.project import Project
from mvtrain.report.error_sections import errors_section, reliability_section
from mvtrain.report.html import Section, folded_text, page_html
from mvtrain.report.learning_curves import learning_curves_section, read_metrics, read_run_info
from mvtrain.report.overview import overview_html
from mvtrain.report.pose_3d import pose_section, scenes_of
from mvtrain.report.predicted_videos import Recordings, read_recordings, reprojection_section
from mvtrain.report.worst_frames import WORST_FRAMES, worst_frames_section, write_worst_frames
from mvtrain.runtime.folders import find_runs
from mvtrain.runtime.messages import command


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Options of the command.

    Attributes:
        out: HTML file to write; None: `report.html` in the run folder.
        checkpoint: Checkpoint to load: `best` or `last`.
        batch_size: Number of frames per batch; None: `training.test_batch_size` of the run.
        device: Device of the network; None: a GPU if there is one.
    """

    out: Path | None = None
    checkpoint: str = "best"
    batch_size: int | None = None
    device: str | None = None


def report_command(run_dir: Path, options: ReportOptions, console: Console) -> None:
    """Evaluate a run on its project and write the page.

    Args:
        run_dir: Run folder, or folder of an ensemble, each run of which gets its page.
        options: Options of the command.
        console: Console for warnings and the name of the page.

    Raises:
        InputError: One page is named for several runs (`excluded-options`), the folder is not a run folder or has no
            checkpoint, a file in it is damaged, the project is not there (`missing-file`), or the page cannot be
            written there (`unwritable-file`).
    """
    folders = find_runs(run_dir)
    if len(folders) > 1 and options.out is not None:
        raise InputError(
            f"--output: found {options.out} for the {len(folders)} runs of {run_dir}, expected one run. Leave it out: "
            "every run gets a report.html, or give one of the runs.",
            code="excluded-options",
            option="--output",
            path=options.out,
        )
    have_videos = [_report_run(folder, options, console) for folder in folders]
    if not any(have_videos):
        print_line(console, f"Next: {command('mvtrain', 'predict', run_dir, 'VIDEOS')}")


def _report_run(run_dir: Path, options: ReportOptions, console: Console) -> bool:
    """Evaluate one run on its project and write the page; return True if the run has predicted videos."""
    run = load_run(run_dir, options.checkpoint)
    out = options.out or run_dir / "report.html"
    _check_writable(out)
    # Read first: errors in these files are found before the network runs, which takes longest.
    metrics, info, recordings = read_metrics(run_dir), read_run_info(run_dir), read_recordings(run)
    project = read_run_project(run)
    held_out = read_held_out(run.config, project)
    for text in (*project.warnings, *held_out.warnings):
        print_warning(console, text)
    edges = style_from_config(run.config, project.keypoint_names, min_confidence=0).edges
    device = choose_device(options.device)
    evaluation = evaluate(run, project, device=device, batch_size=options.batch_size)
    others = evaluate_held_out(run, project, held_out.found, device=device, batch_size=options.batch_size)
    evaluations = (evaluation, *others)
    if metrics is None:
        print_warning(console, f"{run_dir} has no metrics.csv: the page has no learning curves")
    for sentence in recordings.omitted:
        print_warning(console, sentence)

    share = DEFAULT_SHARE if run.confidence_map is None else run.confidence_map.share
    errors, errors_3d, pck, calibration = map(
        held_out_first,
        (
            join_tables(map(error_table, evaluations)),
            join_tables(map(error_3d_table, evaluations)),
            join_tables(map(pck_table, evaluations)),
            join_tables(calibration_table(each, share, run.confidence_map) for each in evaluations),
        ),
    )
    tables = {"pck": pck, "calibration": calibration}
    overview = overview_html(run, project, evaluation, tables, info=info, metrics=metrics, share=share)
    sections = [
        learning_curves_section(metrics),
        errors_section(evaluation, errors, errors_3d, run.error_bars),
        worst_frames_section(evaluation, project),
        pose_section(
            scenes_of(evaluation, project, recordings.complete), project.keypoint_names, edges, recordings.omitted
        ),
        reprojection_section(evaluation, errors, recordings),
        reliability_section(pck, calibration, share, run.confidence_map),
        _config_section(run_dir),
    ]
    title = f"{run_dir.resolve().name}: mvtrain report"
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    write_text(out, page_html(title, overview, sections, version=version("mvtrain"), date=now))
    print_line(console, f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB): open it in a browser; it works offline")
    _write_worst(out.with_name(WORST_FRAMES), recordings, project, console)
    return bool(recordings.doubts)


def _write_worst(path: Path, recordings: Recordings, project: Project, console: Console) -> None:
    """Write the list of the predicted frames to correct, if videos were predicted."""
    if not recordings.doubts:
        return
    names = [next(filter(None, by_view)) for by_view in project.image_names]
    numbers = [frame_number(PurePosixPath(name).stem) for name in names]
    count = write_worst_frames(path, recordings.doubts, set(zip(project.sessions, numbers, strict=True)))
    if not count:
        print_line(console, f"wrote {path}: empty, for all frames of the videos are in the project or close to one")
        return
    print_line(
        console,
        f"wrote {path}: {counted(count, 'frame')} of the videos to correct first. Next: "
        f"{command('mvtrain', 'frames', project.root, '--frames', path)}",
    )


def _check_writable(out: Path) -> None:
    """Check that the page can be a file of that name."""
    if out.is_dir() or not out.parent.is_dir():
        problem = "it is a folder" if out.is_dir() else f"the folder {out.parent} does not exist"
        raise InputError(
            f"{out}: the report cannot be written: {problem}. Name an HTML file with --output",
            code="unwritable-file",
            path=out,
        )


def _config_section(run_dir: Path) -> Section:
    """Show the config, folded."""
    config = read_text(run_dir / "config.yaml")
    return Section(
        anchor="config",
        title="Config",
        how_to_read="The config of the run with every value, as in its config.yaml.",
        body_html=folded_text("Show config.yaml", config),
    )
