"""`mvtrain predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mvtrain.cli.options import (
    AllowPluginsOption,
    BatchSizeOption,
    CheckpointOption,
    DeviceOption,
    make_console,
    print_start,
)
from mvtrain.runtime.imports import quick_imports


def predict(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN... INPUT...",
            help="Run folders, several of them or that of `mvtrain fit --seeds` for an ensemble; then folders, videos "
            "`<session>_<view>.mp4` or patterns of them; a project's config.yaml for its images.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder for the tables. Default: video_preds in the folder of the run or ensemble."
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Calibration file, or folder of `<session>.toml`. Default: the project's, if it has one."),
    ] = None,
    boxes: Annotated[
        Path | None, typer.Option(help="Folder of `<video>_bbox.csv`. Default: beside the videos, if there.")
    ] = None,
    track: Annotated[
        bool, typer.Option("--track", help="Needs no boxes: crop each view about the projection of the last 3D pose.")
    ] = False,
    whole_frames: Annotated[
        bool, typer.Option("--whole-frames", help="Use whole images also where there are bounding boxes.")
    ] = False,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Also draw all views of a session into one video, and a still image.")
    ] = False,
    smooth: Annotated[
        bool,
        typer.Option("--smooth", help="Also smooth over time, into the folder `smoothed`, with standard deviations."),
    ] = False,
    checkpoint: CheckpointOption = "best",
    batch_size: BatchSizeOption = None,
    ignore_frame_rates: Annotated[
        bool, typer.Option("--ignore-frame-rates", help="Match images by number, not by their times in the files.")
    ] = False,
    device: DeviceOption = None,
    devices: Annotated[int, typer.Option(min=1, help="Number of devices; they share the sessions.")] = 1,
    allow_plugins: AllowPluginsOption = False,
) -> None:
    """Predict 2D and, with calibration, 3D keypoints of recordings; the same command goes on with a stopped one.

    Several runs are an ensemble: every frame is decoded once, and the networks' predictions are combined.
    """
    from mvtrain.cli.path_roles import check_options, check_predict_inputs, split_runs

    runs, inputs = split_runs(paths)
    check_predict_inputs(inputs)
    check_options(calibration=calibration, boxes=boxes)
    print_start(*runs)

    with quick_imports():
        from mvtrain.predict.run_predict import PredictOptions
        from mvtrain.predict.run_predict import predict as predict_inputs
        from mvtrain.runtime.interruption import RunInterruptedError

    options = PredictOptions(
        output_dir=output,
        calibration=calibration,
        boxes=boxes,
        track=track,
        whole_frames=whole_frames,
        overlay=overlay,
        smooth=smooth,
        checkpoint=checkpoint,
        batch_size=batch_size,
        by_time=not ignore_frame_rates,
        accelerator=device or "auto",
        devices=devices,
    )
    console = make_console()
    try:
        predict_inputs(runs, inputs, options, console)
    except RunInterruptedError as stopped:
        console.print(f"{stopped}; the same command {stopped.next_time}", soft_wrap=True)
        raise typer.Exit(stopped.exit_status) from None
