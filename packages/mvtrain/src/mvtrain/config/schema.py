"""What a config file may say: one dataclass per section, one line per key, and what the values must satisfy.

Keys are those of existing multi-view projects; defaults hold for keys that a file does not give. The section `training`
is in the module of that name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mvtrain.config.checks import fraction, not_negative, positive, require
from mvtrain.config.training_section import TrainingConfig

LOSS_NAMES = {
    "heatmap_mse": False,
    "supervised_pairwise_projections": True,
    "supervised_reprojection_heatmap_mse": True,
}
"""Losses whose section the trainer reads, and whether they need calibrated cameras; plugins add theirs.

`heatmap_mse` is always on, the others when their section is present. Their functions are in `mvtrain.losses`, since a
config is read without torch.
"""


@dataclass(frozen=True, kw_only=True)
class ImageSizeConfig:
    """Size of the network's input in model px."""

    height: int = 256
    """Rows; need not equal the width."""
    width: int = 256
    """Columns."""

    def __post_init__(self) -> None:
        positive("data.image_resize_dims.height", self.height)
        positive("data.image_resize_dims.width", self.width)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the project is and what its tables hold."""

    image_resize_dims: ImageSizeConfig = field(default_factory=ImageSizeConfig)
    """Network input size."""
    data_dir: Path | None = None
    """Project folder, absolute after loading."""
    video_dir: Path | None = None
    """Folder of videos, absolute after loading."""
    csv_file: tuple[str, ...] | None = None
    """Label tables, one per view, relative to data_dir; None: CollectedData_<view>.csv."""
    view_names: tuple[str, ...] | None = None
    """Names of the views in the order of csv_file and bbox_file; None: from the names of the label tables."""
    bbox_file: tuple[str, ...] | None = None
    """Tables of bounding boxes, one per view, relative to data_dir; None: images are whole frames."""
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
    """How frames are divided: at random, by whole sessions, or by blocks of time in each session."""
    cache_gb: float = 4.0
    """Memory for decoded images kept between epochs, in GB; 0 reads every image from disk each time."""

    def __post_init__(self) -> None:
        require(self.downsample_factor in (1, 2, 3), "data.downsample_factor", "1, 2 or 3", self.downsample_factor)
        positive("data.num_keypoints", self.num_keypoints)
        not_negative("data.cache_gb", self.cache_gb)
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
            raise ValueError(f"views must be listed in the same number and order everywhere: {found}")
        if self.keypoint_names is not None and self.num_keypoints not in (None, len(self.keypoint_names)):
            raise ValueError(
                f"data.num_keypoints is {self.num_keypoints} but data.keypoint_names lists {len(self.keypoint_names)}"
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
    """joint: attention over the patches of all views; per_view: within a view; None: as model_type says."""
    epipolar_attention: bool = False
    """Attention between views keeps to patches that can show the same point; needs a calibration, to predict too."""
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
            raise ValueError(
                f"model.losses_to_use asks for {list(self.losses_to_use)}: unsupervised losses are not available yet; "
                "set model.losses_to_use: []"
            )
        per_view = self.model_type == "heatmap"
        if self.attention is None:
            object.__setattr__(self, "attention", "per_view" if per_view else "joint")
        elif self.attention == "joint" and per_view:
            raise ValueError(
                "model.attention is joint, but model.model_type heatmap sees every view on its own; use per_view, or "
                "model_type heatmap_multiview_transformer"
            )
        if self.epipolar_attention and self.attention == "per_view":
            raise ValueError(
                "model.epipolar_attention is about attention between views, but model.attention is per_view; use "
                "joint, or set epipolar_attention: false"
            )


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weight of one loss and when it sets in."""

    log_weight: float
    """The loss is multiplied by 1 / (2 exp(log_weight))."""
    init_epoch: float | None = None
    """Epoch at which the loss sets in; None: the trainer's default for this loss."""
    ramp_epochs: float | None = None
    """Epochs over which its weight rises linearly to the full one; None: the trainer's default for this loss."""
    normalize: bool = True
    """Divide 3D distances by the subject's size, so that a weight means the same in mm and in m."""

    @property
    def weight(self) -> float:
        """1 / (2 exp(log_weight))."""
        return 0.5 * math.exp(-self.log_weight)


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """What happens after training."""

    predict_vids_after_training: bool = True
    """Predict the videos of test_videos_directory."""
    test_videos_directory: Path | None = None
    """Folder of videos, absolute after loading."""
    save_vids_after_training: bool = False
    """Also write the videos with the predictions drawn in."""
    confidence_thresh_for_vid: float = 0.9
    """Predictions below this confidence are not drawn."""
    colormap: str = "cool"
    """Matplotlib colormap of the keypoints."""

    def __post_init__(self) -> None:
        fraction("eval.confidence_thresh_for_vid", self.confidence_thresh_for_vid)


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole config: five sections, and the keys of the file that have no counterpart here."""

    data: DataConfig = field(default_factory=DataConfig)
    """The project."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """The training."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The network."""
    losses: dict[str, LossConfig] = field(default_factory=dict)
    """Weights by loss; a 3D loss is on when its section is present."""
    eval: EvalConfig = field(default_factory=EvalConfig)
    """After training."""
    ignored: tuple[str, ...] = field(default=(), compare=False)
    """Dotted keys of the file that belong to other systems and have no effect here; not written back."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.losses if name not in LOSS_NAMES]
        if unknown:
            raise ValueError(f"losses.{unknown[0]} is not a loss; there are {', '.join(LOSS_NAMES)}")
        for name, loss in self.losses.items():
            require(math.isfinite(loss.log_weight), f"losses.{name}.log_weight", "a finite number", loss.log_weight)
            not_negative(f"losses.{name}.init_epoch", loss.init_epoch)
            not_negative(f"losses.{name}.ramp_epochs", loss.ramp_epochs)
