"""What a config file may say: one dataclass per section, one line per key, and what the values must satisfy.

Keys are those of existing multi-view projects; defaults hold for keys that a file does not give. Lengths and starts are
counted in epochs or in optimizer steps, never in both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

LOSS_NAMES = ("heatmap_mse", "supervised_pairwise_projections", "supervised_reprojection_heatmap_mse")
"""Losses whose section the trainer reads; `heatmap_mse` is always on, the others when their section is present."""


def _require(condition: bool, key: str, expected: str, found: object) -> None:
    if not condition:
        raise ValueError(f"{key} must be {expected}, found {found!r}")


def _positive(key: str, value: float | None) -> None:
    _require(value is None or value > 0, key, "greater than 0", value)


def _not_negative(key: str, value: float | None) -> None:
    _require(value is None or value >= 0, key, "0 or more", value)


def _fraction(key: str, value: float | None) -> None:
    _require(value is None or 0 <= value <= 1, key, "between 0 and 1", value)


@dataclass(frozen=True, kw_only=True)
class ImageSizeConfig:
    """Size of the network's input in model px."""

    height: int = 256
    """Rows; need not equal the width."""
    width: int = 256
    """Columns."""

    def __post_init__(self) -> None:
        _positive("data.image_resize_dims.height", self.height)
        _positive("data.image_resize_dims.width", self.width)


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
        _require(self.downsample_factor in (1, 2, 3), "data.downsample_factor", "1, 2 or 3", self.downsample_factor)
        _positive("data.num_keypoints", self.num_keypoints)
        _not_negative("data.cache_gb", self.cache_gb)
        for key in ("csv_file", "view_names", "bbox_file", "keypoint_names"):
            names = getattr(self, key)
            _require(names is None or len(names) > 0, f"data.{key}", "a list with at least one entry, or null", names)
        for key in ("view_names", "keypoint_names"):
            names = getattr(self, key) or ()
            repeated = sorted({name for name in names if names.count(name) > 1})
            _require(not repeated, f"data.{key}", "distinct names", repeated)
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
class PatchMaskConfig:
    """Curriculum of masked patches: init_ratio at the start, then linear to final_ratio at the end, then constant."""

    init_epoch: float | None = None
    """Epoch at which masking starts."""
    final_epoch: float | None = None
    """Epoch at which final_ratio is reached."""
    init_step: int | None = None
    """Optimizer step at which masking starts, in place of init_epoch."""
    final_step: int | None = None
    """Optimizer step at which final_ratio is reached, in place of final_epoch."""
    init_ratio: float = 0.0
    """Share of masked patches at the start."""
    final_ratio: float = 0.0
    """Share of masked patches at the end; 0.0 turns masking off."""

    def __post_init__(self) -> None:
        _fraction("training.patch_mask.init_ratio", self.init_ratio)
        _fraction("training.patch_mask.final_ratio", self.final_ratio)
        for unit in ("epoch", "step"):
            init, final = getattr(self, f"init_{unit}"), getattr(self, f"final_{unit}")
            _not_negative(f"training.patch_mask.init_{unit}", init)
            _not_negative(f"training.patch_mask.final_{unit}", final)
            if init is not None and final is not None and final < init:
                raise ValueError(f"training.patch_mask.final_{unit} ({final}) comes before init_{unit} ({init})")
        if self.final_ratio > 0 and self.final_epoch is None and self.final_step is None:
            raise ValueError(
                f"training.patch_mask.final_ratio is {self.final_ratio}, so final_epoch or final_step must say when it "
                "is reached"
            )


@dataclass(frozen=True, kw_only=True)
class OptimizerParamsConfig:
    """Numbers of the optimizer."""

    learning_rate: float = 5e-5
    """Learning rate after the warm-up."""
    weight_decay: float | None = None
    """Weight decay; None: PyTorch's default for the optimizer (Adam 0, AdamW 0.01)."""

    def __post_init__(self) -> None:
        _positive("training.optimizer_params.learning_rate", self.learning_rate)
        _not_negative("training.optimizer_params.weight_decay", self.weight_decay)


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
        _positive(f"{prefix}.gamma", self.gamma)
        for key in ("milestones", "milestone_steps"):
            values = getattr(self, key) or ()
            increasing = all(value >= 0 for value in values) and list(values) == sorted(set(values))
            _require(increasing, f"{prefix}.{key}", "increasing numbers of 0 or more", list(values))


@dataclass(frozen=True, kw_only=True)
class SchedulerParamsConfig:
    """Parameters of the learning rate schedules, by schedule."""

    multisteplr: MultiStepConfig = field(default_factory=MultiStepConfig)
    """Used when lr_scheduler is multisteplr."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How the model is trained."""

    imgaug: str | dict[str, Any] = "dlc"
    """Augmentation preset, or a mapping of transforms to {p, args, kwargs}."""
    imgaug_3d: bool | dict[str, Any] = False
    """Move the subject in 3D; a mapping sets the ranges."""
    imgaug_hflip: bool = False
    """Mirror images left to right, where that keeps the geometry."""
    train_batch_size: int = 16
    """Moments per training batch; all views of a moment count as one."""
    val_batch_size: int = 32
    """Moments per validation batch."""
    test_batch_size: int = 32
    """Moments per batch in prediction."""
    train_prob: float = 0.95
    """Fraction of the frames used for training."""
    val_prob: float = 0.05
    """Fraction used for validation; the rest is test."""
    train_frames: float = 1.0
    """1: all training frames; below 1: that fraction of them; above 1: that number of them."""
    num_gpus: int | None = None
    """Number of GPUs; 0: train on the CPU; None: `accelerator` and `devices` decide."""
    accelerator: str = "auto"
    """Fabric's accelerator: auto, cpu, cuda, mps."""
    devices: int | str | None = None
    """Fabric's devices; None: num_gpus, or auto where that is not given either."""
    strategy: str = "auto"
    """Fabric's strategy: auto, ddp, ..."""
    num_nodes: int = 1
    """Machines that train together."""
    precision: str = "32-true"
    """Fabric's precision: 32-true, bf16-mixed, 16-mixed, ..."""
    num_workers: int | None = None
    """Loader processes; None: as many as the machine has cores for."""
    accumulate_grad_batches: int = 1
    """Batches whose gradients are summed before an optimizer step."""
    unfreezing_epoch: float | None = None
    """Epoch from which the backbone learns; None without unfreezing_step: from the start."""
    unfreezing_step: int | None = None
    """Optimizer step from which the backbone learns, in place of unfreezing_epoch."""
    min_epochs: int | None = None
    """Epochs before early stopping may end the run."""
    max_epochs: int | None = None
    """Length of the run in epochs; None without max_steps: 300."""
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
    """Numbers of the optimizer."""
    backbone_learning_rate: float | None = None
    """Learning rate of the backbone; None: optimizer_params.learning_rate."""
    warmup_epochs: float = 0.0
    """Epochs over which the learning rate rises linearly from 0."""
    gradient_clip_norm: float | None = None
    """Largest norm of the gradient; None: not clipped."""
    ema_decay: float | None = None
    """Decay of a running average of the weights, used for prediction; None: no average."""
    lr_scheduler: Literal["multisteplr", "cosine"] | None = "multisteplr"
    """Learning rate schedule; None: constant."""
    lr_scheduler_params: SchedulerParamsConfig = field(default_factory=SchedulerParamsConfig)
    """Parameters of the schedules."""
    uniform_heatmaps_for_nan_keypoints: bool = False
    """Tables without `visible`: True gives a missing label a uniform target, False leaves it out of the loss."""
    patch_mask: PatchMaskConfig | None = None
    """Curriculum of masked patches; None: no masking."""

    def __post_init__(self) -> None:
        for key in (
            *("train_batch_size", "val_batch_size", "test_batch_size", "train_frames", "num_nodes", "max_epochs"),
            *("max_steps", "accumulate_grad_batches", "log_every_n_steps", "check_val_every_n_epoch"),
            *("val_check_interval", "ckpt_every_n_epochs", "early_stop_patience", "backbone_learning_rate"),
            "gradient_clip_norm",
        ):
            _positive(f"training.{key}", getattr(self, key))
        for key in (
            *("num_gpus", "num_workers", "unfreezing_epoch", "unfreezing_step", "min_epochs", "min_steps"),
            *("rng_seed_data_pt", "rng_seed_model_pt", "warmup_epochs"),
        ):
            _not_negative(f"training.{key}", getattr(self, key))
        for key in ("train_prob", "val_prob"):
            _fraction(f"training.{key}", getattr(self, key))
        _positive("training.train_prob", self.train_prob)
        if self.train_prob + self.val_prob > 1 + 1e-9:
            raise ValueError(
                f"training.train_prob + training.val_prob must not exceed 1, found {self.train_prob} + {self.val_prob}"
            )
        if self.train_frames > 1:
            _require(
                float(self.train_frames).is_integer(),
                "training.train_frames",
                "1 (all), a fraction below 1, or a whole number of frames",
                self.train_frames,
            )
        if self.ema_decay is not None:
            _require(0 < self.ema_decay < 1, "training.ema_decay", "between 0 and 1 (both excluded)", self.ema_decay)
        self._check_units()
        if self.max_epochs is None and self.max_steps is None:
            object.__setattr__(self, "max_epochs", 300)
        for unit in ("epochs", "steps"):
            least, most = getattr(self, f"min_{unit}"), getattr(self, f"max_{unit}")
            if least is not None and most is not None and least > most:
                raise ValueError(f"training.min_{unit} ({least}) is greater than training.max_{unit} ({most})")

    def _check_units(self) -> None:
        """Epochs or steps, not both: the two clocks need not agree, so a mixture has no clear order of events."""
        multistep = self.lr_scheduler_params.multisteplr
        prefix = "training.lr_scheduler_params.multisteplr."
        epochs: dict[str, Any] = {f"training.{k}": getattr(self, k) for k in ("min_epochs", "max_epochs")}
        epochs |= {"training.unfreezing_epoch": self.unfreezing_epoch, f"{prefix}milestones": multistep.milestones}
        steps: dict[str, Any] = {f"training.{k}": getattr(self, k) for k in ("min_steps", "max_steps")}
        steps |= {"training.unfreezing_step": self.unfreezing_step}
        steps |= {f"{prefix}milestone_steps": multistep.milestone_steps}
        if self.patch_mask is not None:
            for end in ("init", "final"):
                epochs[f"training.patch_mask.{end}_epoch"] = getattr(self.patch_mask, f"{end}_epoch")
                steps[f"training.patch_mask.{end}_step"] = getattr(self.patch_mask, f"{end}_step")
        in_epochs = [key for key, value in epochs.items() if value is not None]
        in_steps = [key for key, value in steps.items() if value is not None]
        if in_epochs and in_steps:
            raise ValueError(
                f"epochs and steps are mixed: {', '.join(in_epochs)} count epochs, {', '.join(in_steps)} count steps; "
                "use one kind and set the others to null"
            )

    @property
    def hardware(self) -> tuple[str, int | str]:
        """Fabric's (accelerator, devices), with num_gpus taken into account where it is given."""
        if self.num_gpus == 0:
            return "cpu", self.devices if self.devices is not None else 1
        if self.devices is not None:
            return self.accelerator, self.devices
        return self.accelerator, self.num_gpus if self.num_gpus is not None else "auto"


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
    heatmap_loss_type: Literal["mse", "kl", "js"] = "mse"
    """Supervised heatmap loss."""
    losses_to_use: tuple[str, ...] = ()
    """Unsupervised losses: none is available yet."""
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
        _fraction("eval.confidence_thresh_for_vid", self.confidence_thresh_for_vid)


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
            _require(math.isfinite(loss.log_weight), f"losses.{name}.log_weight", "a finite number", loss.log_weight)
            _not_negative(f"losses.{name}.init_epoch", loss.init_epoch)
            _not_negative(f"losses.{name}.ramp_epochs", loss.ramp_epochs)
