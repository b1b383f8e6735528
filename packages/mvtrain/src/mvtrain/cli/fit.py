"""`mvtrain fit`."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer


def fit(
    config: Annotated[Path | None, typer.Argument(help="Config file of the run (YAML).")] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the config, such as training.max_epochs=50.")
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Run folder; must be new or empty. Default: runs/<config>-<time>.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Run folder of a run that was stopped or killed: go on with it as it was.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Everything up to the first step, one batch to try it; writes nothing.")
    ] = False,
    overfit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Sanity check: learn N frames by heart, nothing else.")
    ] = None,
) -> None:
    """Train a model and write everything about it into a run folder."""
    from mvtrain.config import load_config
    from mvtrain.evaluate.run_evaluate import evaluate_trained
    from mvtrain.runtime.new_folder import check_new_run_folder
    from mvtrain.runtime.process import RunInterruptedError
    from mvtrain.synth.generate import generate_if_missing
    from mvtrain.training.hardware import first_process_console
    from mvtrain.training.train import overfit as run_overfit
    from mvtrain.training.train import train

    if (config is None) == (resume is None):
        raise ValueError("mvtrain fit needs either a config file, or --resume with a run folder")
    if resume is not None and (overrides or output_dir is not None or overfit is not None):
        raise ValueError(
            "--resume goes on with a run exactly as it was: no overrides, no --output-dir, no --overfit. To train on "
            "from its weights with other settings, start a new run with "
            f"model.checkpoint={resume / 'checkpoints' / 'best'}"
        )
    if dry_run and overfit is not None:
        raise ValueError("--dry-run and --overfit exclude each other")
    console = first_process_console()
    path = config if config is not None else _config_of(resume)
    loaded = load_config(path, overrides or ())
    if loaded.ignored:
        console.print(f"ignored, no counterpart here: {', '.join(loaded.ignored)}", soft_wrap=True, highlight=False)
    if resume is not None:
        output_dir = resume
    elif output_dir is None:
        stamp = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
        output_dir = Path("runs") / f"{path.stem}-{stamp}"
    if resume is None:
        check_new_run_folder(output_dir)
    generate_if_missing(loaded, console)
    try:
        if overfit is None:
            trained = train(loaded, output_dir, console, resume=resume is not None, dry_run=dry_run)
        else:
            trained = run_overfit(loaded, overfit, output_dir, console)
        if trained is not None:
            evaluate_trained(trained, console)
    except RunInterruptedError as stopped:
        console.print(f"{stopped}; go on with: mvtrain fit --resume {output_dir}", soft_wrap=True, highlight=False)
        raise typer.Exit(stopped.exit_status) from None


def _config_of(run_dir: Path | None) -> Path:
    from mvtrain.model.run_folder import check_run_folder

    assert run_dir is not None
    check_run_folder(run_dir)
    return run_dir / "config.yaml"
