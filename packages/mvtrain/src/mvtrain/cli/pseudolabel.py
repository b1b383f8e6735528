"""`mvtrain pseudolabel`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mvtrain.cli.options import check_inputs, make_wide_console, print_start
from mvtrain.cli.path_roles import check_sources, find_project_config
from mvtrain.runtime.imports import quick_imports


def pseudolabel(
    project: Annotated[Path, typer.Argument(help="Project folder, or its config file.")],
    predictions: Annotated[
        Path, typer.Argument(help="Folder that mvtrain predict wrote, best with --smooth, or a run folder.")
    ],
    num_frames: Annotated[
        int, typer.Option("--num-frames", "-n", min=1, help="Number of frames to take, over all sessions.")
    ] = 200,
    session: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Take frames of this session only; repeat for several.")
    ] = None,
    smoothed: Annotated[
        Path | None,
        typer.Option(help="Folder that mvtrain smooth wrote. Default: `smoothed` beside the predictions, if there."),
    ] = None,
    max_std: Annotated[
        float | None,
        typer.Option(
            min=1e-6,
            metavar="PX",
            help="Largest standard deviation of a label in px of the image. Default: that of the heatmaps' targets.",
        ),
    ] = None,
    ignore_frame_rates: Annotated[
        bool, typer.Option("--ignore-frame-rates", help="Match frames by number though the videos' rates differ.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the choice; write nothing.")] = False,
) -> None:
    """Take frames of predicted videos, with their points in 3D as labels, for the next mvtrain fit to learn from."""
    config = find_project_config(project, "pseudolabel")
    check_inputs(predictions, smoothed)
    check_sources("pseudolabel", [predictions])
    print_start(config)

    with quick_imports():
        from mvtrain.config import load_config
        from mvtrain.start.pseudolabel_videos import PseudolabelOptions
        from mvtrain.start.pseudolabel_videos import pseudolabel as run_pseudolabel

    options = PseudolabelOptions(
        num_frames=num_frames,
        sessions=tuple(session or ()),
        smoothed=smoothed,
        max_std=max_std,
        by_time=not ignore_frame_rates,
        dry_run=dry_run,
    )
    run_pseudolabel(load_config(config), predictions, options, make_wide_console())
