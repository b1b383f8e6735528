"""Summary of a run before its first step."""

from pathlib import Path

import pytest

from helpers.command import run_mvtrain
from mvtrain.synth import SyntheticSpec, generate_project


def test_schedules_beyond_the_end_of_the_run_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    generate_project(project, SyntheticSpec(num_views=2, num_frames=6, num_sessions=1, num_video_frames=6, size=64))
    changes = (
        "model.backbone=vit_tiny_patch16_224",
        "model.backbone_args={depth: 1}",
        "model.backbone_pretrained=false",
    )
    changes += (
        "training.train_batch_size=4",
        "training.max_epochs=1",
        "training.unfreezing_epoch=0",
    )
    # An existing config's milestones and least length, shortened to try it.
    changes += ("training.lr_scheduler=multisteplr", "training.lr_scheduler_params.multisteplr.milestones=[150, 200]")
    changes += (
        "training.min_epochs=300",
        "training.imgaug_3d=null",
        "training.labels_from_3d=null",
        "training.patch_mask={init_epoch: 60, final_epoch: 120, final_ratio: 0.5}",
        "model.heatmap_loss_type=mse",
        "losses.supervised_pairwise_projections.log_weight=0.5",
        "losses.supervised_pairwise_projections.init_epoch=5",
        "eval.predict_vids_after_training=false",
    )
    run = tmp_path / "run"
    outcome = run_mvtrain(capsys, monkeypatch, "fit", project / "config.yaml", *changes, "--output", run)
    assert outcome.status == 0, outcome.err
    lines = {line.split("  ")[0]: line for line in outcome.out.splitlines()}
    assert "from epoch 60, which is after the end of the run (0%)" in lines["patch mask"]
    assert "from epoch 5, which is after the end of the run" in lines["supervised_pairwise_projections"]
    assert "after the end" not in lines["supervised_reprojection_heatmap_mse"]
    assert "4 train, 1 validation, 1 test" in lines["frames"]
    assert "per device" in lines["memory"]
    assert "fuse_views" in lines["fusion"]
    assert "covariances" not in lines["model"]
    assert "imgaug_3d true (training.imgaug_3d=false" in lines["augmentation"]
    # Two views: a keypoint that one does not see has no 3D point.
    assert "0 in views that do not see the keypoint (training.labels_from_3d=false" in lines["labels from 3D"]
    assert "guide" in lines["heatmap loss"]
    warnings = [line for line in outcome.out.splitlines() if line.startswith("warning:")]
    assert any("milestones" in line and "[150, 200]" in line for line in warnings)
    assert any("min_epochs: 300" in line for line in warnings)
