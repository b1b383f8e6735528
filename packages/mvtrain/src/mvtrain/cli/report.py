"""`mvtrain report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def report(
    run: Annotated[Path, typer.Argument(help="Run folder that mvtrain fit wrote.")],
    out: Annotated[Path | None, typer.Option(help="HTML file. Default: report.html in the run folder.")] = None,
    checkpoint: Annotated[str, typer.Option(help="Which weights of the run: best or last.")] = "best",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Frames per batch. Default: the run's test_batch_size.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Such as cuda:1. Default: a GPU if there is one.")] = None,
) -> None:
    """Write a run as one HTML file: curves, errors, worst frames, the pose in 3D with the cameras, likelihoods."""
    from mvtrain.report.write_report import ReportOptions, report_command

    options = ReportOptions(out=out, checkpoint=checkpoint, batch_size=batch_size, device=device)
    report_command(run, options, Console())
