"""Sections of the config: one dataclass per section, one field per key, with the checks of their values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mvgeom.errors import InputError
from mvgeom.files import composed

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


def bad_value(key: str, expected: str, found: object, shown: str | None = None) -> InputError:
    """Return the error for a value that a key cannot have.

    Args:
        key: Full dotted key.
        expected: Values that the key can have, in words.
        found: Value in the config.
        shown: Text of the value in the message; None: as Python prints it.
    """
    if shown is None:
        shown = "null" if found is None else repr(found)
    return InputError(f"{key} must be {expected}, found {shown}", code="bad-value", key=key, found=found)


def require(condition: bool, key: str, expected: str, found: object) -> None:
    """Raise the error for a bad value unless the condition holds."""
    if not condition:
        raise bad_value(key, expected, found)


def require_positive(key: str, value: float | None) -> None:
    """Require a value above 0, or None."""
    require(value is None or value > 0, key, "greater than 0", value)


def require_not_negative(key: str, value: float | None) -> None:
    """Require a value of 0 or more, or None."""
    require(value is None or value >= 0, key, "0 or more", value)


def require_fraction(key: str, value: float | None) -> None:
    """Require a value from 0 to 1, or None."""
    require(value is None or 0 <= value <= 1, key, "between 0 and 1", value)


@dataclass(frozen=True, kw_only=True)
class PatchMaskConfig:
    """Curriculum of masked patches: init_ratio at the start, then linear to final_ratio at the end, then constant."""

    init_epoch: float | None = None
    """Epoch at which masking starts; null: the first, and without final_epoch after a fifth of the run."""
    final_epoch: float | None = None
    """Epoch at which final_ratio is reached; null: after two fifths of the run."""
    init_step: int | None = None
    """Optimizer step at which masking starts, where there is no init_epoch."""
    final_step: int | None = None
    """Optimizer step at which final_ratio is reached, where there is no final_epoch."""
    init_ratio: float = 0.0
    """Share of masked patches at the start."""
    final_ratio: float = 0.0
    """Share of masked patches at the end; 0.0 turns masking off."""
    view_ratio: float = 0.0
    """Share of views hidden as a whole at the end, rising from 0 at the start; at least one view is left."""
    clear_share: float | None = None
    """Share of the run, at its end, without masks; 0: masks to the end; null: half of what follows their start."""
    mode: Literal["pixels", "tokens"] = "pixels"
    """`pixels`: masked patches are blank; `tokens`: they also skip all blocks but the last: cheaper steps."""

    def __post_init__(self) -> None:
        require_fraction("training.patch_mask.init_ratio", self.init_ratio)
        require_fraction("training.patch_mask.final_ratio", self.final_ratio)
        require_fraction("training.patch_mask.view_ratio", self.view_ratio)
        if self.clear_share is not None:
            require_fraction("training.patch_mask.clear_share", self.clear_share)
        for end in ("init", "final"):
            # Runs of Lightning Pose write the steps that follow from the epochs into their config.
            if getattr(self, f"{end}_epoch") is not None:
                object.__setattr__(self, f"{end}_step", None)
        for one, other in (("init_epoch", "final_step"), ("final_epoch", "init_step")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise InputError(
                    f"epochs and steps are mixed: training.patch_mask.{one} counts epochs, {other} counts steps. Use "
                    "one kind and set the other to null",
                    code="excluded-options",
                    key=f"training.patch_mask.{one}",
                    other=f"training.patch_mask.{other}",
                )
        for unit in ("epoch", "step"):
            init, final = getattr(self, f"init_{unit}"), getattr(self, f"final_{unit}")
            require_not_negative(f"training.patch_mask.init_{unit}", init)
            require_not_negative(f"training.patch_mask.final_{unit}", final)
            if init is not None and final is not None and final < init:
                raise InputError(
                    f"training.patch_mask.final_{unit} ({final}) comes before init_{unit} ({init})",
                    code="bad-value",
                    key=f"training.patch_mask.final_{unit}",
                    found=final,
                )


@dataclass(frozen=True, kw_only=True)
class OptimizerParamsConfig:
    """Parameters of the optimizer."""

    learning_rate: float | None = None
    """Learning rate after the warm-up; None: 1e-3, and 1e-4 for a pretrained backbone without a rate of its own."""
    weight_decay: float | None = None
    """Weight decay; None: PyTorch's default for the optimizer (Adam 0, AdamW 0.01)."""

    def __post_init__(self) -> None:
        require_positive("training.optimizer_params.learning_rate", self.learning_rate)
        require_not_negative("training.optimizer_params.weight_decay", self.weight_decay)


@dataclass(frozen=True, kw_only=True)
class MultiStepConfig:
    """Learning rate multiplied by gamma at each milestone."""

    milestones: tuple[int, ...] | None = None
    """Epochs; None without milestone_steps: after 1/2, 2/3 and 5/6 of the run."""
    milestone_steps: tuple[int, ...] | None = None
    """Optimizer steps, in place of milestones."""
    gamma: float = 0.5
    """Factor at each milestone."""

    def __post_init__(self) -> None:
        prefix = "training.lr_scheduler_params.multisteplr"
        if self.milestone_steps is not None:
            # Runs of Lightning Pose write the epochs that follow from the steps into their config.
            object.__setattr__(self, "milestones", None)
        require_positive(f"{prefix}.gamma", self.gamma)
        for key in ("milestones", "milestone_steps"):
            values = getattr(self, key) or ()
            increasing = all(value >= 0 for value in values) and list(values) == sorted(set(values))
            require(increasing, f"{prefix}.{key}", "increasing numbers of 0 or more", list(values))


@dataclass(frozen=True, kw_only=True)
class SchedulerParamsConfig:
    """Parameters of the learning rate schedules, by schedule."""

    multisteplr: MultiStepConfig = field(default_factory=MultiStepConfig)
    """Used when lr_scheduler is multisteplr."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Training of the model."""

    imgaug: str | dict[str, Any] = "dlc"
    """Augmentation preset, or a mapping of transforms to {p, args, kwargs}."""
    imgaug_3d: bool | dict[str, Any] | None = None
    """Move the subject in 3D; a mapping sets the ranges; None: where cameras are known and imgaug is not none."""
    imgaug_hflip: bool = False
    """Mirror images left to right, where that keeps the geometry."""
    train_batch_size: int = 8
    """Frames per training batch; all views of a frame count as one."""
    val_batch_size: int = 32
    """Frames per validation batch."""
    test_batch_size: int = 32
    """Frames per batch in prediction."""
    train_prob: float = 0.95
    """Fraction of the frames used for training."""
    val_prob: float = 0.05
    """Fraction used for validation; the rest is test."""
    train_frames: float = 1.0
    """1: all training frames; below 1: that fraction of them; above 1: that number of them."""
    num_gpus: int | None = None
    """Number of GPUs, where there are any; 0 counts as 1; None: `accelerator` and `devices` decide."""
    accelerator: str = "auto"
    """Fabric's accelerator: auto (a GPU, where there is one), cpu, cuda, mps."""
    devices: int | str | None = None
    """Fabric's devices; None: num_gpus, or auto where that is not given either."""
    strategy: str = "auto"
    """`ddp`, auto on several devices: each has the whole model; `fsdp`: they share its weights; or others of Fabric."""
    num_nodes: int = 1
    """Machines that train together."""
    precision: str = "32-true"
    """Fabric's precision: 32-true, bf16-mixed, 16-mixed, ...; auto: bf16-mixed where the device computes in it."""
    compile: bool = False
    """`torch.compile` the network: a minute or more at the start, faster steps after it."""
    float32_matmul_precision: Literal["highest", "high", "medium"] = "highest"
    """Precision of float32 matrix products on a GPU; high allows TF32. Geometry and losses are not affected."""
    num_workers: int | None = None
    """Loader processes of each device; None: as many as its share of the machine's cores allows, 8 at most."""
    accumulate_grad_batches: int = 1
    """Batches whose gradients are summed before an optimizer step."""
    unfreezing_epoch: float | None = None
    """Epoch from which the backbone is trained; None without unfreezing_step: 1 if pretrained, else 0."""
    unfreezing_step: int | None = None
    """Optimizer step from which the backbone is trained, in place of unfreezing_epoch."""
    min_epochs: int | None = None
    """Epochs before early stopping may end the run."""
    max_epochs: int | None = None
    """Length of the run in epochs; None without max_steps: as many as make 3000 steps, from 20 to 300."""
    min_steps: int | None = None
    """Optimizer steps before early stopping may end the run, in place of min_epochs."""
    max_steps: int | None = None
    """Length of the run in optimizer steps, in place of max_epochs."""
    log_every_n_steps: int = 10
    """Steps between rows of the training log."""
    check_val_every_n_epoch: int = 5
    """Epochs between validations."""
    val_check_interval: int | None = None
    """Optimizer steps between validations, in place of check_val_every_n_epoch."""
    ckpt_every_n_epochs: int | None = None
    """Epochs between checkpoints that are kept; None: only the best and the last."""
    save_every_minutes: float = 10.0
    """Minutes between saves of the training state, from which a killed run can resume; 0: after every step."""
    early_stopping: bool = False
    """End the run when the validation loss no longer falls."""
    early_stop_patience: int = 3
    """Validations without improvement before early stopping."""
    rng_seed_data_pt: int = 0
    """Seed of the split, the order of samples and the augmentation."""
    rng_seed_model_pt: int = 0
    """Seed of the initial weights."""
    optimizer: Literal["Adam", "AdamW"] = "AdamW"
    """Optimizer."""
    optimizer_params: OptimizerParamsConfig = field(default_factory=OptimizerParamsConfig)
    """Parameters of the optimizer."""
    backbone_learning_rate: float | None = None
    """Learning rate of the backbone; None: optimizer_params.learning_rate, or its default."""
    warmup_epochs: float = 0.0
    """Epochs over which the learning rate rises linearly from 0."""
    gradient_clip_norm: float | None = None
    """Largest norm of the gradient; None: not clipped."""
    ema_decay: float | None = None
    """Decay of a running average of the weights, used for prediction; None: no average."""
    lr_scheduler: Literal["auto", "multisteplr", "cosine"] | None = "auto"
    """Learning rate schedule; None: constant; auto: multisteplr where its milestones are given, else cosine."""
    lr_scheduler_params: SchedulerParamsConfig = field(default_factory=SchedulerParamsConfig)
    """Parameters of the schedules."""
    uniform_heatmaps_for_nan_keypoints: bool = False
    """Tables without `visible`: True gives a missing label a uniform target, False leaves it out of the loss."""
    labels_from_3d: bool | None = None
    """Train views without a keypoint's label on the projection of the others' labels; None: where cameras are known."""
    pseudo_share: float = 0.5
    """Share of an epoch's frames that are from `CollectedData_<view>_pseudo.csv`, where there are any; 0: none."""
    patch_mask: PatchMaskConfig | None = None
    """Curriculum of masked patches; None: no masking."""

    def __post_init__(self) -> None:
        for key in (
            *("train_batch_size", "val_batch_size", "test_batch_size", "train_frames", "num_nodes", "max_epochs"),
            *("max_steps", "accumulate_grad_batches", "log_every_n_steps", "check_val_every_n_epoch"),
            *("val_check_interval", "ckpt_every_n_epochs", "early_stop_patience", "backbone_learning_rate"),
            "gradient_clip_norm",
        ):
            require_positive(f"training.{key}", getattr(self, key))
        for key in (
            *("num_gpus", "num_workers", "unfreezing_epoch", "unfreezing_step", "min_epochs", "min_steps"),
            *("rng_seed_data_pt", "rng_seed_model_pt", "warmup_epochs", "save_every_minutes"),
        ):
            require_not_negative(f"training.{key}", getattr(self, key))
        for key in ("train_prob", "val_prob", "pseudo_share"):
            require_fraction(f"training.{key}", getattr(self, key))
        require_positive("training.train_prob", self.train_prob)
        if self.train_prob + self.val_prob > 1 + 1e-9:
            raise InputError(
                f"training.train_prob + training.val_prob must not exceed 1, found {self.train_prob} + {self.val_prob}",
                code="bad-value",
                key="training.val_prob",
                found=self.val_prob,
            )
        if self.train_frames > 1:
            require(
                float(self.train_frames).is_integer(),
                "training.train_frames",
                "1 (all), a fraction below 1, or a whole number of frames",
                self.train_frames,
            )
        if self.ema_decay is not None:
            require(0 < self.ema_decay < 1, "training.ema_decay", "between 0 and 1 (both excluded)", self.ema_decay)
            if self.strategy == "fsdp":
                raise InputError(
                    "training.ema_decay needs the whole model on every device, but training.strategy: fsdp divides it. "
                    "Set training.strategy: ddp, or training.ema_decay: null",
                    code="excluded-options",
                    key="training.ema_decay",
                    other="training.strategy",
                )
        self._check_units()
        if self.lr_scheduler == "auto":
            multistep = self.lr_scheduler_params.multisteplr
            given = multistep.milestones is not None or multistep.milestone_steps is not None
            object.__setattr__(self, "lr_scheduler", "multisteplr" if given else "cosine")

    def _check_units(self) -> None:
        """Require epochs or steps, not both: a mixture would have no clear order of events.

        Masks alone may count otherwise than the run, as Lightning Pose allows.
        """
        multistep = self.lr_scheduler_params.multisteplr
        prefix = "training.lr_scheduler_params.multisteplr."
        epochs: dict[str, Any] = {f"training.{k}": getattr(self, k) for k in ("min_epochs", "max_epochs")}
        epochs |= {"training.unfreezing_epoch": self.unfreezing_epoch, f"{prefix}milestones": multistep.milestones}
        steps: dict[str, Any] = {f"training.{k}": getattr(self, k) for k in ("min_steps", "max_steps")}
        steps |= {"training.unfreezing_step": self.unfreezing_step}
        steps |= {f"{prefix}milestone_steps": multistep.milestone_steps}
        in_epochs = [key for key, value in epochs.items() if value is not None]
        in_steps = [key for key, value in steps.items() if value is not None]
        if in_epochs and in_steps:
            raise InputError(
                f"epochs and steps are mixed: {', '.join(in_epochs)} count epochs, {', '.join(in_steps)} count steps. "
                "Use one kind and set the others to null",
                code="excluded-options",
                key=in_epochs[0],
                other=in_steps[0],
            )

    @property
    def hardware(self) -> tuple[str, int | str]:
        """Return Fabric's (accelerator, devices), with num_gpus taken into account where it is given."""
        if self.devices is not None:
            return self.accelerator, self.devices
        if self.accelerator == "cpu":  # where `num_gpus` counts nothing
            return "cpu", 1
        # Old configs have 0, which Lightning Pose takes for 1: a GPU where there is one.
        return self.accelerator, "auto" if self.num_gpus is None else max(self.num_gpus, 1)


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
        if self.view_names is not None:
            object.__setattr__(self, "view_names", tuple(map(composed, self.view_names)))
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
    """`heatmap_multiview_transformer`: all views together; `heatmap`: every view on its own."""
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
    """`joint`: attention over the patches of all views; `per_view`: within a view; None: follows from model_type."""
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
