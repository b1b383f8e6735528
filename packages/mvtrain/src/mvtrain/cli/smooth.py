"""`mvtrain smooth`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mvgeom.cli.length_options import parse_length
from mvgeom.errors import InputError
from mvtrain.cli.options import check_inputs, make_console, print_start, split_names
from mvtrain.cli.path_roles import check_options, check_sources
from mvtrain.runtime.imports import quick_imports


def smooth(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...", help="Folders that mvtrain predict or mvtrain fit wrote; several are an ensemble."
        ),
    ],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write; must not exist.")],
    views: Annotated[
        str | None, typer.Option(help="Names of the views, for tables without `<session>_prediction.json`.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Calibration file. Default: the one that was used, if still there.")
    ] = None,
    max_gap: Annotated[
        int | None, typer.Option(min=0, help="Longest gap in frames that is bridged. Default: all.")
    ] = None,
    min_likelihood: Annotated[
        float, typer.Option(min=0, max=1, help="Keypoints below this likelihood do not count.")
    ] = 0.05,
    fps: Annotated[
        float | None, typer.Option(min=1e-6, help="Frames per second, for velocities. Default: those of the videos.")
    ] = None,
    bones: Annotated[
        str | None,
        typer.Option(
            metavar="A:B,...",
            help="Pairs of keypoints, whose lengths are written; held only with --rigid. Default: the run's skeleton.",
        ),
    ] = None,
    joints: Annotated[
        str | None,
        typer.Option(metavar="A:B:C,...", help="Triples of keypoints, for the angles at B. Default: all two bones."),
    ] = None,
    rigid: Annotated[
        bool, typer.Option("--rigid", help="Hold the lengths of the bones, which are measured in the recording.")
    ] = False,
    bone: Annotated[
        list[str] | None,
        typer.Option(metavar="A B LENGTH", help="Hold a length that is known, in the calibration's unit; repeatable."),
    ] = None,
) -> None:
    """Smooth predicted recordings over time, of one network or of several together, with standard deviations.

    Also writes velocities, speeds, lengths of bones and angles of joints. The same command goes on with a stopped one.
    """
    check_options(calibration=calibration)
    check_inputs(*sources)
    print_start(*sources)

    with quick_imports():
        from mvtrain.predict.smooth_predictions import SmoothOptions, smooth_predictions
        from mvtrain.predict.smoothed_tables import parse_groups
        from mvtrain.runtime.interruption import RunInterruptedError

    options = SmoothOptions(
        output=output,
        view_names=split_names(views),
        calibration=calibration,
        max_gap=max_gap,
        min_likelihood=min_likelihood,
        frame_rate=fps,
        bones=parse_groups(bones, 2, "--bones"),  # type: ignore[arg-type]
        joints=parse_groups(joints, 3, "--joints"),  # type: ignore[arg-type]
        rigid=rigid,
        lengths=tuple(parse_length(text, "--bone") for text in bone or ()),
    )
    console = make_console()
    try:
        smooth_predictions(sources, options, console)
    except RunInterruptedError as stopped:
        console.print(f"{stopped}; the same command {stopped.next_time}", soft_wrap=True)
        raise typer.Exit(stopped.exit_status) from None
    except InputError as error:
        if error.code == "missing-file":
            check_sources("smooth", sources)  # what a source without predictions is
        raise
