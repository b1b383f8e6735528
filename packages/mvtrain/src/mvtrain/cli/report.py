"""`mvtrain report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mvtrain.cli.options import (
    AllowPluginsOption,
    BatchSizeOption,
    CheckpointOption,
    DeviceOption,
    RunsArgument,
    make_console,
    print_start,
)
from mvtrain.runtime.imports import quick_imports


def report(
    run: RunsArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML file. Default: report.html in the run folder.")
    ] = None,
    checkpoint: CheckpointOption = "best",
    batch_size: BatchSizeOption = None,
    device: DeviceOption = None,
    allow_plugins: AllowPluginsOption = False,
) -> None:
    """Write a run as one HTML file: curves, errors, worst frames, the pose in 3D with the cameras, likelihoods."""
    from mvtrain.cli.path_roles import check_runs

    check_runs(run)
    print_start(run)

    with quick_imports():
        from mvtrain.report.write_report import ReportOptions, report_command

    options = ReportOptions(out=output, checkpoint=checkpoint, batch_size=batch_size, device=device)
    report_command(run, options, make_console())
