"""Run folders without training: a small network with random weights, whose answers depend on the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import yaml

from helpers.rigs import ring
from mvgeom import CameraGroup
from mvtrain.config import load_config, save_config
from mvtrain.model.checkpoint import build_model, make_spec, save_checkpoint

VIEWS = ("top", "left", "right")
KEYPOINTS = ("nose", "spine", "tail", "paw")
INPUT = (48, 32)


def make_run(
    folder: Path,
    views: Sequence[str] = VIEWS,
    keypoints: Sequence[str] = KEYPOINTS,
    data: Mapping[str, object] | None = None,
    model: Mapping[str, object] | None = None,
) -> Path:
    """A run folder with the checkpoints `best` and `last`, which differ; `data`, `model` are further keys there."""
    folder.mkdir(parents=True)
    document = {
        "data": {
            "data_dir": str(folder / "project"),
            "image_resize_dims": {"width": INPUT[0], "height": INPUT[1]},
            "view_names": list(views),
            "keypoint_names": list(keypoints),
            "skeleton": [list(keypoints[:2]), list(keypoints[1:3])],
            **(data or {}),
        },
        "training": {"test_batch_size": 4, "accelerator": "cpu"},
        "model": {
            "backbone": "vit_tiny_patch16_224",
            "backbone_args": {"depth": 1, "embed_dim": 24, "num_heads": 3},
            "backbone_pretrained": False,
            **(model or {}),
        },
    }
    (folder / "draft.yaml").write_text(yaml.safe_dump(document))
    config = load_config(folder / "draft.yaml")
    (folder / "draft.yaml").unlink()
    save_config(config, folder / "config.yaml")
    (folder / "run.yaml").write_text("[]\n")
    spec = make_spec(config, view_names=tuple(views), keypoint_names=tuple(keypoints), subject_size=None)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_model(spec)
        # Heatmaps with peaks that the image decides about, as those of a trained network.
        with torch.no_grad():
            for parameter in network.head.parameters():
                parameter.mul_(3.0)
            if network.covariance_head is not None:
                network.covariance_head.last.weight.normal_()
    for name in ("best", "last"):
        save_checkpoint(folder / "checkpoints" / name, network.state_dict(), spec, {"epoch": 1})
        with torch.no_grad():
            network.view_embedding.add_(1.0)
    return folder


def cameras(size: tuple[int, int]) -> CameraGroup:
    """A rig of the views above, with images of this size."""
    width, _ = size
    return ring(len(VIEWS), size=width).replace(names=VIEWS, sizes=[[float(length) for length in size]] * len(VIEWS))
