"""`mvtrain evaluate`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder that mvtrain fit wrote.")],
    project: Annotated[
        Path | None, typer.Argument(help="Another labelled project: its config.yaml or folder. Default: the run's own.")
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
    output_dir: Annotated[
        Path | None, typer.Option(help="Folder for the tables. Default: evaluation in the run folder.")
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="Which weights of the run: best or last.")] = "best",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Frames per batch. Default: the run's test_batch_size.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Such as cuda:1. Default: a GPU if there is one.")] = None,
) -> None:
    """Errors in 2D and 3D by split, view and keypoint, correct keypoints, and what likelihoods are worth."""
    from mvtrain.evaluate.run_evaluate import EvaluateOptions, evaluate_command

    options = EvaluateOptions(
        project=project,
        output_dir=output_dir,
        fit_confidence=fit_confidence,
        within=within,
        checkpoint=checkpoint,
        batch_size=batch_size,
        device=device,
    )
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 120
    evaluate_command(run, options, console)
