"""Train and evaluate from Python, without a console."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from rich.console import Console

from mvgeom.errors import InputError
from mvtrain.config import Config
from mvtrain.evaluation.evaluation import (
    Evaluation,
    assign_splits,
    compare,
    compare_held_out,
    find_training_pose,
)
from mvtrain.evaluation.run_evaluate import check_evaluation, evaluate_trained, read_evaluated
from mvtrain.model.run_folder import Run, load_run
from mvtrain.predict.ensemble import arrange_alike, find_error_bars
from mvtrain.predict.labeled_images import image_warnings, predict_with_all
from mvtrain.predict.predictor import Predictor, choose_device
from mvtrain.runtime.folders import find_runs
from mvtrain.synth.generate import generate_if_missing
from mvtrain.training.train import train as train_network


def train(config: Config, run_dir: str | Path, *, resume: bool = False, console: Console | None = None) -> Run:
    """Train a network and evaluate it, as `mvtrain fit` does.

    Args:
        config: Config of the run, from `load_config`. A missing project that `data.synthetic` describes is generated.
        run_dir: Run folder; new or empty, with `resume` the folder of the run that goes on.
        resume: Go on from the last saved state; on the CPU the results are those of a run that never stopped.
        console: Console for progress and tables; None prints nothing.

    Returns:
        The run with its best checkpoint.

    Raises:
        InputError: A fault of the config or the project; `wrong-type`, if the config is not a `Config`;
            `occupied-folder`, if the folder is not empty; `not-a-run`, if there is no run to go on with.
        mvtrain.runtime.interruption.RunInterruptedError: A signal asked the run to stop; `resume` goes on with it.
    """
    if not isinstance(config, Config):
        raise InputError(
            f"config: found {type(config).__name__}, expected mvtrain.Config. Read a file by mvtrain.load_config.",
            code="wrong-type",
            argument="config",
        )
    console = console or Console(quiet=True, markup=False)
    folder = Path(run_dir)
    generate_if_missing(config, console)
    trained = train_network(config, folder, console, resume=resume, check=check_evaluation)
    if trained is not None:
        evaluate_trained(trained, console)
    return load_run(folder)


def evaluate(
    run: Run | str | Path,
    project: str | Path | None = None,
    *,
    held_out: str | None = None,
    checkpoint: str = "best",
    batch_size: int | None = None,
    device: str | torch.device | None = None,
) -> Evaluation:
    """Compare the predictions of a run, or of an ensemble together, with the labels of a project; nothing is written.

    Args:
        run: Run from `train` or `load_run`, or its folder; or the folder of `mvtrain fit --seeds`.
        project: Config file or folder of another labeled project; None takes the run's own.
        held_out: Split of held-out label tables to compare with, `new` or `test_table`; None takes the project's own
            tables.
        checkpoint: Name of the checkpoint, `best` or `last`, if `run` is a folder.
        batch_size: Frames per batch; None takes `training.test_batch_size` of the run.
        device: Device, such as "cuda:1"; None takes a GPU if there is one.

    Returns:
        One entry per labeled frame, in the order of the tables.

    Raises:
        InputError: The folder is not a run folder, the project does not fit the run, or it has no such held-out tables
            (`unknown-choice`).
    """
    if isinstance(run, Run):
        folder, runs = run.folder, [run]
    else:
        folder = Path(run)
        runs = arrange_alike([load_run(each, checkpoint) for each in find_runs(folder)])
    labeled, tables = read_evaluated(runs[0], None if project is None else Path(project))
    by_split = {each.split: each for each in tables.found}
    if held_out is not None and held_out not in by_split:
        raise InputError(
            f"held_out: no such label tables in {labeled.root}, found {held_out!r}, expected "
            f"{' or '.join(by_split) or 'none, as there are none'}",
            code="unknown-choice",
            argument="held_out",
            found=held_out,
            expected=tuple(by_split),
        )
    for text in (*image_warnings(labeled, runs[0].config), *(tables.warnings if held_out is not None else ())):
        warnings.warn(text, stacklevel=2)
    chosen = choose_device(device)
    predictors = [Predictor.from_run(each, chosen, batch_size) for each in runs]
    error_bars, sets = find_error_bars([folder], runs), assign_splits(runs[0], labeled)
    if held_out is None:
        predictions, confidence_map = predict_with_all(predictors, labeled)
        return compare(labeled, predictions, sets, confidence_map, error_bars)
    pose, other = find_training_pose(labeled, sets), by_split[held_out]
    return compare_held_out(other, *predict_with_all(predictors, other.project), error_bars, training_pose=pose)
