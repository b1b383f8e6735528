"""Training of an ensemble: runs of one config that differ in the seed of the model, one after the other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from mvgeom.errors import InputError
from mvgeom.files import file_name
from mvtrain.config import Config, save_config
from mvtrain.config.trust import remember_plugins
from mvtrain.runtime.ensemble_folder import EnsembleMember, is_done, read_ensemble, write_ensemble
from mvtrain.runtime.folders import ENSEMBLE_CONFIG, RUN_INFO, check_new_run_folder
from mvtrain.runtime.interruption import Interruption, RunInterruptedError

_PATIENCE = 0.2
"""Seconds between two looks whether a signal came."""


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
    """Run `mvtrain fit` in a process of its own, which gets the signals that come here.

    Returns:
        Its exit status, and the number of the signal that came; 0 if none.
    """
    # A session of its own: Ctrl+C on a terminal reaches this process only, which hands it on once.
    command = [sys.executable, "-m", "mvtrain", "fit", *arguments]
    with Interruption() as interruption, subprocess.Popen(command, start_new_session=True) as process:
        told = False
        try:
            while True:
                try:
                    return process.wait(_PATIENCE), interruption.signal_number
                except subprocess.TimeoutExpired:
                    if interruption.signal_number and not told:
                        process.send_signal(interruption.signal_number)
                        told = True
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
