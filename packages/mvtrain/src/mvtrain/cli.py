"""The `mvtrain` command. Heavy imports live inside the subcommands: `--help` answers at once."""

from __future__ import annotations

import datetime
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

app = typer.Typer(
    name="mvtrain",
    help="Train a multi-view transformer on several calibrated cameras, and predict 2D and 3D keypoints.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.command()
def fit(
    config: Annotated[Path | None, typer.Argument(help="Config file of the run (YAML).")] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the config, such as training.max_epochs=50.")
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Run folder; must be new or empty. Default: runs/<config>-<time>.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Run folder of a run that was stopped or killed: go on with it as it was.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Everything up to the first step, one batch to try it; writes nothing.")
    ] = False,
    overfit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Sanity check: learn N frames by heart, nothing else.")
    ] = None,
) -> None:
    """Train a model and write everything about it into a run folder."""
    from mvtrain.config import load_config
    from mvtrain.training.fit import fit as run_fit
    from mvtrain.training.fit import overfit as run_overfit
    from mvtrain.training.hardware import first_process_console
    from mvtrain.training.interruption import RunInterruptedError

    if (config is None) == (resume is None):
        raise ValueError("mvtrain fit needs either a config file, or --resume with a run folder")
    if resume is not None and (overrides or output_dir is not None or overfit is not None):
        raise ValueError(
            "--resume goes on with a run exactly as it was: no overrides, no --output-dir, no --overfit. To train on "
            "from its weights with other settings, start a new run with "
            f"model.checkpoint={resume / 'checkpoints' / 'best'}"
        )
    if dry_run and overfit is not None:
        raise ValueError("--dry-run and --overfit exclude each other")
    console = first_process_console()
    path = config if config is not None else _config_of(resume)
    loaded = load_config(path, overrides or ())
    if loaded.ignored:
        console.print(f"ignored, no counterpart here: {', '.join(loaded.ignored)}", soft_wrap=True, highlight=False)
    if resume is not None:
        output_dir = resume
    elif output_dir is None:
        stamp = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
        output_dir = Path("runs") / f"{path.stem}-{stamp}"
    try:
        if overfit is None:
            run_fit(loaded, output_dir, console, resume=resume is not None, dry_run=dry_run)
        else:
            run_overfit(loaded, overfit, output_dir, console)
    except RunInterruptedError as stopped:
        console.print(f"{stopped}; go on with: mvtrain fit --resume {output_dir}", soft_wrap=True, highlight=False)
        raise typer.Exit(stopped.exit_status) from None


def _config_of(run_dir: Path | None) -> Path:
    assert run_dir is not None
    path = run_dir / "config.yaml"
    if not path.is_file():
        raise ValueError(f"{run_dir} is no run folder: it has no config.yaml")
    return path


@app.command()
def check(
    config: Annotated[Path, typer.Argument(help="Config file of the project (YAML).")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the config, such as data.split=block.")
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Folder for pictures and check.json. Default: runs/<config>-check.")
    ] = None,
) -> None:
    """Read a whole project and say what is wrong with it; exit status 1 when training on it would be wrong."""
    from mvtrain.checking.command import check as run_check
    from mvtrain.config import load_config

    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 120  # files and pipes have room
    loaded = load_config(config, overrides or ())
    if not run_check(loaded, output_dir or Path("runs") / f"{config.stem}-check", console):
        raise typer.Exit(1)


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Run folder that mvtrain fit wrote.")],
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...",
            help="Folders, videos <session>_<view>.mp4 or patterns of them; a project's config.yaml for its images.",
        ),
    ],
    output_dir: Annotated[
        Path | None, typer.Option(help="Folder for the tables. Default: video_preds in the run folder.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Calibration file, or folder of <session>.toml. Default: the project's, if it has one."),
    ] = None,
    boxes: Annotated[
        Path | None, typer.Option(help="Folder of <video>_bbox.csv. Default: beside the videos, if there.")
    ] = None,
    track: Annotated[
        bool, typer.Option("--track", help="Needs no boxes: crop each view about the projection of the last 3D pose.")
    ] = False,
    whole_frames: Annotated[
        bool, typer.Option("--whole-frames", help="Look at whole frames also where there are bounding boxes.")
    ] = False,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Also draw all views of a session into one video, and a still image.")
    ] = False,
    checkpoint: Annotated[str, typer.Option(help="Which weights of the run: best or last.")] = "best",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Moments per batch. Default: the run's test_batch_size.")
    ] = None,
    ignore_frame_rates: Annotated[
        bool, typer.Option("--ignore-frame-rates", help="Match frames by number though the videos' rates differ.")
    ] = False,
    accelerator: Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda, mps.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="How many; they share the sessions.")] = 1,
) -> None:
    """Predict 2D and, with calibration, 3D keypoints of recordings; the same command goes on with a stopped one."""
    from mvtrain.prediction.command import PredictOptions
    from mvtrain.prediction.command import predict as run_predict
    from mvtrain.training.interruption import RunInterruptedError

    options = PredictOptions(
        output_dir=output_dir,
        calibration=calibration,
        boxes=boxes,
        track=track,
        whole_frames=whole_frames,
        overlay=overlay,
        checkpoint=checkpoint,
        batch_size=batch_size,
        same_rate=not ignore_frame_rates,
        accelerator=accelerator,
        devices=devices,
    )
    console = Console()
    try:
        run_predict(run, inputs, options, console)
    except RunInterruptedError as stopped:
        console.print(f"{stopped}; the same command goes on from there", soft_wrap=True, highlight=False)
        raise typer.Exit(stopped.exit_status) from None


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Run folder of a trained model.")],
    file_format: Annotated[
        list[str] | None, typer.Option("--format", help="onnx or torch; can be given twice. Default: both.")
    ] = None,
    output_dir: Annotated[Path | None, typer.Option(help="Folder for the files. Default: RUN/export.")] = None,
    checkpoint: Annotated[str, typer.Option(help="Which weights of the run: best or last.")] = "best",
) -> None:
    """Write the network as one graph from images to keypoints, for ONNX runtimes and torch.export."""
    from mvtrain.exporting.command import WRITERS, export_run

    export_run(run, tuple(file_format or WRITERS), checkpoint, output_dir, Console())


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder that mvtrain fit wrote.")],
    project: Annotated[
        Path | None, typer.Argument(help="Another labelled project: its config.yaml or folder. Default: the run's own.")
    ] = None,
    fit_confidence: Annotated[
        bool, typer.Option("--fit-confidence", help="Calibrate likelihoods on the validation split; predict uses it.")
    ] = False,
    within: Annotated[
        float | None,
        typer.Option(
            help="Likelihood is the probability of being within this share of the subject's size. Default: 0.1."
        ),
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Folder for the tables. Default: evaluation in the run folder.")
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="Which weights of the run: best or last.")] = "best",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Moments per batch. Default: the run's test_batch_size.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Such as cuda:1. Default: a GPU if there is one.")] = None,
) -> None:
    """Errors in 2D and 3D by split, view and keypoint, correct keypoints, and what likelihoods are worth."""
    from mvtrain.evaluation.command import EvaluateOptions, evaluate_command

    options = EvaluateOptions(
        project=project,
        output_dir=output_dir,
        fit_confidence=fit_confidence,
        within=within,
        checkpoint=checkpoint,
        batch_size=batch_size,
        device=device,
    )
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 120
    evaluate_command(run, options, console)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Run folder that mvtrain fit wrote.")],
    out: Annotated[Path | None, typer.Option(help="HTML file. Default: report.html in the run folder.")] = None,
    checkpoint: Annotated[str, typer.Option(help="Which weights of the run: best or last.")] = "best",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Moments per batch. Default: the run's test_batch_size.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Such as cuda:1. Default: a GPU if there is one.")] = None,
) -> None:
    """Write a run as one HTML file: curves, errors, worst frames, the pose in 3D with the cameras, likelihoods."""
    from mvtrain.report.command import ReportOptions, report_command

    options = ReportOptions(out=out, checkpoint=checkpoint, batch_size=batch_size, device=device)
    report_command(run, options, Console())


@app.command(name="import")
def import_(
    file_format: Annotated[str, typer.Argument(metavar="FORMAT", help="deeplabcut, sleap, anipose or coco.")],
    sources: Annotated[
        list[Path] | None, typer.Argument(metavar="SOURCE...", help="Foreign projects or label files.")
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="Project folder to write; must not exist.")],
    view: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PATH", help="A source that is this view; once for each view.")
    ] = None,
    views: Annotated[str | None, typer.Option(help="Names of the views in their order, as top,left,right.")] = None,
    pattern: Annotated[
        str | None,
        typer.Option(help="How foreign names tell session and view, possibly <frame>. Default: <session>_<view>."),
    ] = None,
    individual: Annotated[str | None, typer.Option(help="Which animal to take where several are labelled.")] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Calibration file, or folder of <session>.toml. Default: what lies in the sources."),
    ] = None,
    media: Annotated[
        Path | None, typer.Option(help="Folder with videos or images that are not where the foreign project says.")
    ] = None,
    allow_absent: Annotated[
        bool, typer.Option("--allow-absent", help="Leave a view empty where there is no image of a moment.")
    ] = False,
    copy_videos: Annotated[bool, typer.Option("--copy-videos", help="Copy the videos into the project, too.")] = False,
) -> None:
    """Turn a labelled project of DeepLabCut, SLEAP, anipose or COCO keypoints into a project folder."""
    from mvtrain.exchange.import_command import ImportOptions, import_project

    options = ImportOptions(
        out=out,
        views=tuple(view or ()),
        view_names=_names(views),
        pattern=pattern,
        individual=individual,
        calibration=calibration,
        media=media,
        allow_absent=allow_absent,
        copy_videos=copy_videos,
    )
    import_project(file_format, sources or (), options, Console())


@app.command()
def convert(
    file_format: Annotated[
        str, typer.Argument(metavar="FORMAT", help="anipose, deeplabcut, eks, movement or pose2sim.")
    ],
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="Folders that mvtrain predict wrote; for eks one for each model."),
    ],
    *,
    out: Annotated[Path, typer.Option(help="Folder to write; must not exist.")],
    views: Annotated[
        str | None, typer.Option(help="Names of the views, for tables without <session>_prediction.json.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=1e-6, help="Frames per second. Default: those of the videos, if still there.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Calibration file. Default: the one that was used, if still there.")
    ] = None,
    unit: Annotated[str | None, typer.Option(help="Unit of the calibration, m, cm or mm; Pose2Sim needs it.")] = None,
    up: Annotated[str, typer.Option(help="Axis of the world that points up, for Pose2Sim: y or z.")] = "z",
) -> None:
    """Turn predictions into files of anipose, DeepLabCut, the ensemble Kalman smoother, movement or Pose2Sim."""
    from mvtrain.exchange.convert_command import ConvertOptions
    from mvtrain.exchange.convert_command import convert as run_convert

    options = ConvertOptions(
        out=out,
        view_names=_names(views),
        frame_rate=fps,
        calibration=calibration,
        unit=unit,
        up=up,
    )
    run_convert(file_format, sources, options, Console())


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()


@app.command()
def synth(
    out: Annotated[Path, typer.Argument(help="Project folder to write; must not exist.")],
    views: Annotated[int, typer.Option(help="Number of cameras.")] = 4,
    frames: Annotated[int, typer.Option(help="Number of labelled moments.")] = 200,
    size: Annotated[int, typer.Option(help="Width and height of the images in px.")] = 256,
    occlusion: Annotated[float, typer.Option(help="How much the moving occluder hides, 0 to 1.")] = 0.3,
    label_noise: Annotated[float, typer.Option(help="Standard deviation of the labels' noise in px.")] = 0.0,
    sessions: Annotated[int, typer.Option(help="Recordings, each with another animal and path.")] = 2,
    video_frames: Annotated[int, typer.Option(help="Length of each session's videos.")] = 200,
    crop: Annotated[bool, typer.Option(help="Store crops around the animal, with their bounding boxes.")] = False,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
) -> None:
    """Generate a project: a rendered animal seen by several cameras, with labels, videos, calibration and the truth."""
    from rich.progress import Progress

    from mvtrain.synth import SyntheticSpec, generate_project

    spec = SyntheticSpec(
        num_views=views,
        num_frames=frames,
        size=size,
        occlusion=occlusion,
        label_noise=label_noise,
        num_sessions=sessions,
        num_video_frames=video_frames,
        crop=crop,
        seed=seed,
    )
    with Progress(transient=True) as bar:
        task = bar.add_task("rendering")
        generate_project(out, spec, progress=lambda done, total: bar.update(task, completed=done, total=total))
    Console().print(f"wrote {out}: {views} views, {frames} labelled frames; start with mvtrain fit {out}/config.yaml")


def main() -> None:
    """Entry point: a user's mistake is one line on standard error and exit status 2, without a traceback."""
    # Read by libgomp when torch is loaded, which is later. Threads that spin while they wait take the cores that loader
    # workers need.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Read by OpenCV with the first video: what FFmpeg says about damaged frames would tear the progress bar, and is
    # said better afterwards.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        app()
    except (ValueError, OSError) as error:
        # Text, not markup: messages quote lists and paths, whose brackets are no markup.
        Console(stderr=True).print(Text.assemble(("error:", "bold red"), f" {error}"), soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
