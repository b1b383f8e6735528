"""`mvtrain label`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mvtrain.cli.options import check_inputs, make_console, print_start
from mvtrain.cli.path_roles import check_project
from mvtrain.runtime.imports import quick_imports


def label(
    project: Annotated[Path, typer.Argument(help="Project folder, or its config file (YAML).")],
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Run folder, or folder that `mvtrain predict` wrote to: its predictions are proposed as labels."
        ),
    ] = None,
    frames: Annotated[
        Path | None,
        typer.Option(help="CSV file with a column `image`, or `session` and `frame`: the frames to label, in order."),
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0.1, help="Reprojection error in px of the image beyond which a label is marked.")
    ] = 5.0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1. Default: a free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> None:
    """Label a project's frames in the browser: two clicks of a keypoint show its place in all other views."""
    check_project(project, "label")
    check_inputs(predictions, frames)
    print_start(project)

    with quick_imports():
        from mvtrain.label.run_label import label_project
        from mvtrain.label.service import LabelOptions

    options = LabelOptions(predictions=predictions, frames=frames, threshold=threshold)
    label_project(project, options, make_console(), port=port, open_browser=not no_browser)
