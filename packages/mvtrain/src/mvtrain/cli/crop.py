"""`mvtrain crop`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mvtrain.cli.options import make_console, print_start
from mvtrain.cli.path_roles import find_project_config
from mvtrain.runtime.imports import quick_imports


def crop(
    project: Annotated[Path, typer.Argument(help="Project folder with whole images, or its config file.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Project folder to write; must not exist.")],
    margin: Annotated[
        float, typer.Option(help="Margin of the boxes on every side, relative to the extent of the keypoints.")
    ] = 0.2,
) -> None:
    """Cut the labeled images to boxes around the subject, so that a small animal fills the network's input."""
    config = find_project_config(project, "crop")
    print_start(config)

    with quick_imports():
        from mvtrain.config import load_config
        from mvtrain.start.crop_project import CropOptions, crop_project

    crop_project(load_config(config), CropOptions(output=output, margin=margin), make_console())
