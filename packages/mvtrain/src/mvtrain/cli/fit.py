"""`mvtrain fit`."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mvgeom.errors import InputError
from mvtrain.cli.options import AllowPluginsOption, print_start
from mvtrain.runtime.folders import ENSEMBLE_CONFIG, check_new_run_folder, is_ensemble
from mvtrain.runtime.imports import quick_imports
from mvtrain.runtime.messages import command


def fit(
    config: Annotated[Path | None, typer.Argument(help="Config file of the run (YAML).")] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the config, such as training.max_epochs=50.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Run folder; must be new or empty. Default: `runs/<config>-<time>`."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Run folder of a run that was stopped or killed: go on with it as it was.")
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="N|LIST",
            help="Train an ensemble, one run after the other, in `--output`: that many models, or those of the listed "
            "seeds, such as 3 or 0,1,2.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Everything up to the first step, one batch to try it; writes nothing.")
    ] = False,
    overfit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Sanity check: overfit N frames, nothing else.")
    ] = None,
    allow_plugins: AllowPluginsOption = False,
) -> None:
    """Train a model and write everything about it into a run folder."""
    chosen = _parse_seeds(seeds)
    path, run_dir = _config_and_run_folder(config, overrides, output, resume, dry_run, overfit, chosen)
    print_start(path)

    with quick_imports():
        from mvtrain.config import load_config
        from mvtrain.evaluation.run_evaluate import check_evaluation, evaluate_trained
        from mvtrain.runtime.interruption import RunInterruptedError
        from mvtrain.synth.generate import generate_if_missing
        from mvtrain.training.hardware import first_process_console
        from mvtrain.training.train import overfit as overfit_frames
        from mvtrain.training.train import start_ensemble, train, train_ensemble

    console = first_process_console()
    loaded = load_config(path, overrides or ())
    if loaded.ignored:
        _print(console, f"ignored, no counterpart here: {', '.join(loaded.ignored)}")
    generate_if_missing(loaded, console)
    try:
        if (chosen or is_ensemble(run_dir)) and not dry_run:
            if chosen:
                start_ensemble(loaded, run_dir, chosen)
            if status := train_ensemble(run_dir, console):
                _print(
                    console, f"{run_dir}: not complete; go on with: {command('mvtrain', 'fit', '--resume', run_dir)}"
                )
                raise typer.Exit(status)
            _print(console, f"the ensemble is in {run_dir}. Next: {command('mvtrain', 'predict', run_dir, 'VIDEOS')}")
            return
        if overfit is None:
            is_resumed = resume is not None
            trained = train(loaded, run_dir, console, resume=is_resumed, dry_run=dry_run, check=check_evaluation)
        else:
            trained = overfit_frames(loaded, overfit, run_dir, console, check=check_evaluation)
        if trained is not None:
            evaluate_trained(trained, console)
    except RunInterruptedError as stopped:
        _print(console, f"{stopped}; go on with: {command('mvtrain', 'fit', '--resume', run_dir)}")
        raise typer.Exit(stopped.exit_status) from None


def _config_and_run_folder(
    config: Path | None,
    overrides: list[str] | None,
    output: Path | None,
    resume: Path | None,
    dry_run: bool,
    overfit: int | None,
    seeds: tuple[int, ...],
) -> tuple[Path, Path]:
    """Return the config's path and the run folder, once the options fit each other and the paths exist."""
    if (config is None) == (resume is None):
        raise InputError(
            "mvtrain fit: give either a config file, or --resume with a run folder.", code="missing-argument"
        )
    if resume is not None and (overrides or output is not None or overfit is not None or seeds):
        raise InputError(
            "--resume: goes on with a run exactly as it was, without overrides, --output, --overfit or --seeds. To "
            "train on from its weights with other settings, start a new run with "
            f"model.checkpoint={resume / 'checkpoints' / 'best'}",
            code="excluded-options",
        )
    if dry_run and overfit is not None:
        raise InputError("--dry-run and --overfit exclude each other. Give one of them.", code="excluded-options")
    if seeds and overfit is not None:
        raise InputError("--seeds and --overfit exclude each other. Give one of them.", code="excluded-options")
    # Not at the top: --help must not wait for what tells the kinds of files.
    from mvtrain.cli.path_roles import check_config, check_runs

    if resume is not None:
        check_runs(resume)
        return resume / (ENSEMBLE_CONFIG if is_ensemble(resume) else "config.yaml"), resume
    assert config is not None
    check_config(config, "fit")
    if output is None:
        stamp = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
        return config, Path("runs") / f"{config.stem}-{stamp}"
    check_new_run_folder(output)
    return config, output


def _parse_seeds(text: str | None) -> tuple[int, ...]:
    """Return the seeds of `--seeds`: a number N stands for 0 to N - 1; none for None.

    Raises:
        InputError: `bad-option`.
    """
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    numbers = tuple(int(part) for part in parts if part.isdecimal())
    seeds = tuple(range(numbers[0])) if len(parts) == 1 and numbers else numbers
    if len(numbers) < len(parts) or len(seeds) < 2 or len(set(seeds)) < len(seeds):
        raise InputError(
            f"--seeds: found {text}, expected a number of models from 2, such as 3, or different seeds, such as 0,1,2.",
            code="bad-option",
            option="--seeds",
            found=text,
        )
    return seeds


def _print(console: Console, text: str) -> None:
    # Text, not markup: paths may have brackets.
    console.print(text, soft_wrap=True)
