"""Sections of the config: one dataclass per section, one field per key, with the checks of their values.

Keys are those of existing multi-view projects; defaults hold for keys that a file does not have. The section `training`
is in `training_section`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mvgeom.errors import InputError
from mvtrain.config.checks import require, require_fraction, require_not_negative, require_positive
from mvtrain.config.training_section import TrainingConfig

LOSS_NAMES = {
    "heatmap_mse": False,
    "supervised_pairwise_projections": True,
    "supervised_reprojection_heatmap_mse": True,
}
"""Losses by name, True for those that need calibrated cameras; plugins add theirs.

`heatmap_mse` is always on, the others when their section is present. Their functions are in `mvtrain.losses`, because a
config is read without torch.
"""

_LOWEST_LOG_WEIGHT = -80
"""Logarithm below which a loss in float32 is infinite."""


@dataclass(frozen=True, kw_only=True)
class ImageSizeConfig:
    """Size of the network's input in model px."""

    height: int = 256
    """Rows; need not equal the width."""
    width: int = 256
    """Columns."""

    def __post_init__(self) -> None:
        require_positive("data.image_resize_dims.height", self.height)
        require_positive("data.image_resize_dims.width", self.width)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The project: its folder, its tables, its split."""

    image_resize_dims: ImageSizeConfig = field(default_factory=ImageSizeConfig)
    """Network input size."""
    data_dir: Path | None = None
    """Project folder, absolute after loading."""
    video_dir: Path | None = None
    """Folder of videos, absolute after loading."""
    csv_file: tuple[str, ...] | None = None
    """Label tables, one per view, relative to data_dir; None: CollectedData_<view>.csv."""
    view_names: tuple[str, ...] | None = None
    """Names of the views in the order of csv_file and bbox_file; None: from the tables, a single csv_file has none."""
    bbox_file: tuple[str, ...] | None = None
    """Tables of bounding boxes, one per view, relative to data_dir; None: images are full images."""
    camera_params_file: str | None = None
    """CSV that names a calibration file per image, relative to data_dir; None: calibrations/<session>.toml, ..."""
    num_keypoints: int | None = None
    """Keypoints per view; None: from the tables, else it must agree with them."""
    keypoint_names: tuple[str, ...] | None = None
    """Keypoint names in the tables' order; None: from the tables, else they must agree."""
    downsample_factor: int = 2
    """Heatmap size = input size / 2**factor; 1, 2 or 3."""
    skeleton: tuple[tuple[str, str], ...] | None = None
    """Pairs of keypoint names that overlays join by a line."""
    synthetic: dict[str, Any] | None = None
    """Parameters of a project to generate in data_dir when that folder does not exist; the generator checks them."""
    split: Literal["random", "session", "block"] = "random"
    """Split into training, validation and test: random frames, whole sessions, or blocks of time in each session."""
    split_from: Path | None = None
    """Run folder whose split frames keep, absolute after loading; None: model.checkpoint's run if of this project."""
    cache_gb: float = 4.0
    """Memory of a machine for decoded images kept between epochs, in GB; 0 reads every image from disk each time."""

    def __post_init__(self) -> None:
        require(self.downsample_factor in (1, 2, 3), "data.downsample_factor", "1, 2 or 3", self.downsample_factor)
        smallest = 2**self.downsample_factor
        for key in ("height", "width"):
            side = getattr(self.image_resize_dims, key)
            expected = f"{smallest} or more, a heatmap px with data.downsample_factor: {self.downsample_factor}"
            require(side >= smallest, f"data.image_resize_dims.{key}", expected, side)
        require_positive("data.num_keypoints", self.num_keypoints)
        require_not_negative("data.cache_gb", self.cache_gb)
        for key in ("csv_file", "view_names", "bbox_file", "keypoint_names"):
            names = getattr(self, key)
            require(names is None or len(names) > 0, f"data.{key}", "a list with at least one entry, or null", names)
        for key in ("view_names", "keypoint_names"):
            names = getattr(self, key) or ()
            repeated = sorted({name for name in names if names.count(name) > 1})
            require(not repeated, f"data.{key}", "distinct names", repeated)
        self._check_lengths()

    def _check_lengths(self) -> None:
        listed = [key for key in ("view_names", "csv_file", "bbox_file") if getattr(self, key) is not None]
        lengths = {key: len(getattr(self, key)) for key in listed}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"data.{key} has {n} {list(getattr(self, key))}" for key, n in lengths.items())
            raise InputError(
                f"views must be listed in the same number and order everywhere: {found}",
                code="wrong-count",
                key=f"data.{listed[-1]}",
                found=lengths,
            )
        if self.keypoint_names is not None and self.num_keypoints not in (None, len(self.keypoint_names)):
            raise InputError(
                f"data.num_keypoints is {self.num_keypoints} but data.keypoint_names lists {len(self.keypoint_names)}",
                code="wrong-count",
                key="data.num_keypoints",
                found=self.num_keypoints,
                expected=len(self.keypoint_names),
            )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network."""

    model_type: Literal["heatmap_multiview_transformer", "heatmap"] = "heatmap_multiview_transformer"
    """heatmap_multiview_transformer: all views together; heatmap: every view on its own."""
    backbone: str = "vits_dino"
    """Name of the vision transformer."""
    backbone_args: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the backbone's builder, such as its depth; the builder checks them."""
    backbone_pretrained: bool = True
    """Start the backbone from pretrained weights."""
    gradient_checkpointing: bool = False
    """Recompute the backbone's blocks in the backward pass: less memory, about a third more time."""
    backbone_weights: Path | None = None
    """File of backbone weights to use in place of downloaded ones, absolute after loading."""
    attention: Literal["joint", "per_view"] | None = None
    """joint: attention over the patches of all views; per_view: within a view; None: follows from model_type."""
    epipolar_attention: bool = False
    """Attention between views keeps to patches that can show the same point; needs a calibration, to predict too."""
    fuse_views: bool = True
    """Complete each view's heatmaps by what the other views show, through 3D, where there is a calibration."""
    covariance_head: bool = False
    """Learn the covariance of each keypoint in each view, by which 3D points and smoothing weigh them."""
    heatmap_loss_type: Literal["mse", "kl", "js"] = "mse"
    """Supervised heatmap loss."""
    losses_to_use: tuple[str, ...] = ()
    """Unsupervised losses: none is available yet."""
    plugins: tuple[Path, ...] = ()
    """Python files that register losses and backbones, run when the config is read; absolute after loading."""
    checkpoint: Path | None = None
    """Checkpoint whose weights the run starts from, absolute after loading."""

    def __post_init__(self) -> None:
        if self.losses_to_use:
            raise InputError(
                f"model.losses_to_use is {list(self.losses_to_use)}, but unsupervised losses are not available yet. "
                "Set model.losses_to_use: []",
                code="bad-value",
                key="model.losses_to_use",
                found=self.losses_to_use,
            )
        per_view = self.model_type == "heatmap"
        if self.attention is None:
            object.__setattr__(self, "attention", "per_view" if per_view else "joint")
        elif self.attention == "joint" and per_view:
            raise InputError(
                "model.attention is joint, but model.model_type heatmap takes every view on its own. Set "
                "model.attention: per_view, or model.model_type: heatmap_multiview_transformer",
                code="excluded-options",
                key="model.attention",
                other="model.model_type",
            )
        if self.epipolar_attention and self.attention == "per_view":
            raise InputError(
                "model.epipolar_attention restricts attention between views, but model.attention is per_view. Set "
                "model.attention: joint, or model.epipolar_attention: false",
                code="excluded-options",
                key="model.epipolar_attention",
                other="model.attention",
            )


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weight of one loss and its start."""

    log_weight: float
    """The loss is multiplied by 1 / (2 exp(log_weight))."""
    init_epoch: float | None = None
    """Epoch at which the loss starts; None: the trainer's default for this loss."""
    ramp_epochs: float | None = None
    """Epochs over which its weight rises linearly to the full one; None: the trainer's default for this loss."""
    normalize: bool = True
    """Divide 3D distances by the subject's size (one keypoint: its range), so that weights are the same in mm and m."""

    @property
    def weight(self) -> float:
        """Return 1 / (2 exp(log_weight))."""
        return 0.5 * math.exp(-self.log_weight)


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """Predictions that follow the training."""

    predict_vids_after_training: bool = True
    """Predict the videos of test_videos_directory."""
    test_videos_directory: Path | None = None
    """Folder of videos, absolute after loading; None: no videos are predicted."""
    save_vids_after_training: bool = False
    """Write the videos with the predictions drawn in, too."""
    confidence_thresh_for_vid: float = 0.9
    """Predictions below this confidence are not drawn."""
    colormap: str = "cool"
    """Matplotlib colormap of the keypoints."""

    def __post_init__(self) -> None:
        require_fraction("eval.confidence_thresh_for_vid", self.confidence_thresh_for_vid)


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole config: five sections, and the keys of the file that have no equivalent in mvtrain."""

    data: DataConfig = field(default_factory=DataConfig)
    """The project."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """The training."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The network."""
    losses: dict[str, LossConfig] = field(default_factory=dict)
    """Weights by loss; a 3D loss is on when its section is present."""
    eval: EvalConfig = field(default_factory=EvalConfig)
    """Predictions that follow the training."""
    ignored: tuple[str, ...] = field(default=(), compare=False)
    """Dotted keys of the file that belong to other programs and have no effect; `save_config` does not write them."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.losses if name not in LOSS_NAMES]
        if unknown:
            raise InputError(
                f"losses.{unknown[0]}: unknown loss, expected one of {', '.join(LOSS_NAMES)}",
                code="bad-key",
                key=f"losses.{unknown[0]}",
            )
        for name, loss in self.losses.items():
            expected = f"a finite number of {_LOWEST_LOG_WEIGHT} or more"
            is_valid = _LOWEST_LOG_WEIGHT <= loss.log_weight < math.inf
            require(is_valid, f"losses.{name}.log_weight", expected, loss.log_weight)
            require_not_negative(f"losses.{name}.init_epoch", loss.init_epoch)
            require_not_negative(f"losses.{name}.ramp_epochs", loss.ramp_epochs)
