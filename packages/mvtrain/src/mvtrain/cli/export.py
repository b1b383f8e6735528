"""`mvtrain export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def export(
    run: Annotated[Path, typer.Argument(help="Run folder of a trained model.")],
    file_format: Annotated[
        list[str] | None, typer.Option("--format", help="onnx or torch; can be given twice. Default: both.")
    ] = None,
    output_dir: Annotated[Path | None, typer.Option(help="Folder for the files. Default: RUN/export.")] = None,
    checkpoint: Annotated[str, typer.Option(help="Which weights of the run: best or last.")] = "best",
) -> None:
    """Write the network as one graph from images to keypoints, for ONNX runtimes and torch.export."""
    from mvtrain.export.runtime_files import WRITERS, export_run

    export_run(run, tuple(file_format or WRITERS), checkpoint, output_dir, Console())
