"""Model, optimizer and loaders of a run, built from its config."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from mvaug import Augmentation
from mvgeom.errors import InputError
from mvtrain.config import Config
from mvtrain.config.recommended import learning_rates
from mvtrain.config.schema import LOSS_NAMES
from mvtrain.data.batch import Batch
from mvtrain.data.dataset import (
    EpochSampler,
    FrameDataset,
    ImageCache,
    make_augmentation,
    make_loader,
    range_of_motion,
    subject_size,
)
from mvtrain.model.checkpoint import ModelSpec, build_model, load_checkpoint, make_spec
from mvtrain.model.multiview import MultiviewTransformer
from mvtrain.project.labels_3d import triangulate_labels, uses_imgaug_3d, uses_labels_from_3d
from mvtrain.project.project import Project
from mvtrain.project.pseudo_labels import PseudoLabels
from mvtrain.project.splits import Split


def make_model(config: Config, project: Project, split: Split) -> tuple[ModelSpec, MultiviewTransformer]:
    """Build the network that the config asks for, with its first weights, and its description.

    Raises:
        InputError: Weights that cannot be had or do not fit; `bad-value` for `model.checkpoint` of another network;
            `no-labels` if the labels give a normalized 3D loss no unit of length.
    """
    points_3d = triangulate_labels(project)
    size = subject_size(points_3d[split.train]) or range_of_motion(points_3d, project.sessions)
    if size is None and np.isfinite(points_3d).any():
        _check_not_normalized(config)
    spec = make_spec(config, view_names=project.view_names, keypoint_names=project.keypoint_names, subject_size=size)
    start = config.model.checkpoint
    if start is None:
        weights, pretrained = config.model.backbone_weights, config.model.backbone_pretrained
        model = build_model(spec, pretrained=pretrained, weights=weights)
    else:
        loaded, other = _load_start(start)
        for field in ("backbone", "backbone_args", "view_names", "keypoint_names", "downsample_factor"):
            ours, theirs = getattr(spec, field), getattr(other, field)
            if ours != theirs:
                raise InputError(
                    f"model.checkpoint: {start} was trained with another {field}, found {theirs}, expected {ours}",
                    code="bad-value",
                    key="model.checkpoint",
                    field=field,
                    found=theirs,
                    expected=ours,
                )
        # Attention has no weights of its own: the config may ask for another attention than the checkpoint's.
        model = build_model(spec)
        # A head for covariances that only one of the two has is new, or dropped.
        missing, unexpected = model.load_state_dict(loaded.state_dict(), strict=False)
        assert all(name.startswith("covariance_head.") for name in (*missing, *unexpected))
    model.gradient_checkpointing = config.model.gradient_checkpointing
    return spec, model


def _load_start(start: Path) -> tuple[MultiviewTransformer, ModelSpec]:
    """Read the checkpoint that the config names."""
    if start.suffix == ".ckpt":
        raise InputError(
            f"model.checkpoint: {start} is a checkpoint of Lightning, whose network is another one, expected a folder "
            "of mvtrain such as RUN/checkpoints/best. Set model.checkpoint: null to begin from the backbone's own "
            "weights",
            code="unsupported-file",
            key="model.checkpoint",
            path=start,
        )
    try:
        return load_checkpoint(start)
    except InputError as error:
        raise error.prefixed("model.checkpoint: ", key="model.checkpoint") from error


def _check_not_normalized(config: Config) -> None:
    for name, loss in config.losses.items():
        if LOSS_NAMES[name] and loss.normalize:
            key = f"losses.{name}.normalize"
            raise InputError(
                f"{key}: found true, but no two 3D labels in a frame, or in two places of a session, which the unit of "
                f"length needs. Label more frames in two views, or set {key}: false for the calibration's unit.",
                code="no-labels",
                key=key,
            )


def make_optimizer(config: Config, model: MultiviewTransformer) -> torch.optim.Optimizer:
    """Make the optimizer with the groups `backbone` and `head`, each with its full learning rate and the current one.

    The model must be on its device already.
    """
    training = config.training
    parameters = training.optimizer_params
    head_rate, backbone_rate = learning_rates(config)
    # The view embedding goes with the backbone: its gradient runs through every block, a cost that freezing avoids.
    with_backbone = [*model.backbone.parameters(), model.view_embedding]
    groups = [
        {"name": "backbone", "params": with_backbone, "lr": backbone_rate, "full_learning_rate": backbone_rate},
        {
            "name": "head",
            "params": [*model.head.parameters(), *_parameters(model.covariance_head)],
            "lr": head_rate,
            "full_learning_rate": head_rate,
        },
    ]
    extra: dict[str, Any] = {} if parameters.weight_decay is None else {"weight_decay": parameters.weight_decay}
    # One kernel for all parameters takes less than half the time. It unscales gradients that were scaled for float16
    # by itself, which is too late for clipping.
    device = model.view_embedding.device.type
    extra["fused"] = device in ("cpu", "cuda") and training.precision not in ("16-mixed", "16")
    return {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}[training.optimizer](groups, **extra)


def _parameters(module: nn.Module | None) -> list[nn.Parameter]:
    return [] if module is None else list(module.parameters())


def make_average(model: MultiviewTransformer, decay: float, fabric: Fabric) -> AveragedModel:
    """Make the running average of a model's weights: in float32, whatever precision the weights will have."""
    averaged = AveragedModel(model, device=fabric.device, use_buffers=True)
    # One kernel for all weights takes less time, but cannot average weights of another type.
    if fabric.strategy.precision.precision in ("32-true", "bf16-mixed", "16-mixed"):
        averaged.multi_avg_fn = get_ema_multi_avg_fn(decay)
    else:
        averaged.avg_fn = get_ema_avg_fn(decay)
    return averaged


def make_loaders(
    config: Config,
    project: Project,
    split: Split,
    spec: ModelSpec,
    fabric: Fabric,
    pseudo: PseudoLabels | None = None,
) -> tuple[DataLoader[Batch], DataLoader[Batch] | None]:
    """Make the loaders of this process's training frames and of the validation frames; None without validation."""
    training = config.training
    processes = fabric.world_size // training.num_nodes
    frames = project if pseudo is None else pseudo.project
    cache = ImageCache.from_project(frames, max_bytes=config.data.cache_gb * 1e9 / processes)
    seed = training.rng_seed_data_pt
    augmentation = make_augmentation(training, uses_imgaug_3d(config, project), project.keypoint_names)
    num_workers = default_num_workers(processes) if training.num_workers is None else training.num_workers
    pin_memory = fabric.device.type == "cuda"

    def dataset(changes: Augmentation) -> FrameDataset:
        return FrameDataset(
            frames,
            size=spec.image_size,
            augmentation=changes,
            seed=seed,
            cache=cache,
            labels_from_3d=uses_labels_from_3d(config, project),
        )

    train_sampler = EpochSampler(
        split.train,
        batch_size=training.train_batch_size,
        seed=seed,
        others=None if pseudo is None else pseudo.rows,
        share=training.pseudo_share,
        rank=fabric.global_rank,
        num_ranks=fabric.world_size,
    )
    train_loader = make_loader(dataset(augmentation), train_sampler, num_workers=num_workers, pin_memory=pin_memory)
    if len(split.validation) == 0:
        return train_loader, None
    # Without augmentation a sample costs little: no workers of its own.
    validation_sampler = EpochSampler(split.validation, batch_size=training.val_batch_size, seed=None)
    validation_loader = make_loader(
        dataset(Augmentation.none()), validation_sampler, num_workers=0, pin_memory=pin_memory
    )
    return train_loader, validation_loader


def default_num_workers(processes: int) -> int:
    """Count the loader processes if the config gives no number: the cores of a process, less one for training.

    Args:
        processes: Number of processes of the run on this machine, which share its cores.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 5
    return max(1, min(8, cores // processes - 1))
