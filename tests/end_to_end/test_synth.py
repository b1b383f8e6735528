"""`mvtrain synth` from the command line."""

from pathlib import Path

import pytest

from helpers.command import run_mvtrain
from mvtrain.config import load_config
from mvtrain.project.project import read_project
from mvtrain.synth import SyntheticSpec


def test_synth_writes_a_project_that_fit_can_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "project"
    options = ("--views", 2, "--frames", 4, "--size", 64, "--occlusion", 0.5, "--label-noise", 1, "--seed", 7)
    options += ("--sessions", 1, "--video-frames", 6, "--crop", "--symmetric")
    outcome = run_mvtrain(capsys, monkeypatch, "synth", out, *options)
    assert outcome.status == 0, outcome.err
    assert f"mvtrain fit {out}/config.yaml" in outcome.out
    changes = {"num_sessions": 1, "num_video_frames": 6, "crop": True, "symmetric": True, "seed": 7}
    spec = SyntheticSpec(num_views=2, num_frames=4, size=64, occlusion=0.5, label_noise=1.0, **changes)
    assert repr(spec) in (out / "config.yaml").read_text(encoding="utf-8"), "an option has not reached the generator"
    project = read_project(load_config(out / "config.yaml"))
    assert len(project) == 4
    assert len(project.view_names) == 2
    assert len(project.keypoint_names) >= 12
    assert project.boxes is not None
    assert all(cameras is not None for cameras in project.cameras)

    again = run_mvtrain(capsys, monkeypatch, "synth", out, *options)
    assert again.status == 2
    assert str(out) in again.err
    wrong = run_mvtrain(capsys, monkeypatch, "synth", tmp_path / "other", "--occlusion", 3)
    assert wrong.status == 2
    assert "occlusion" in wrong.err
    assert not (tmp_path / "other").exists()
