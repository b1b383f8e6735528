"""The recommended recipe (docs/results.md): defaults that depend on the data, and the configs of new projects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mvgeom.files import file_name, write_text

if TYPE_CHECKING:
    from mvtrain.config.schema import Config

HEAD_LEARNING_RATE = 1e-3
"""Learning rate of the head."""

BACKBONE_LEARNING_RATE = 1e-4
"""Learning rate of a pretrained backbone; a backbone of random weights has the head's rate."""

UNFREEZING_EPOCH = 1
"""Epoch from which a pretrained backbone is trained: until then the head learns to tell keypoints apart."""

BATCH_SIZE = 8
"""Frames per training batch."""

STEPS = 3000
"""Optimizer steps of a run; few frames make many epochs of it, many frames few."""

MASK_START, MASK_FULL = 0.2, 0.4
"""Shares of a run after which masking starts, and has its full share: only when keypoints are found."""

LEAST_EPOCHS, MOST_EPOCHS = 20, 300
"""Bounds of the number of epochs."""

LONGEST = 256
"""Longer side of the network's input in px; smaller images are not enlarged."""

_MULTIPLE = 32


def recommended(*, num_frames: int | None, in_3d: bool, everywhere: bool) -> dict[str, dict[str, Any]]:
    """Return the recommended keys of the sections `training`, `model` and `losses`.

    Args:
        num_frames: Number of labeled frames of the project, of which a fifth is held out; None where they are not
            labeled yet: the length of a run then follows from the labels that it finds.
        in_3d: True if there are several views, calibrated in at least one session.
        everywhere: True if every session is calibrated: views then complete each other after the network, by their
            fusion, and attention between them gains nothing (docs/ablation.md).
    """
    per_view = in_3d and everywhere
    batch_size, lengths, mask_lengths = BATCH_SIZE, {}, {}
    if num_frames is not None:
        held_out = 2 * max(1, num_frames // 10)
        num_train = max(1, num_frames - held_out)
        batch_size = min(BATCH_SIZE, num_train)
        max_epochs = epochs_of_budget(-(-num_train // batch_size))
        lengths = {"max_epochs": max_epochs}
        mask_lengths = {"init_epoch": max_epochs // 5, "final_epoch": 2 * max_epochs // 5}
    return {
        "training": {
            "imgaug": "dlc",
            "imgaug_3d": in_3d,
            "labels_from_3d": in_3d,
            "train_batch_size": batch_size,
            "val_batch_size": 16,
            "test_batch_size": 16,
            "train_prob": 0.8,
            "val_prob": 0.1,
            "unfreezing_epoch": UNFREEZING_EPOCH,
            **lengths,
            "optimizer": "AdamW",
            "optimizer_params": {"learning_rate": HEAD_LEARNING_RATE},
            "backbone_learning_rate": BACKBONE_LEARNING_RATE,
            "lr_scheduler": "cosine",
            "precision": "auto",
            "uniform_heatmaps_for_nan_keypoints": False,
            # Whole views, not patches; only after the network has learned to find the keypoints. What a network sees
            # of a view on its own cannot replace one that is hidden.
            "patch_mask": None
            if per_view
            else {**mask_lengths, "final_ratio": 0.0, "view_ratio": 0.2, "clear_share": 0.2},
        },
        "model": {
            "model_type": "heatmap_multiview_transformer",
            "backbone": "vits_dino",
            "heatmap_loss_type": "kl",
            "attention": "per_view" if per_view else "joint",
        },
        "losses": {"supervised_reprojection_heatmap_mse": {"log_weight": 0.5}} if in_3d else {},
    }


def epochs_of_budget(steps_per_epoch: int) -> int:
    """Return the number of epochs of a run whose config has no length: as many as make `STEPS`, within bounds."""
    return min(MOST_EPOCHS, max(LEAST_EPOCHS, math.ceil(STEPS / steps_per_epoch)))


def learning_rates(config: Config) -> tuple[float, float]:
    """Return the full learning rates of the head and of the backbone."""
    named, backbone = config.training.optimizer_params.learning_rate, config.training.backbone_learning_rate
    head = HEAD_LEARNING_RATE if named is None else named
    if backbone is None:
        # A single rate is that of the whole network, as in existing configs.
        backbone = BACKBONE_LEARNING_RATE if named is None and is_pretrained(config) else head
    return head, backbone


def default_unfreezing_epoch(config: Config, max_epochs: float) -> float:
    """Return the default epoch from which the backbone is trained: at the latest after a tenth of the run."""
    return min(UNFREEZING_EPOCH, max_epochs / 10) if is_pretrained(config) else 0.0


def is_pretrained(config: Config) -> bool:
    """Return True if the backbone starts from trained weights."""
    model = config.model
    return model.backbone_pretrained or model.backbone_weights is not None or model.checkpoint is not None


def write_project_config(
    path: Path,
    *,
    comment: str,
    view_names: Sequence[str],
    keypoint_names: Sequence[str],
    skeleton: Sequence[tuple[str, str]],
    num_frames: int | None,
    image_size: tuple[int, int],
    num_sessions: int,
    num_calibrated: int,
    with_boxes: bool,
    with_videos: bool,
    more_data: Mapping[str, Any] | None = None,
    more_model: Mapping[str, Any] | None = None,
    more_eval: Mapping[str, Any] | None = None,
) -> None:
    """Write the `config.yaml` of a project folder, with the recommended recipe.

    Args:
        path: Path of the config, in the project folder.
        comment: Lines at its top, without the `#`.
        view_names: V names of the views.
        keypoint_names: K names of the keypoints.
        skeleton: Pairs of keypoints.
        num_frames: Rows of the label tables, which decide batch size and number of epochs; None where labels are still
            to come: the number of epochs is then decided when a run starts.
        image_size: Usual width and height of the images in px; the network's input gets this shape.
        num_sessions: Sessions of the project.
        num_calibrated: Number of sessions with a calibration, which decides what is on in 3D.
        with_boxes: True if there are tables `bboxes_<view>.csv`.
        with_videos: True if the folder `videos` has any.
        more_data: Further keys of the section `data`.
        more_model: Further keys of the section `model`, before the recipe's.
        more_eval: Further keys of the section `eval`.

    Raises:
        InputError: The file cannot be written.
    """
    width, height = suggest_input_size(*image_size)
    data: dict[str, Any] = {
        "image_resize_dims": {"height": height, "width": width},
        "data_dir": ".",
        "csv_file": [file_name(f"CollectedData_{view}.csv") for view in view_names],
        "view_names": list(view_names),
        "num_keypoints": len(keypoint_names),
        "keypoint_names": list(keypoint_names),
    }
    data |= {"bbox_file": [file_name(f"bboxes_{view}.csv") for view in view_names]} if with_boxes else {}
    data |= {"skeleton": [list(pair) for pair in skeleton]} if skeleton else {}
    data |= {"video_dir": "videos"} if with_videos else {}
    recipe = recommended(
        num_frames=num_frames,
        in_3d=num_calibrated > 0 and len(view_names) > 1,
        everywhere=num_calibrated == num_sessions,
    )
    recipe["model"] |= more_model or {}
    after: dict[str, Any] = {"predict_vids_after_training": with_videos}
    after |= {"test_videos_directory": "${data.video_dir}"} if with_videos else {}
    document = {"data": {**data, **(more_data or {})}, **recipe, "eval": {**after, **(more_eval or {})}}
    body = yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
    write_text(path, "".join(f"# {line}\n" for line in comment.splitlines()) + body)


def suggest_input_size(width: int, height: int) -> tuple[int, int]:
    """Return width and height of the network's input for images of a size: the same shape, in multiples of 32 px."""
    scale = min(1.0, LONGEST / max(width, height))
    return (
        max(_MULTIPLE, _MULTIPLE * round(width * scale / _MULTIPLE)),
        max(_MULTIPLE, _MULTIPLE * round(height * scale / _MULTIPLE)),
    )
