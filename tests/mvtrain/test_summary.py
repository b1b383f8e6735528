"""Summary of a run before its first step."""

from io import StringIO
from pathlib import Path

from rich.console import Console

from mvtrain.config import load_config
from mvtrain.synth import SyntheticSpec, generate_project
from mvtrain.training.train import train


def test_schedules_beyond_the_end_of_the_run_are_named(tmp_path: Path) -> None:
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
    console = Console(record=True, width=400, file=StringIO())
    assert train(load_config(project / "config.yaml", changes), tmp_path / "run", console) is not None
    printed = console.export_text().splitlines()
    lines = {line.split("  ")[0]: line for line in printed}
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
    warnings = [line for line in printed if line.startswith("warning:")]
    assert any("milestones" in line and "[150, 200]" in line for line in warnings)
    assert any("min_epochs: 300" in line for line in warnings)
