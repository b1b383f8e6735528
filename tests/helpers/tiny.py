"""A project and a config so small that a whole run takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mvtrain.synth import SyntheticSpec, generate_project

TINY_MODEL = {
    "backbone": "vit_tiny_patch16_224",
    "backbone_args": {"depth": 1, "embed_dim": 24, "num_heads": 3},
    "backbone_pretrained": False,
}


def generate_tiny_project(folder: Path, **changes: Any) -> Path:
    """Generate three views of 20 frames in 64 px."""
    spec = {"num_views": 3, "num_frames": 20, "num_sessions": 1, "num_video_frames": 20, "size": 64, "seed": 1}
    generate_project(folder, SyntheticSpec(**{**spec, **changes}))
    return folder


def write_tiny_config(path: Path, project: Path, **training: Any) -> Path:
    """A config for it: 12 training frames in batches of 4, everything switched on."""
    document = {
        "data": {"data_dir": str(project), "image_resize_dims": {"height": 32, "width": 48}},
        "training": {
            "imgaug": "dlc",
            "imgaug_3d": True,
            "train_batch_size": 4,
            "train_prob": 0.6,
            "val_prob": 0.2,
            "max_epochs": 4,
            "log_every_n_steps": 2,
            "check_val_every_n_epoch": 1,
            "num_workers": 0,
            "unfreezing_epoch": 1,
            "lr_scheduler": "cosine",
            "optimizer_params": {"learning_rate": 1e-3},
            "patch_mask": {"init_epoch": 0, "final_epoch": 2, "init_ratio": 0.1, "final_ratio": 0.5},
            "accelerator": "cpu",
            **training,
        },
        "model": {**TINY_MODEL, "covariance_head": True},
        "losses": {
            "supervised_pairwise_projections": {"log_weight": 0.5},
            "supervised_reprojection_heatmap_mse": {"log_weight": 0.5},
        },
        "eval": {"predict_vids_after_training": False},
    }
    path.write_text(yaml.safe_dump(document))
    return path
