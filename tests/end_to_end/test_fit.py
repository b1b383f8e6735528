"""`mvtrain fit` from the command line to the run folder, on a small generated project and on real frames."""

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from helpers.command import SHARED, Outcome, run_mvtrain
from mvtrain.config import load_config
from mvtrain.model.checkpoint import load_checkpoint
from mvtrain.project.project import read_project
from mvtrain.project.splits import split_frames
from mvtrain.synth import SyntheticSpec, generate_project
from mvtrain.training.train import train

QUIET = Console(quiet=True)

TINY_MODEL = {
    "backbone": "vit_tiny_patch16_224",
    "backbone_args": {"depth": 2, "embed_dim": 48, "num_heads": 3},
    "backbone_pretrained": False,
}
TINY_TRAINING = {
    "imgaug": "dlc",
    "imgaug_3d": True,
    "train_batch_size": 4,
    "train_prob": 0.6,
    "val_prob": 0.2,
    "min_epochs": 1,
    "max_epochs": 4,
    "log_every_n_steps": 1,
    "check_val_every_n_epoch": 1,
    "num_workers": 1,
    "unfreezing_epoch": 1,
    "lr_scheduler": "cosine",
    "optimizer_params": {"learning_rate": 1e-3},
    "patch_mask": {"init_epoch": 0, "final_epoch": 2, "init_ratio": 0.1, "final_ratio": 0.5},
}
LOSSES = {
    "supervised_pairwise_projections": {"log_weight": 0.5},
    "supervised_reprojection_heatmap_mse": {"log_weight": 0.5},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated") / "project"
    spec = SyntheticSpec(num_views=3, num_frames=15, num_sessions=1, num_video_frames=15, size=96, seed=1)
    generate_project(folder, spec)
    return folder


@pytest.fixture
def config(project: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    document = {
        "data": {
            "data_dir": str(project),
            "video_dir": str(project / "videos"),
            "image_resize_dims": {"height": 48, "width": 64},
        },
        "training": TINY_TRAINING,
        "model": TINY_MODEL,
        "losses": LOSSES,
        "eval": {
            "predict_vids_after_training": True,
            "save_vids_after_training": True,
            "confidence_thresh_for_vid": 0.0,
            "test_videos_directory": "${data.video_dir}",
        },
    }
    path.write_text(yaml.safe_dump(document))
    return path


def read_predictions(path: Path) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Read a table, its points (N, K, 2) and its splits."""
    table = pd.read_csv(path, header=[0, 1, 2], index_col=0)
    assert table.columns[-1][0] == "set"
    values = table.iloc[:, :-1].to_numpy(dtype=float).reshape(len(table), -1, 3)
    return table, values[..., :2], table.iloc[:, -1].to_numpy()


def test_fit_writes_everything_it_promises(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    outcome = run_mvtrain(capsys, monkeypatch, "fit", config, "--output", run)
    assert outcome.status == 0, outcome.err
    loaded = load_config(config)
    assert load_config(run / "config.yaml") == loaded
    project = read_project(loaded)

    for name in ("best", "last"):
        _, spec = load_checkpoint(run / "checkpoints" / name)
        assert spec.view_names == project.view_names
        assert spec.keypoint_names == project.keypoint_names
        assert spec.image_size == (64, 48)

    metrics = pd.read_csv(run / "metrics.csv")
    assert metrics["supervised_pairwise_projections"].notna().sum() > 0
    assert metrics["supervised_reprojection_heatmap_mse"].notna().sum() > 0
    assert metrics["share_moved_in_3d"].max() > 0
    # 3 steps an epoch, from 0.1 at the start to 0.5 at epoch 2, where masks end: half way through the run.
    assert metrics["mask_ratio"].max() == pytest.approx(0.1 + 0.4 * (5 / 3) / 2)
    assert metrics["mask_ratio"].dropna().iloc[-1] == 0
    assert metrics["val_loss"].notna().sum() == 4
    assert np.isfinite(metrics["loss"].dropna()).all()

    for name in (*project.view_names, "all"):
        column = "val_pixel_error" if name == "all" else f"val_pixel_error_view_{name}"
        assert metrics[column].notna().sum() == 4
    assert metrics["val_pixel_error_keypoint_nose"].notna().any()
    assert metrics["val_error_3d"].notna().any()
    assert metrics["val_reprojection_error"].notna().any()
    assert cv2.imread(str(run / "learning_curves.png")).shape[1] == 960
    assert list((run / "tensorboard").glob("events.out.tfevents.*"))
    (conditions,) = yaml.safe_load((run / "run.yaml").read_text())
    assert conditions["packages"]["torch"]
    assert conditions["seeds"] == {"data": 0, "model": 0}

    for view, name in enumerate(project.view_names):
        table, points, sets = read_predictions(run / f"predictions_{name}.csv")
        assert list(table.index) == [names[view] for names in project.image_names]
        assert pd.Series(sets).value_counts().to_dict() == {"train": 9, "validation": 3, "test": 3}
        errors = pd.read_csv(run / f"predictions_{name}_pixel_error.csv", index_col=0)
        labels = np.where((project.visibility[:, view] == 2)[..., None], project.points[:, view], np.nan)
        expected = np.linalg.norm(points - labels, axis=-1)
        np.testing.assert_allclose(errors[list(project.keypoint_names)], expected, atol=2e-3)
        # Where the documentation of Lightning Pose says that scripts find them.
        folder = run / "image_preds" / f"CollectedData_{name}.csv"
        for kind in ("", "_pixel_error"):
            same = (run / f"predictions_{name}{kind}.csv").read_bytes()
            assert (folder / f"predictions{kind}.csv").read_bytes() == same

    for video in (project.root / "videos").glob("*.mp4"):
        predicted = pd.read_csv(run / "video_preds" / f"{video.stem}.csv", header=[0, 1, 2], index_col=0)
        assert predicted.shape == (15, 3 * len(project.keypoint_names))
        assert np.isfinite(predicted.to_numpy()).all()
        drawn = cv2.VideoCapture(str(run / "video_preds" / "labeled_videos" / f"{video.stem}_labeled.mp4"))
        assert drawn.get(cv2.CAP_PROP_FRAME_COUNT) == 15

    assert "mean pose" in outcome.out
    assert "the true 3D" in outcome.out
    assert "supervised_pairwise_projections" in outcome.out


def test_a_second_run_into_the_same_folder_is_refused(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious.txt").write_text("mine")
    outcome = run_mvtrain(capsys, monkeypatch, "fit", config, "--output", tmp_path / "run")
    assert outcome.status == 2
    assert str(tmp_path / "run") in outcome.err
    assert "--output" in outcome.err


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_whatever_the_number_of_workers(config: Path, tmp_path: Path) -> None:
    weights = []
    for workers in (0, 1, 2):
        run = tmp_path / f"run{workers}"
        # Without the evaluation of a command, which changes no weights.
        train(load_config(config, ["training.max_epochs=2", f"training.num_workers={workers}"]), run, QUIET)
        (file,) = (run / "checkpoints" / "last").glob("*.safetensors")
        weights.append(file.read_bytes())
    assert weights[0] == weights[1] == weights[2]


def test_a_config_with_data_synthetic_generates_its_project(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = yaml.safe_load(config.read_text())
    document["data"]["data_dir"] = "generated"
    document["data"].pop("video_dir")
    document["data"]["synthetic"] = {
        "num_views": 2,
        "num_frames": 8,
        "num_sessions": 1,
        "num_video_frames": 8,
        "size": 64,
        "occlusion": 0.5,
    }
    document["eval"] = {"predict_vids_after_training": False}
    config.write_text(yaml.safe_dump(document))
    first = run_mvtrain(capsys, monkeypatch, "fit", config, "--dry-run")
    assert first.status == 0, first.err
    assert "generating the project that data.synthetic describes" in first.out
    assert (tmp_path / "generated" / "calibrations").is_dir() or (tmp_path / "generated" / "calibration.toml").exists()
    second = run_mvtrain(capsys, monkeypatch, "fit", config, "--dry-run")
    assert second.status == 0
    assert "generating" not in second.out

    document["data"]["data_dir"] = "another"
    document["data"]["synthetic"]["num_view"] = 3
    config.write_text(yaml.safe_dump(document))
    third = run_mvtrain(capsys, monkeypatch, "fit", config, "--output", tmp_path / "third")
    assert third.status == 2
    assert "data.synthetic.num_view" in third.err
    assert "num_views" in third.err


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "data" / "human4").exists(), reason="../shared/data/human4 is not on this machine")
def test_fit_on_real_frames_with_the_config_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    outcome = run_mvtrain(
        capsys,
        monkeypatch,
        "fit",
        SHARED / "data" / "human4" / "config.yaml",
        "model.backbone=vit_tiny_patch16_224",
        "model.backbone_args={depth: 1, embed_dim: 48, num_heads: 3}",
        "model.backbone_pretrained=false",
        "data.image_resize_dims.height=56",
        "data.image_resize_dims.width=56",
        "training.train_frames=8",
        "training.train_batch_size=16",
        # All that it takes to try it for two epochs, although milestones and min_epochs come later.
        "training.max_epochs=2",
        "training.unfreezing_epoch=0",
        "training.log_every_n_steps=1",
        "eval.predict_vids_after_training=false",
        "--output",
        run,
    )
    assert outcome.status == 0, outcome.err
    assert "ignored, no counterpart here: " in outcome.out
    for key in ("dali", "callbacks", "hydra", "model.model_name"):
        assert key in next(line for line in outcome.out.splitlines() if line.startswith("ignored"))
    assert "training.train_batch_size: found 16 with 8 training frames" in " ".join(outcome.out.split())
    metrics = pd.read_csv(run / "metrics.csv")
    assert metrics["epoch"].max() == 2
    # The loss of the config's name, and beside it the guide for keypoints without a peak.
    logged = metrics.dropna(subset=["heatmap", "starvation_guide"])
    assert (logged["heatmap"] < 0.2).all()
    assert (logged["starvation_guide"] > 0.1).all()
    # With a calibration hidden keypoints are learned although the config does not name them.
    (labels_from_3d,) = [line for line in outcome.out.splitlines() if line.startswith("labels from 3D")]
    assert int(labels_from_3d.split("labels from 3D")[1].split()[0]) > 100
    # Two epochs are too few.
    assert "no better than the mean pose" in outcome.out
    for view in ("cam1", "cam2", "cam3", "cam4"):
        _, points, sets = read_predictions(run / f"predictions_{view}.csv")
        assert points.shape == (100, 19, 2)
        assert (sets == "test").sum() == 10
        # In px of the stored 320x320 crops, not of the full 1088x1920 images and not of the network's 56x56.
        assert -60 < points.min() < 60
        assert 200 < points.max() < 420


def copy_project(project: Path, tmp_path: Path) -> Path:
    copied = tmp_path / "copy"
    shutil.copytree(project, copied)
    return copied


def damage_nothing(project: Path) -> None:
    del project


def remove_table(project: Path) -> None:
    next(project.glob("CollectedData_*.csv")).unlink()


def drop_a_row(project: Path) -> None:
    table = sorted(project.glob("CollectedData_*.csv"))[0]
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")


def rename_an_image(project: Path) -> None:
    table = sorted(project.glob("CollectedData_*.csv"))[0]
    lines = table.read_text().splitlines()
    path = Path(lines[5].split(",")[0])
    (project / path).rename(project / path.with_name("img99999999.jpg"))
    lines[5] = lines[5].replace(path.name, "img99999999.jpg")
    table.write_text("\n".join(lines) + "\n")


def rename_a_keypoint(project: Path) -> None:
    table = sorted(project.glob("CollectedData_*.csv"))[0]
    lines = table.read_text().splitlines()
    lines[1] = lines[1].replace("nose", "snout")
    table.write_text("\n".join(lines) + "\n")


def remove_an_image(project: Path) -> None:
    next(project.glob("labeled-data/*/*.jpg")).unlink()


def truncate_an_image(project: Path) -> None:
    path = next(project.glob("labeled-data/*/*.jpg"))
    path.write_bytes(path.read_bytes()[:200])


def forget_a_camera(project: Path) -> None:
    for path in [*project.glob("calibrations/*.toml"), *project.glob("calibration.toml")]:
        text = path.read_text()
        start = text.index("[cam_1]")
        path.write_text(text[:start] + text[text.index("[cam_2]") :])


def empty_the_tables(project: Path) -> None:
    for table in project.glob("CollectedData_*.csv"):
        table.write_text("\n".join(table.read_text().splitlines()[:3]) + "\n")


@pytest.mark.parametrize(
    ("damage", "changes", "messages"),
    [
        (remove_table, [], ["CollectedData_"]),
        (drop_a_row, [], ["15", "14"]),
        (rename_an_image, [], ["img99999999"]),
        (rename_a_keypoint, [], ["snout"]),
        (remove_an_image, [], [".jpg"]),
        (truncate_an_image, [], [".jpg"]),
        (forget_a_camera, [], ["calibration"]),
        (empty_the_tables, [], ["CollectedData_"]),
        (damage_nothing, ["model.backbone=vits_dinov9"], ["model.backbone", "'vits_dinov9'", "vits_dino,"]),
        (damage_nothing, ["training.max_epoch=3"], ["training.max_epoch", "max_epochs"]),
        (damage_nothing, ["data.data_dir=/nowhere/at/all"], ["/nowhere/at/all"]),
        (damage_nothing, ["model.losses_to_use=[pca_multiview]"], ["model.losses_to_use", "pca_multiview"]),
    ],
)
def test_a_mistake_of_the_user_is_one_line_on_standard_error(
    project: Path,
    config: Path,
    tmp_path: Path,
    damage,
    changes: list[str],
    messages: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copied = copy_project(project, tmp_path)
    damage(copied)
    where = [] if any(change.startswith("data.data_dir") for change in changes) else [f"data.data_dir={copied}"]
    outcome: Outcome = run_mvtrain(
        capsys,
        monkeypatch,
        "fit",
        config,
        *where,
        # All views by name, so that a missing table is missing and not one view fewer.
        "data.view_names=[" + ", ".join(read_view_names(project)) + "]",
        *changes,
        "--output",
        tmp_path / "run",
    )
    assert outcome.status == 2
    assert outcome.err.startswith("error: ")
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "run").exists()
    for message in messages:
        assert message in outcome.err


def read_view_names(project: Path) -> list[str]:
    return sorted(path.stem.removeprefix("CollectedData_") for path in project.glob("CollectedData_*.csv"))


@pytest.mark.parametrize(
    "text",
    ["data: [unclosed", "- a\n- list\n", "!!python/object/apply:os.system ['touch ran']", "data: !!python/tuple []"],
)
def test_a_file_that_is_not_a_config_is_refused_and_never_run(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    outcome = run_mvtrain(capsys, monkeypatch, "fit", path)
    assert outcome.status == 2
    assert "broken.yaml" in outcome.err
    assert "YAML" in outcome.err
    assert not (tmp_path / "ran").exists()


def test_3d_losses_without_calibration_are_refused_before_training(
    project: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = copy_project(project, tmp_path)
    shutil.rmtree(copied / "calibrations", ignore_errors=True)
    (copied / "calibration.toml").unlink(missing_ok=True)
    outcome = run_mvtrain(capsys, monkeypatch, "fit", config, f"data.data_dir={copied}", "training.labels_from_3d=true")
    assert outcome.status == 2
    assert "losses.supervised_pairwise_projections" in outcome.err
    assert "training.labels_from_3d" in outcome.err


def test_help_answers_at_once_without_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys; sys.argv = ['mvtrain', '--help']\n"
        "from mvtrain.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'cv2', 'pandas', 'timm', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env={**os.environ})


@pytest.mark.slow
def test_a_keypoint_that_stays_without_a_peak_is_named(
    config: Path, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = tmp_path / "project"
    shutil.copytree(project, copied)
    changes = (f"data.data_dir={copied}", "training.max_epochs=60", "training.check_val_every_n_epoch=10")
    changes += ("training.imgaug=none", "training.imgaug_3d=false", "training.patch_mask=null", "losses={}")
    changes += ("training.labels_from_3d=false", "model.heatmap_loss_type=js", "data.downsample_factor=1")
    changes += ("training.optimizer_params.learning_rate=3e-3", "training.unfreezing_epoch=0")
    changes += ("eval.predict_vids_after_training=false",)
    loaded = load_config(config, changes)
    training_rows = split_frames(read_project(loaded), loaded).train
    for path in copied.glob("CollectedData_*.csv"):
        lines = path.read_text().splitlines()
        for row in training_rows:
            cells = lines[3 + row].split(",")
            # The first keypoint is occluded in every training frame: its target is flat.
            cells[3] = "1"
            lines[3 + row] = ",".join(cells)
        path.write_text("\n".join(lines) + "\n")
    outcome = run_mvtrain(capsys, monkeypatch, "fit", config, *changes, "--output", tmp_path / "run")
    assert outcome.status == 0, outcome.err
    named = [line for line in outcome.out.splitlines() if line.startswith("keypoints without a peak")]
    # In a validation once, not in each, and at the end.
    assert len(named) == 2, outcome.out
    assert all(" nose (" in line and "model.heatmap_loss_type=kl" in line for line in named)
    first = outcome.out.splitlines().index(named[0])
    assert not any(line.startswith("epoch   10") for line in outcome.out.splitlines()[first:])
