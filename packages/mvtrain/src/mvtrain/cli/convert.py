"""`mvtrain convert`."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer

from mvgeom.errors import InputError
from mvtrain.cli.options import check_inputs, make_console, print_start, split_names
from mvtrain.runtime.imports import quick_imports


def convert(
    file_format: Annotated[
        str, typer.Argument(metavar="FORMAT", help="anipose, deeplabcut, eks, movement, nwb or pose2sim.")
    ],
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="Folders that mvtrain predict wrote; for eks one for each model."),
    ],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write; must not exist.")],
    views: Annotated[
        str | None, typer.Option(help="Names of the views, for tables without `<session>_prediction.json`.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=1e-6, help="Frames per second. Default: those of the videos, if still there.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Calibration file. Default: the one that was used, if still there.")
    ] = None,
    unit: Annotated[
        str | None, typer.Option(help="Unit of the calibration, m, cm or mm; Pose2Sim needs it, NWB names it.")
    ] = None,
    start: Annotated[
        datetime.datetime | None,
        typer.Option(
            formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S"],
            help="Start of the recordings, for NWB, such as 2026-03-01T14:30:00+0100; without zone it is local time.",
        ),
    ] = None,
    up: Annotated[str, typer.Option(help="Axis of the world that points up, for Pose2Sim: y or z.")] = "z",
) -> None:
    """Turn predictions into files of anipose, DeepLabCut, the ensemble Kalman smoother, movement, NWB or Pose2Sim."""
    from mvtrain.cli.path_roles import check_options, check_sources

    check_options(calibration=calibration)
    check_inputs(*sources)
    print_start(*sources)

    with quick_imports():
        from mvtrain.exchange.run_convert import ConvertOptions
        from mvtrain.exchange.run_convert import convert as run_convert

    options = ConvertOptions(
        out=output,
        view_names=split_names(views),
        frame_rate=fps,
        calibration=calibration,
        unit=unit,
        up=up,
        start=start if start is None or start.tzinfo is not None else start.astimezone(),
    )
    try:
        run_convert(file_format, sources, options, make_console())
    except InputError as error:
        if error.code == "missing-file":
            check_sources("convert", sources)  # what a source without predictions is
        raise
