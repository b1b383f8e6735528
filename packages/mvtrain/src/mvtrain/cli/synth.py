"""`mvtrain synth`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mvgeom.errors import InputError
from mvgeom.wording import counted
from mvtrain.cli.options import make_console
from mvtrain.runtime.imports import quick_imports
from mvtrain.runtime.messages import command


def synth(
    target: Annotated[Path | None, typer.Argument(metavar="OUT", hidden=True)] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Project folder to write; must not exist.")
    ] = None,
    num_views: Annotated[int, typer.Option(help="Number of cameras.")] = 4,
    num_frames: Annotated[int, typer.Option(help="Number of labeled frames.")] = 200,
    size: Annotated[int, typer.Option(help="Width and height of the images in px.")] = 256,
    occlusion: Annotated[float, typer.Option(help="Strength of the occlusion by moving obstacles, 0 to 1.")] = 0.3,
    label_noise: Annotated[float, typer.Option(help="Standard deviation of the labels' noise in px.")] = 0.0,
    num_sessions: Annotated[int, typer.Option(help="Recordings, each with another animal and path.")] = 2,
    video_frames: Annotated[int, typer.Option(help="Length of each session's videos.")] = 200,
    crop: Annotated[bool, typer.Option(help="Store crops around the animal, with their bounding boxes.")] = False,
    symmetric: Annotated[bool, typer.Option(help="Color left and right limbs alike.")] = False,
    seed: Annotated[int, typer.Option(help="Random seed: same seed, same bytes.")] = 0,
) -> None:
    """Generate a project: a rendered animal seen by several cameras, with labels, videos, calibration and the truth."""
    if (output is None) == (target is None):
        raise InputError("--output is missing. Give the folder to write.", code="missing-argument", option="--output")
    folder = output or target
    assert folder is not None
    make_console().print(f"rendering {folder} ...", soft_wrap=True)
    with quick_imports():
        from rich.progress import Progress

        from mvtrain.synth import SyntheticSpec, generate_project

    spec = SyntheticSpec(
        num_views=num_views,
        num_frames=num_frames,
        size=size,
        occlusion=occlusion,
        label_noise=label_noise,
        num_sessions=num_sessions,
        num_video_frames=video_frames,
        crop=crop,
        symmetric=symmetric,
        seed=seed,
    )
    with Progress(transient=True) as bar:
        task = bar.add_task("rendering")
        generate_project(folder, spec, progress=lambda done, total: bar.update(task, completed=done, total=total))
    make_console().print(
        f"wrote {folder}: {counted(num_views, 'view')}, {counted(num_frames, 'labeled frame')}. Next: "
        f"{command('mvtrain', 'fit', folder / 'config.yaml')}",
        soft_wrap=True,
    )
