"""Everything that is read only after the last epoch is read before the first step, too."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from helpers.command import run_mvtrain
from helpers.errors import raises_input
from helpers.tiny import generate_tiny_project, write_tiny_config
from helpers.videos import moving_dot, write_video
from mvgeom.videos import frame_rate, open_video
from mvtrain.config import load_config
from mvtrain.evaluation.run_evaluate import check_evaluation
from mvtrain.project.project import read_project


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_tiny_project(tmp_path_factory.mktemp("generated") / "project", num_frames=4, num_video_frames=4)


@pytest.fixture
def project(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "project"))


@pytest.fixture
def config(project: Path, tmp_path: Path) -> Path:
    path = write_tiny_config(tmp_path / "tiny.yaml", project, train_batch_size=1)
    change(path, "eval", predict_vids_after_training=True, save_vids_after_training=True)
    change(path, "eval", test_videos_directory=str(project / "videos"))
    return path


def change(config: Path, section: str, **values: object) -> None:
    document = yaml.safe_load(config.read_text())
    document[section] |= values
    config.write_text(yaml.safe_dump(document))


def first_video(project: Path) -> Path:
    return min((project / "videos").glob("*.mp4"))


def cut_truth(project: Path, config: Path) -> None:
    (project / "points_3d.csv").write_text("scorer\n")


def rename_truth(project: Path, config: Path) -> None:
    path = project / "points_3d.csv"
    path.write_text(path.read_text().replace("nose", "snout"))


def cut_video(project: Path, config: Path) -> None:
    video = first_video(project)
    video.write_bytes(video.read_bytes()[:500])


def box_one_view(project: Path, config: Path) -> None:
    first_video(project).with_name(f"{first_video(project).stem}_bbox.csv").write_text(",x,y,h,w\n0,1,2,3,4\n")


def damage_boxes(project: Path, config: Path) -> None:
    for video in (project / "videos").glob("*.mp4"):
        video.with_name(f"{video.stem}_bbox.csv").write_text(",x,y,h,w\n0,1,two,3,4\n")


def damage_calibration(project: Path, config: Path) -> None:
    for path in (project / "videos").glob("*.mp4"):
        path.rename(path.with_name(path.name.replace(path.stem.rpartition("_")[0], "other")))
    (project / "calibrations").mkdir(exist_ok=True)
    (project / "calibrations" / "other.toml").write_text("[cam_0")


def misname_bone(project: Path, config: Path) -> None:
    change(config, "data", skeleton=[["nose", "wing"]])


def misname_colormap(project: Path, config: Path) -> None:
    change(config, "eval", colormap="cold")


DAMAGE: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "true keypoints cut off": (cut_truth, "invalid-syntax"),
    "other true keypoints": (rename_truth, "keypoints-differ"),
    "video cut off": (cut_video, "unreadable-file"),
    "boxes of one view": (box_one_view, "missing-file"),
    "boxes with text": (damage_boxes, "bad-number"),
    "calibration of a recording": (damage_calibration, "invalid-syntax"),
    "skeleton": (misname_bone, "bad-value"),
    "colormap": (misname_colormap, "bad-value"),
}
"""Faults of files that are needed only after the training, with the code of the error."""


@pytest.mark.parametrize("name", DAMAGE)
def test_a_file_needed_afterwards_is_refused_before(name: str, project: Path, config: Path) -> None:
    loaded = load_config(config)
    check_evaluation(loaded, read_project(loaded), Console(quiet=True))
    damage, code = DAMAGE[name]
    damage(project, config)
    loaded = load_config(config)
    with raises_input(code):
        check_evaluation(loaded, read_project(loaded), Console(quiet=True))


@pytest.mark.parametrize("mode", [(), ("--dry-run",), ("--overfit", "1")])
def test_every_kind_of_training_checks_first(
    mode: tuple[str, ...],
    project: Path,
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cut_video(project, config)
    outcome = run_mvtrain(capsys, monkeypatch, "fit", config, "--output", tmp_path / "run", *mode)
    assert outcome.status == 2
    assert str(first_video(project)) in outcome.err
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_gone_or_has_no_videos_is_a_warning(
    project: Path,
    config: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change(config, "eval", test_videos_directory=str(project / "gone"))
    outcome = run_mvtrain(capsys, monkeypatch, "fit", config, "--dry-run")
    assert outcome.status == 0
    assert "warning" in outcome.out
    assert "eval.test_videos_directory" in outcome.out
    (project / "empty").mkdir()
    change(config, "eval", test_videos_directory=str(project / "empty"))
    outcome = run_mvtrain(capsys, monkeypatch, "fit", config, "--dry-run")
    assert outcome.status == 0
    assert "eval.test_videos_directory" in outcome.out
    first_video(project).unlink()
    change(config, "eval", test_videos_directory=str(project / "videos"))
    outcome = run_mvtrain(capsys, monkeypatch, "fit", config, "--dry-run")
    assert outcome.status == 0
    assert "will not be predicted after training" in outcome.out


@pytest.mark.parametrize("visible", ["0", "1"])
def test_a_keypoint_without_any_visible_label_is_named(
    visible: str, project: Path, config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its predictions have likelihoods and places in 3D as those of all others."""
    for path in project.glob("CollectedData_*.csv"):
        rows = [line.split(",") for line in path.read_text().splitlines()]
        place = rows[1].index("spine")
        for row in rows[3:]:
            row[place : place + 3] = ["", "", visible]
        path.write_text("\n".join(map(",".join, rows)) + "\n")
    outcome = run_mvtrain(capsys, monkeypatch, "fit", config, "--dry-run")
    assert outcome.status == 0, outcome.err
    named = [line for line in outcome.out.splitlines() if line.startswith("warning:") and "visible label" in line]
    assert len(named) == 1
    assert "spine" in named[0]
    assert "nose" not in named[0]


def test_videos_without_the_calibration_that_the_network_needs_end_no_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = generate_tiny_project(tmp_path / "project", num_frames=8, num_sessions=2, num_video_frames=8)
    (project / "calibrations" / "session1.toml").unlink()
    config, run = write_tiny_config(tmp_path / "tiny.yaml", project, max_epochs=1), tmp_path / "run"
    change(config, "model", epipolar_attention=True)
    change(config, "eval", predict_vids_after_training=True, test_videos_directory=str(project / "videos"))
    outcome = run_mvtrain(capsys, monkeypatch, "fit", config, "--output", run)
    assert outcome.status == 0, outcome.err
    before, _, after = outcome.out.partition("epoch    1")
    for part in (before, after):
        (warning,) = [
            line for line in part.splitlines() if line.startswith("warning:") and "not" in line and "epi" in line
        ]
        assert "'session1'" in warning
    assert {path.name for path in (run / "video_preds").glob("*_3d.csv")} == {"session2_3d.csv"}
    outcome = run_mvtrain(capsys, monkeypatch, "predict", run, project / "videos", "--output", tmp_path / "predicted")
    assert outcome.status == 2
    assert "session1" in outcome.err
    assert not list((tmp_path / "predicted").glob("*.csv"))


def test_videos_that_cannot_be_matched_leave_the_others_and_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = generate_tiny_project(tmp_path / "project", num_frames=8, num_sessions=2, num_video_frames=8)
    video = first_video(project)
    before = open_video(video)
    images = [moving_dot(number, size=before.size) for number in range(8)]
    write_video(video, images, codec="mp4v", fps=2 * frame_rate(before))
    config, run = write_tiny_config(tmp_path / "tiny.yaml", project, max_epochs=1), tmp_path / "run"
    change(config, "eval", predict_vids_after_training=True, test_videos_directory=str(project / "videos"))
    outcome = run_mvtrain(capsys, monkeypatch, "fit", config, "--output", run)
    assert outcome.status == 0, outcome.err
    (warning,) = [line for line in outcome.out.splitlines() if line.startswith("warning:") and video.name in line]
    assert "not predicted" in warning
    assert {path.name for path in (run / "video_preds").glob("*_3d.csv")} == {"session2_3d.csv"}
