"""Generated configs: their recipe, which needs no calibration where there is none."""

from pathlib import Path

import pytest
import yaml

from mvtrain.config import Config, load_config
from mvtrain.config.recommended import LEAST_EPOCHS, MOST_EPOCHS, STEPS, recommended, write_project_config
from mvtrain.project.labels_3d import keys_in_3d
from mvtrain.synth import SyntheticSpec, generate_project

ROOT = Path(__file__).parents[2]


def imported(folder: Path, num_calibrated: int, view_names: tuple[str, ...] = ("a", "b")) -> Config:
    """Write a config as `mvtrain import` does for two sessions."""
    path = folder / "config.yaml"
    write_project_config(
        path,
        comment="here",
        view_names=view_names,
        keypoint_names=["nose", "tail"],
        skeleton=[],
        num_frames=40,
        image_size=(320, 256),
        with_boxes=False,
        num_sessions=2,
        num_calibrated=num_calibrated,
        with_videos=False,
    )
    return load_config(path)


def generated(folder: Path, num_views: int = 3) -> Config:
    spec = SyntheticSpec(num_views=num_views, num_frames=2, num_sessions=1, num_video_frames=2, size=64)
    generate_project(folder / "project", spec)
    return load_config(folder / "project" / "config.yaml")


@pytest.mark.parametrize("make", [generated, lambda folder: imported(folder, 2)])
def test_calibrated_projects_have_views_that_are_fused(make, tmp_path: Path) -> None:
    config = make(tmp_path)
    assert config.model.attention == "per_view"
    assert config.model.fuse_views
    assert config.training.labels_from_3d
    assert config.training.patch_mask is None
    assert "supervised_reprojection_heatmap_mse" in config.losses


def test_projects_with_an_uncalibrated_session_have_attention_over_all_views(tmp_path: Path) -> None:
    config = imported(tmp_path, 1)
    assert config.model.attention == "joint"
    assert not config.model.epipolar_attention
    assert config.training.labels_from_3d
    assert config.training.patch_mask is not None
    assert config.training.patch_mask.view_ratio > 0
    assert config.training.patch_mask.final_epoch < config.training.max_epochs / 2


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: imported(folder, 0),
        lambda folder: imported(folder, 2, view_names=("a",)),
        lambda folder: generated(folder, num_views=1),
    ],
)
def test_without_a_calibration_or_with_one_view_nothing_needs_3d(make, tmp_path: Path) -> None:
    config = make(tmp_path)
    assert keys_in_3d(config) == []
    assert config.training.patch_mask is not None
    assert config.training.patch_mask.view_ratio > 0


def test_the_example_of_a_real_training_is_the_recommended_recipe() -> None:
    example = yaml.safe_load((ROOT / "examples" / "human4" / "config.yaml").read_text())
    recipe = recommended(num_frames=100, in_3d=True, everywhere=True)
    # Of this project: a detector leaves out what it does not see; and its README compares with DINOv2.
    recipe["training"]["uniform_heatmaps_for_nan_keypoints"] = True
    recipe["model"]["backbone"] = "vits_dinov2"
    assert {section: example[section] for section in recipe} == recipe


@pytest.mark.parametrize("num_frames", [1, 2, 5, 40, 100, 1000, 100_000])
def test_a_run_takes_about_the_steps_of_the_budget_and_a_batch_has_no_more_than_the_training_frames(
    num_frames: int,
) -> None:
    training = recommended(num_frames=num_frames, in_3d=False, everywhere=False)["training"]
    num_train = max(1, num_frames - 2 * max(1, num_frames // 10))
    assert 1 <= training["train_batch_size"] <= num_train
    steps = training["max_epochs"] * -(-num_train // training["train_batch_size"])
    assert steps >= STEPS or training["max_epochs"] == MOST_EPOCHS
    assert steps <= 1.1 * STEPS or training["max_epochs"] == LEAST_EPOCHS
    mask = training["patch_mask"]
    assert 0 <= mask["init_epoch"] < mask["final_epoch"] <= training["max_epochs"] / 2
