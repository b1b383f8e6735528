"""Train and evaluate from Python, without a console."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from rich.console import Console

from mvgeom.errors import InputError
from mvtrain.config import Config
from mvtrain.evaluation import evaluation as comparison
from mvtrain.evaluation.evaluation import Evaluation
from mvtrain.evaluation.run_evaluate import check_evaluation, evaluate_trained, read_evaluated
from mvtrain.model.run_folder import Run, load_run
from mvtrain.predict.labeled_images import image_warnings
from mvtrain.predict.predictor import choose_device
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
    checkpoint: str = "best",
    device: str | torch.device | None = None,
) -> Evaluation:
    """Compare a run's predictions with the labels of a project; nothing is written.

    Args:
        run: Run from `train` or `load_run`, or its folder.
        project: Config file or folder of another labeled project; None takes the run's own.
        checkpoint: Name of the checkpoint, `best` or `last`, if `run` is a folder.
        device: Device, such as "cuda:1"; None takes a GPU if there is one.

    Returns:
        One entry per labeled frame, in the project's order.

    Raises:
        InputError: The folder is not a run folder, or the project does not fit the run.
    """
    loaded = run if isinstance(run, Run) else load_run(Path(run), checkpoint)
    labeled, _ = read_evaluated(loaded, None if project is None else Path(project))
    for text in image_warnings(labeled, loaded.config):
        warnings.warn(text, stacklevel=2)
    return comparison.evaluate(loaded, labeled, device=choose_device(device))
