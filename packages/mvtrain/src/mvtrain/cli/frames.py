"""`mvtrain frames`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mvgeom.errors import InputError
from mvtrain.cli.options import AllowPluginsOption, DeviceOption, check_inputs, make_wide_console, print_start
from mvtrain.cli.path_roles import check_run, find_project_config
from mvtrain.runtime.imports import quick_imports


def add_frames(
    project: Annotated[Path, typer.Argument(help="Project folder, or its config file.")],
    num_frames: Annotated[
        int | None,
        typer.Option(
            "--num-frames",
            "-n",
            min=1,
            help="Number of frames to add, over all sessions. Default: 50, or all of --frames.",
        ),
    ] = None,
    frames: Annotated[
        Path | None,
        typer.Option(
            help="CSV file with columns `session`, `frame`, as worst_frames.csv of a report: add these frames, in "
            "place of a choice."
        ),
    ] = None,
    session: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Take frames of this session only; repeat for several.")
    ] = None,
    videos: Annotated[
        list[Path] | None, typer.Option(help="Folder of videos `<session>_<view>.mp4`. Default: the project's.")
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="Run folder whose backbone compares images. Default: the config's if it is here."),
    ] = None,
    small_images: Annotated[
        bool, typer.Option("--small-images", help="Compare small images, also where there is a backbone; faster.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Random seed: same seed, same frames.")] = 0,
    ignore_frame_rates: Annotated[
        bool, typer.Option("--ignore-frame-rates", help="Match frames by number though the videos' rates differ.")
    ] = False,
    device: DeviceOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the choice; write nothing.")] = False,
    allow_plugins: AllowPluginsOption = False,
) -> None:
    """Choose frames of the videos that differ, and add them to the project to be labeled, the same in all views."""
    config = find_project_config(project, "frames")
    check_inputs(run, frames, *(videos or ()))
    if frames is not None and (run is not None or small_images):
        raise InputError(
            "--frames: names the frames, so that none are compared. Give it without --run and --small-images.",
            code="excluded-options",
            option="--frames",
        )
    if run is not None:
        check_run(run)
    print_start(config)

    with quick_imports():
        from mvtrain.config import load_config
        from mvtrain.start.add_frames import FramesOptions
        from mvtrain.start.add_frames import add_frames as run_frames

    options = FramesOptions(
        num_frames=num_frames,
        listed=frames,
        sessions=tuple(session or ()),
        videos=tuple(videos or ()),
        run=run,
        small_images=small_images,
        seed=seed,
        by_time=not ignore_frame_rates,
        device=device,
        dry_run=dry_run,
    )
    run_frames(load_config(config), options, make_wide_console())
