"""From videos and a calibration to 3D: the commands in one process, and docs/your-videos.md block by block."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from helpers.command import run_mvtrain
from helpers.new_projects import label_from_truth
from helpers.page_commands import BLOCK, run_script, script, stale_quotes
from helpers.tiny import TINY_MODEL, generate_tiny_project
from mvtrain.config import load_config
from mvtrain.project.project import read_project

PAGE = Path(__file__).parents[2] / "docs" / "your-videos.md"
KEYPOINTS = "nose,left_ear,right_ear,tail_base"
FEW = [
    "training.max_epochs=2",
    "training.train_batch_size=4",
    "training.num_workers=0",
    "training.accelerator=cpu",
    f"model={yaml.safe_dump({**TINY_MODEL, 'heatmap_loss_type': 'kl'}, default_flow_style=True).strip()}",
]


@pytest.mark.slow
def test_from_videos_to_3d_and_with_crops(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    generated = generate_tiny_project(tmp_path / "generated", num_video_frames=30, num_frames=4, size=96)
    project, crops = tmp_path / "project", tmp_path / "crops"

    def run(*arguments: object) -> str:
        done = run_mvtrain(capsys, monkeypatch, *arguments)
        assert done.status == 0, done.out + done.err
        return done.out

    videos = generated / "videos"
    rig = generated / "calibrations" / "session1.toml"
    printed = run("init", videos, "--calibration", rig, "--keypoints", KEYPOINTS, "--output", project)
    assert f"Next: mvtrain frames {project} -n 50" in printed
    too_early = run_mvtrain(capsys, monkeypatch, "fit", project / "config.yaml", *FEW, "--output", tmp_path / "no")
    assert (too_early.status, "mvtrain frames" in too_early.err) == (2, True)
    run("frames", project, "-n", 12)
    too_early = run_mvtrain(capsys, monkeypatch, "fit", project / "config.yaml", *FEW, "--output", tmp_path / "no")
    assert (too_early.status, "mvtrain label" in too_early.err) == (2, True)
    label_from_truth(project, generated)
    run("frames", project, "-n", 3)  # stay without labels
    loaded = read_project(load_config(project / "config.yaml"))
    assert len(loaded) == 15
    assert any("no label in any view for 3 of 15 frames" in warning for warning in loaded.warnings)
    run("fit", project / "config.yaml", *FEW, "--output", tmp_path / "run")
    splits = pd.read_csv(tmp_path / "run" / "predictions_cam1.csv", header=[0, 1, 2], index_col=0).iloc[:, -1]
    assert (splits == "unused").sum() == 3
    run("predict", tmp_path / "run", project / "videos")
    table = pd.read_csv(tmp_path / "run" / "video_preds" / "session1_3d.csv", header=[0, 1, 2], index_col=0)
    assert len(table) == 30

    printed = run("crop", project, "--output", crops)
    assert "left out 3 frames without any label" in printed
    run("fit", crops / "config.yaml", *FEW, "--output", tmp_path / "crop_run")
    run("predict", tmp_path / "crop_run", project / "videos", "--track")
    assert (tmp_path / "crop_run" / "video_preds" / "session1_cam1_track.csv").is_file()


def test_one_view_without_a_calibration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    generated = generate_tiny_project(tmp_path / "generated", num_views=1, num_video_frames=24, num_frames=2)
    commands = [
        ("init", generated / "videos", "--keypoints", KEYPOINTS, "--output", tmp_path / "p"),
        ("frames", tmp_path / "p", "-n", 12),
        ("fit", tmp_path / "p" / "config.yaml", *FEW, "--output", tmp_path / "run"),
        ("predict", tmp_path / "run", tmp_path / "p" / "videos"),
    ]
    for number, command in enumerate(commands):
        done = run_mvtrain(capsys, monkeypatch, *command)
        assert done.status == 0, done.out + done.err
        if number == 1:
            label_from_truth(tmp_path / "p", generated)
    assert (tmp_path / "run" / "video_preds" / "session1_cam1.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["init", "videos"], "--keypoints"),
        (["init", "--keypoints", "a,b"], "there are no videos"),
        (["init", ".", "--keypoints", "a,,b"], "a keypoint's name"),
        (["init", "nowhere", "--keypoints", "a"], "nowhere"),
        (["init", "--view", "top", "--keypoints", "a"], "--view"),
        (["frames", "nowhere"], "mvtrain init"),
        (["crop", "nowhere", "--output", "x"], "mvtrain init"),
    ],
)
def test_faults_of_the_command_line(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run_mvtrain(capsys, monkeypatch, *arguments)
    assert done.status == 2
    assert text in done.err


def test_the_page_has_every_command() -> None:
    commands = " ".join(block for _, block in BLOCK.findall(PAGE.read_text()))
    for name in ("init", "frames", "check", "fit", "predict", "crop"):
        assert f"uv run mvtrain {name} " in commands
    assert "mvtrain label data/mine" in PAGE.read_text()


@pytest.mark.slow
def test_the_page_runs(tmp_path: Path) -> None:
    """Every block, with a network that is small and trained for two epochs, and labels from the generator's truth."""
    helper = tmp_path / "before_training.py"
    helper.write_text(
        "import sys\nfrom pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from helpers.new_projects import before_training\nbefore_training(Path())\n"
    )
    text = re.sub(
        r"^mvtrain (check|fit) ", rf"{sys.executable} {helper} || exit 98\n\g<0>", script(PAGE.read_text()), flags=re.M
    )
    done: subprocess.CompletedProcess[str] = run_script(tmp_path, text, {})
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert stale_quotes(PAGE.read_text(), done.stdout + done.stderr) == []
    table = pd.read_csv(tmp_path / "runs/mine/video_preds/session1_3d.csv", header=[0, 1, 2], index_col=0)
    assert len(table) == 200
    assert (tmp_path / "runs/mine-crops/video_preds/session1_3d.csv").is_file()
