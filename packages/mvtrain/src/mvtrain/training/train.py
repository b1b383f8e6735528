"""Train a network, or an ensemble of them, from a config into a run folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.text import Text

from mvgeom.errors import InputError
from mvgeom.files import file_name
from mvtrain.config import Config, save_config
from mvtrain.config.plugins import remember_plugins
from mvtrain.project.label_tables import VISIBLE
from mvtrain.project.labels_3d import calibration_warnings, check_calibration
from mvtrain.project.project import Project, read_project
from mvtrain.project.pseudo_labels import PseudoLabels, held_out_warnings, read_pseudo_labels
from mvtrain.project.splits import Split, split_frames, write_split
from mvtrain.runtime.folders import (
    ENSEMBLE_CONFIG,
    LOCK,
    RUN_INFO,
    EnsembleMember,
    check_new_run_folder,
    check_run_folder,
    is_done,
    read_ensemble,
    write_ensemble,
)
from mvtrain.runtime.interruption import Interruption, RunInterruptedError
from mvtrain.runtime.locks import locked_folder
from mvtrain.training.build import make_average, make_loaders, make_model, make_optimizer
from mvtrain.training.guards import explain_failures
from mvtrain.training.hardware import choose_precision, launch
from mvtrain.training.loop import Trainer
from mvtrain.training.metrics_log import ProgressLine, draw_learning_curves
from mvtrain.training.run_info import add_run_info, thread_warning
from mvtrain.training.schedules import check_lengths, make_schedules
from mvtrain.training.summary import print_summary

Check = Callable[[Config, Project, Console], None]
"""Function that raises an InputError where a file is missing or damaged that is needed after the training."""

_PATIENCE = 0.2
"""Seconds between two looks whether a signal came."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedRun:
    """Run whose training has ended, for the process that evaluates it.

    Attributes:
        folder: Run folder.
        config: Config with which the network was trained.
        project: Project on which it was trained.
        split: Split of the project's frames.
        device: Device of this process.
    """

    folder: Path
    config: Config
    project: Project
    split: Split
    device: torch.device


def train(
    config: Config,
    run_dir: Path,
    console: Console,
    *,
    resume: bool = False,
    dry_run: bool = False,
    check: Check | None = None,
) -> TrainedRun | None:
    """Train a model and write everything about it into a run folder.

    Args:
        config: Config of the run.
        run_dir: Run folder, new or empty; with `resume` the folder of the run that goes on.
        console: Console for progress and tables.
        resume: Go on from the run's last saved state; on the CPU the results are those of a run that never stopped, bit
            by bit.
        dry_run: Do everything up to the first step, and take one batch forward and backward; nothing is written.
        check: Check of what will be needed after the training, before the first step.

    Returns:
        The run in the process of global rank 0; None in the others, also if a signal stopped them, and after a dry run.

    Raises:
        InputError: A fault of the config or the project, or no run to go on with, before the first step; later a loss
            that is not finite, too little memory, a full disk.
        RunInterruptedError: A signal asked the run to stop; in the process of global rank 0.
    """
    if not resume:
        check_new_run_folder(run_dir)
    elif not dry_run:  # which can be of an ensemble, too
        check_run_folder(run_dir)
    project = read_project(config)
    for warning in project.warnings:
        _warn(console, warning)
    if check is not None:
        check(config, project, console)
    split = split_frames(project, config)
    pseudo = read_pseudo_labels(config, project)
    for warning in () if pseudo is None else (*pseudo.warnings, *held_out_warnings(pseudo, split)):
        _warn(console, warning)
    return _train(config, project, split, run_dir, console, pseudo=pseudo, resume=resume, dry_run=dry_run)


def overfit(
    config: Config, num_frames: int, run_dir: Path, console: Console, *, check: Check | None = None
) -> TrainedRun | None:
    """Overfit a few frames, as a sanity check that the network can learn the project at all.

    Augmentation and masking are off, there is no validation, and a batch holds all frames if it can.

    Args:
        config: Config of the run.
        num_frames: Number of frames, spread over the training split.
        run_dir: Run folder, new or empty.
        console: Console for progress and tables.
        check: As for `train`.

    Returns:
        As `train` does.

    Raises:
        InputError: As for `train`; `out-of-range` if there are fewer training frames.
    """
    project = read_project(config)
    if check is not None:
        check(config, project, console)
    split = split_frames(project, config)
    if not 1 <= num_frames <= len(split.train):
        raise InputError(
            f"--overfit: found {num_frames}, expected 1 to {len(split.train)}, the number of training frames",
            code="out-of-range",
            option="--overfit",
            num_frames=len(split.train),
        )
    rows = split.train[np.linspace(0, len(split.train) - 1, num_frames).round().astype(int)]
    nothing = np.zeros(0, dtype=np.int64)
    others = np.setdiff1d(np.arange(len(project.sessions)), rows)
    training = replace(
        config.training,
        imgaug="none",
        imgaug_3d=False,
        imgaug_hflip=False,
        patch_mask=None,
        early_stopping=False,
        train_batch_size=min(config.training.train_batch_size, num_frames),
    )
    few = Split(train=rows, validation=nothing, test=nothing, unused=others)
    return _train(replace(config, training=training), project, few, run_dir, console, resume=False, dry_run=False)


def _train(
    config: Config,
    project: Project,
    split: Split,
    run_dir: Path,
    console: Console,
    *,
    resume: bool,
    dry_run: bool,
    pseudo: PseudoLabels | None = None,
) -> TrainedRun | None:
    check_calibration(config, project)
    for warning in calibration_warnings(config, project):
        _warn(console, warning)
    for warning in (*split.warnings, *_never_labeled(project, split)):
        _warn(console, warning)
    for warning in check_lengths(config, num_train=len(split.train), num_validation=len(split.validation)):
        _warn(console, warning)
    # The run's config.yaml names what was chosen: a resumed run computes as it did before, wherever it goes on.
    config = replace(config, training=replace(config.training, precision=choose_precision(config)))
    fabric = launch(config, console)
    with Interruption() as interruption, explain_failures():
        trainer = _prepare(config, project, split, pseudo, fabric, run_dir, interruption, console)
        if dry_run:
            trainer.try_step()
            console.print("dry run: one batch went forward and backward, nothing was written")
            return None
        with _alone_in(run_dir) if fabric.is_global_zero else nullcontext():
            if fabric.is_global_zero:
                if not resume:
                    check_new_run_folder(run_dir)  # again: another process may have trained here meanwhile
                if resume and (threads := thread_warning(run_dir)):
                    _warn(console, threads)
                # Before config.yaml: a folder with config.yaml alone is a project, and one without it is begun anew.
                add_run_info(run_dir, config, fabric, resume=resume)
                remember_plugins(config.model.plugins)
                if not resume:
                    write_split(run_dir, project, split.names())
                    save_config(config, run_dir / "config.yaml")
            try:
                _fit(trainer, resume=resume)
            except RunInterruptedError:
                # All processes have stopped. Fabric kills the first one as soon as another has ended with an error.
                fabric.barrier()
                if fabric.is_global_zero:
                    raise
                return None
    fabric.barrier()
    if not fabric.is_global_zero:
        return None
    return TrainedRun(folder=run_dir, config=config, project=project, split=split, device=fabric.device)


def _fit(trainer: Trainer, *, resume: bool) -> None:
    try:
        with trainer.progress:
            trainer.fit(resume=resume)
    finally:
        if trainer.fabric.is_global_zero:
            draw_learning_curves(trainer.run_dir)


def _never_labeled(project: Project, split: Split) -> list[str]:
    """Return the warning about keypoints that no training frame shows, if there are any."""
    never = ~(project.visibility[split.train] == VISIBLE).any(axis=(0, 1))
    names = [name for name, is_never in zip(project.keypoint_names, never, strict=True) if is_never]
    if not names:
        return []
    return [
        f"no training frame has a visible label of {', '.join(names)}: predictions of it are no more than a guess, "
        "whatever their likelihood. Label it, or remove it from the label tables"
    ]


def _warn(console: Console, warning: str) -> None:
    console.print(Text.assemble(("warning:", "yellow"), f" {warning}"), soft_wrap=True)


def _alone_in(run_dir: Path) -> AbstractContextManager[None]:
    busy = f"another process is training in {run_dir}"
    return locked_folder(run_dir, run_dir / LOCK, what=f"the run folder {run_dir}", busy=busy)


def _prepare(
    config: Config,
    project: Project,
    split: Split,
    pseudo: PseudoLabels | None,
    fabric: Fabric,
    run_dir: Path,
    interruption: Interruption,
    console: Console,
) -> Trainer:
    training = config.training
    torch.manual_seed(training.rng_seed_model_pt)
    spec, model = make_model(config, project, split)
    train_loader, validation_loader = make_loaders(config, project, split, spec, fabric, pseudo)
    schedules = make_schedules(config, -(-len(train_loader) // training.accumulate_grad_batches))
    averaged = None if training.ema_decay is None else make_average(model, training.ema_decay, fabric)
    total = round(schedules.max_epochs * len(train_loader))
    print_summary(config, project, split, spec, model, schedules, train_loader, fabric, console)
    # In place: a compiled module's parameters would have other names in checkpoints.
    if training.compile:
        model.compile()
    wrapped = fabric.setup_module(model)
    optimizer = fabric.setup_optimizers(make_optimizer(config, model))
    assert isinstance(optimizer, torch.optim.Optimizer)
    return Trainer(
        config=config,
        fabric=fabric,
        model=wrapped,
        averaged=averaged,
        optimizer=optimizer,
        spec=spec,
        schedules=schedules,
        train_loader=train_loader,
        validation_loader=validation_loader,
        run_dir=run_dir,
        progress=ProgressLine(console, total),
        interruption=interruption,
    )


def start_ensemble(config: Config, folder: Path, seeds: Sequence[int]) -> None:
    """Write the folder of an ensemble without any run yet.

    Args:
        config: Config of the runs.
        folder: Folder, new or empty.
        seeds: Seeds of the models, each `training.rng_seed_model_pt` of a run `seed<number>`.

    Raises:
        InputError: The folder has files in it (`occupied-folder`) or cannot be written (`unwritable-file`).
    """
    check_new_run_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}", code="unwritable-file", path=folder) from error
    remember_plugins(config.model.plugins)
    save_config(config, folder / ENSEMBLE_CONFIG)
    write_ensemble(folder, {f"seed{seed}": EnsembleMember(seed=seed, done=False) for seed in seeds})


def train_ensemble(folder: Path, console: Console) -> int:
    """Train the runs of an ensemble that are not done, each in a process of its own, as `mvtrain fit` does.

    A process of its own makes each run the one that the same config and seed give alone, and frees its memory.

    Args:
        folder: Folder that `start_ensemble` wrote.
        console: Console for a line about every run.

    Returns:
        Exit status of the first run that failed, whose process printed why; 0 if all are done.

    Raises:
        InputError: The list of the runs is damaged.
        RunInterruptedError: A signal asked to stop; the same call goes on.
    """
    members = read_ensemble(folder)
    for number, (name, member) in enumerate(members.items(), 1):
        title = f"run {number} of {len(members)}: {folder / file_name(name)}"
        if is_done(folder, name, member):
            console.print(f"{title} is done", soft_wrap=True)
            continue
        console.print(title, soft_wrap=True)
        status, signal_number = run_fit(_arguments(folder, name, member.seed))
        if signal_number:
            raise RunInterruptedError(f"{folder}: stopped in run {number} of {len(members)}", signal_number)
        if status:
            return status
        members[name] = replace(member, done=True)
        if int(os.environ.get("RANK", "0")) == 0:  # processes that were started from outside share the folder
            write_ensemble(folder, members)
    return 0


def run_fit(arguments: Sequence[str]) -> tuple[int, int]:
    """Run `mvtrain fit` in a process of its own, and forward signals to it.

    Returns:
        Its exit status, and the number of the signal that came; 0 if none.
    """
    # A session of its own: Ctrl+C on a terminal reaches this process only, which hands it on once.
    command = [sys.executable, "-m", "mvtrain", "fit", *arguments]
    with Interruption() as interruption, subprocess.Popen(command, start_new_session=True) as process:
        reported = False
        try:
            while True:
                try:
                    return process.wait(_PATIENCE), interruption.signal_number
                except subprocess.TimeoutExpired:
                    if interruption.signal_number and not reported:
                        process.send_signal(interruption.signal_number)
                        reported = True
        except BaseException:
            process.send_signal(signal.SIGTERM)  # a second signal here is a second one there
            raise


def _arguments(folder: Path, name: str, seed: int) -> list[str]:
    """Return the arguments of `mvtrain fit` for one run: to start it, or to go on with it."""
    run_dir = folder / file_name(name)
    if (run_dir / "config.yaml").is_file():
        return ["--resume", str(run_dir)]
    # Killed between its first two files.
    (run_dir / RUN_INFO).unlink(missing_ok=True)
    return [str(folder / ENSEMBLE_CONFIG), f"training.rng_seed_model_pt={seed}", "--output", str(run_dir)]
