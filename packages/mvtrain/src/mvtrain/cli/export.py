"""`mvtrain export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mvtrain.cli.options import AllowPluginsOption, CheckpointOption, RunArgument, make_console, print_start
from mvtrain.runtime.imports import quick_imports


def export(
    run: RunArgument,
    file_format: Annotated[
        list[str] | None, typer.Option("--format", help="onnx or torch; can be given twice. Default: both.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the files. Default: RUN/export.")
    ] = None,
    checkpoint: CheckpointOption = "best",
    allow_plugins: AllowPluginsOption = False,
) -> None:
    """Write the network as one graph from images to keypoints, for ONNX runtimes and torch.export."""
    from mvtrain.cli.path_roles import check_run

    check_run(run)
    print_start(run)

    with quick_imports():
        from mvtrain.export.runtime_files import WRITERS, export_run

    export_run(run, tuple(file_format or WRITERS), checkpoint, output, make_console())
