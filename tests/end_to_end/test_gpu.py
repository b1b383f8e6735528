"""`mvtrain fit` on a GPU, in mixed precision."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from helpers.command import run_mvtrain
from helpers.tiny import generate_tiny_project, write_tiny_config
from mvtrain.data.batch import Batch


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_fit_on_a_gpu(
    precision: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    project, run = tmp_path / "project", tmp_path / "run"
    options = ("--views", 3, "--frames", 20, "--size", 96, "--sessions", 1, "--video-frames", 20)
    assert run_mvtrain(capsys, monkeypatch, "synth", project, *options).status == 0
    changes = ("model.backbone_pretrained=false", "training.accelerator=cuda", f"training.precision={precision}")
    changes += ("training.min_epochs=2", "training.max_epochs=2", "training.unfreezing_epoch=0")
    changes += ("training.lr_scheduler_params.multisteplr.milestones=[1]", "training.log_every_n_steps=1")
    changes += ("training.patch_mask.init_epoch=0", "training.patch_mask.final_epoch=1")
    outcome = run_mvtrain(capsys, monkeypatch, "fit", project / "config.yaml", *changes, "--output", run)
    assert outcome.status == 0, outcome.err
    metrics = pd.read_csv(run / "metrics.csv")
    assert metrics["loss"].dropna().map(float).abs().lt(1e6).all()
    assert (run / "predictions_cam1.csv").exists()


@pytest.mark.gpu
def test_a_step_does_not_wait_for_the_gpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    from mvtrain.training.loop import Trainer

    plain_step = Trainer.train_step
    counted = []

    def watched_step(self: Trainer, batch: Batch) -> dict[str, torch.Tensor]:
        torch.cuda.set_sync_debug_mode("error")
        try:
            counted.append(1)
            return plain_step(self, batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Trainer, "train_step", watched_step)
    project = generate_tiny_project(tmp_path / "project")
    config = write_tiny_config(tmp_path / "tiny.yaml", project, accelerator="cuda", unfreezing_epoch=0)
    outcome = run_mvtrain(capsys, monkeypatch, "fit", config, "--output", tmp_path / "run")
    assert outcome.status == 0, outcome.err
    assert len(counted) == 12
