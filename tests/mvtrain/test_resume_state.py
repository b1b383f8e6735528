"""Everything that a run carries from step to step is in its saved state."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from rich.console import Console

from helpers.tiny import generate_tiny_project, write_tiny_config
from mvtrain.config import load_config
from mvtrain.training.loop import Trainer
from mvtrain.training.train import train

TIMES = ["samples_per_second", "share_waiting_for_data"]


class KilledError(Exception):
    pass


def write_config(folder: Path) -> Path:
    """A run whose log, random numbers and early stopping all span the place where it is killed.

    Rows are means of 4 steps, an epoch has 2; dropout draws from the global generator; the learning rate changes no
    weight, so that no validation is better than the first.
    """
    path = write_tiny_config(
        folder / "tiny.yaml",
        generate_tiny_project(folder / "project", num_frames=10, num_video_frames=10),
        train_batch_size=3,
        log_every_n_steps=4,
        max_epochs=12,
        min_epochs=1,
        early_stopping=True,
        early_stop_patience=4,
        save_every_minutes=0,
        optimizer_params={"learning_rate": 1e-30},
        unfreezing_epoch=0,
    )
    document = yaml.safe_load(path.read_text())
    document["model"]["backbone_args"] = {**document["model"]["backbone_args"], "proj_drop_rate": 0.3}
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.slow
def test_log_window_random_numbers_and_early_stopping_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    # The state is written in the run folder: there is no other place for temporary files.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    config, quiet = load_config(write_config(tmp_path)), Console(quiet=True)
    train(config, tmp_path / "whole", quiet)
    save, states = Trainer._save_state, []

    def save_and_die(trainer: Trainer) -> None:
        save(trainer)
        states.append((trainer.clock, trainer.validations.stale_validations, trainer._window.num_steps))
        if trainer.clock == 2.5:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save_state", save_and_die)
        with pytest.raises(KilledError):
            train(config, tmp_path / "broken", quiet)
    assert states[-1] == (2.5, 1, 1)
    assert [clock for clock, _, _ in states] == [0.5, 1.0, 1.5, 2.0, 2.5]  # after steps and after epochs
    torch.manual_seed(99)  # as in any other process
    train(config, tmp_path / "broken", quiet, resume=True)
    torch.set_num_threads(threads)
    whole, broken = (pd.read_csv(tmp_path / run / "metrics.csv", dtype=str) for run in ("whole", "broken"))
    assert whole["val_loss"].notna().sum() == 5  # the best, and four that were not better
    assert whole["loss"].dropna().nunique() > 1
    pd.testing.assert_frame_equal(broken.drop(columns=TIMES), whole.drop(columns=TIMES))
