"""`mvtrain evaluate`."""

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
    make_wide_console,
    print_start,
)
from mvtrain.runtime.imports import quick_imports


def evaluate(
    run: RunsArgument,
    project: Annotated[
        Path | None, typer.Argument(help="Another labeled project: its config.yaml or folder. Default: the run's own.")
    ] = None,
    fit_confidence: Annotated[
        bool, typer.Option("--fit-confidence", help="Calibrate likelihoods on the validation split; predict uses it.")
    ] = False,
    within: Annotated[
        float | None,
        typer.Option(
            help="Likelihood is the probability of being within this share of the subject's size. Default: 0.1."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder for the tables. Default: evaluation in the folder of the run or ensemble."
        ),
    ] = None,
    checkpoint: CheckpointOption = "best",
    batch_size: BatchSizeOption = None,
    device: DeviceOption = None,
    allow_plugins: AllowPluginsOption = False,
) -> None:
    """Write errors in 2D and 3D by split, view and keypoint, correct keypoints, and the calibration of likelihoods."""
    from mvtrain.cli.path_roles import check_labeled_project, check_runs

    check_runs(run)
    check_labeled_project(project)
    print_start(run)

    with quick_imports():
        from mvtrain.evaluation.run_evaluate import EvaluateOptions, evaluate_command

    options = EvaluateOptions(
        project=project,
        output_dir=output,
        fit_confidence=fit_confidence,
        within=within,
        checkpoint=checkpoint,
        batch_size=batch_size,
        device=device,
    )
    evaluate_command(run, options, make_wide_console())
