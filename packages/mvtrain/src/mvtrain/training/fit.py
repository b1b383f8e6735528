"""`mvtrain fit`: from a config to a run folder."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers import CSVLogger
from rich.console import Console
from rich.text import Text
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from mvaug import Augmentation
from mvtrain.config import Config, save_config
from mvtrain.data.batch import Batch
from mvtrain.data.cache import ImageCache
from mvtrain.data.dataset import EpochSampler, FrameDataset, make_loader, subject_size, triangulate_labels
from mvtrain.data.needs_3d import check_calibration
from mvtrain.data.project import Project, read_project
from mvtrain.data.splits import Split, split_frames
from mvtrain.data.synthetic import generate_if_missing
from mvtrain.evaluation.after_training import evaluate_run
from mvtrain.model.checkpoint import load_checkpoint
from mvtrain.model.multiview import MultiviewTransformer
from mvtrain.model.spec import ModelSpec, build_model, make_spec
from mvtrain.training.loop import Trainer
from mvtrain.training.progress import ProgressLine
from mvtrain.training.schedules import make_schedules
from mvtrain.training.summary import print_summary


def fit(config: Config, run_dir: Path, console: Console) -> None:
    """Train a model and write everything about it into a run folder.

    Args:
        config: what to train on and how.
        run_dir: must not exist, or be empty.
        console: where to say what happens.

    Raises:
        ValueError: whatever is wrong with the config or the project, before the first step.
    """
    if run_dir.exists() and any(run_dir.iterdir()):
        raise ValueError(f"the run folder {run_dir} is not empty; choose another with --output-dir, or remove it")
    generate_if_missing(config, console)
    project = read_project(config)
    for warning in project.warnings:
        console.print(Text.assemble(("warning:", "yellow"), f" {warning}"), soft_wrap=True)
    split = split_frames(project, config)
    check_calibration(config, project)

    accelerator, devices = choose_hardware(config, console)
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        strategy=config.training.strategy,
        num_nodes=config.training.num_nodes,
        precision=config.training.precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    trainer = _prepare(config, project, split, fabric, run_dir, console)
    if fabric.is_global_zero:
        # The logger empties the folder's log when it starts, and warns of anything in the folder: so it comes first.
        _ = trainer.logger.experiment
        run_dir.mkdir(parents=True, exist_ok=True)
        save_config(config, run_dir / "config.yaml")
    with trainer.progress:
        trainer.fit()
    fabric.barrier()
    if fabric.is_global_zero:
        evaluate_run(run_dir, config, project, split, fabric.device, console)


def choose_hardware(config: Config, console: Console) -> tuple[str, int | str]:
    """Fabric's accelerator and devices; without a GPU one CPU process, and who asked for GPUs is told."""
    accelerator, devices = config.training.hardware
    if accelerator == "auto" and not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        if config.training.num_gpus:
            console.print("no GPU was found: training on the CPU", highlight=False)
        # Several processes would share the same cores.
        return "cpu", config.training.devices if config.training.devices is not None else 1
    return accelerator, devices


def _prepare(
    config: Config, project: Project, split: Split, fabric: Fabric, run_dir: Path, console: Console
) -> Trainer:
    training = config.training
    torch.manual_seed(training.rng_seed_model_pt)
    spec, model = _make_model(config, project, split)
    train_loader, validation_loader = _make_loaders(config, project, split, spec, fabric)
    schedules = make_schedules(config, -(-len(train_loader) // training.accumulate_grad_batches))
    averaged = None
    if training.ema_decay is not None:
        average = get_ema_multi_avg_fn(training.ema_decay)
        averaged = AveragedModel(model, device=fabric.device, multi_avg_fn=average, use_buffers=True)
    total = round(schedules.max_epochs * len(train_loader))
    print_summary(config, project, split, spec, model, schedules, len(train_loader), fabric, console)
    wrapped, optimizer = fabric.setup(model, _make_optimizer(config, model))
    return Trainer(
        config=config,
        fabric=fabric,
        model=wrapped,
        averaged=averaged,
        optimizer=optimizer,
        spec=spec,
        schedules=schedules,
        train_loader=train_loader,
        validation_loader=validation_loader,
        run_dir=run_dir,
        progress=ProgressLine(console, total),
        logger=CSVLogger(run_dir, name="", version=""),
    )


def _make_model(config: Config, project: Project, split: Split) -> tuple[ModelSpec, MultiviewTransformer]:
    size = subject_size(triangulate_labels(project)[split.train])
    spec = make_spec(config, view_names=project.view_names, keypoint_names=project.keypoint_names, subject_size=size)
    start = config.model.checkpoint
    if start is None:
        weights, pretrained = config.model.backbone_weights, config.model.backbone_pretrained
        model = build_model(spec, pretrained=pretrained, weights=weights)
    else:
        model, other = load_checkpoint(start)
        for field in ("backbone", "backbone_args", "view_names", "keypoint_names", "downsample_factor"):
            ours, theirs = getattr(spec, field), getattr(other, field)
            if ours != theirs:
                raise ValueError(f"model.checkpoint: {start} was trained with {field} {theirs}, not {ours}")
    model.gradient_checkpointing = config.model.gradient_checkpointing
    return spec, model


def _make_optimizer(config: Config, model: MultiviewTransformer) -> torch.optim.Optimizer:
    training = config.training
    parameters = training.optimizer_params
    backbone_rate = training.backbone_learning_rate or parameters.learning_rate
    # The view embedding goes with the backbone: its gradient runs through every block, which freezing is to save.
    with_backbone = [*model.backbone.parameters(), model.view_embedding]
    groups = [
        {"name": "backbone", "params": with_backbone, "lr": backbone_rate, "full_learning_rate": backbone_rate},
        {
            "name": "head",
            "params": list(model.head.parameters()),
            "lr": parameters.learning_rate,
            "full_learning_rate": parameters.learning_rate,
        },
    ]
    extra = {} if parameters.weight_decay is None else {"weight_decay": parameters.weight_decay}
    return {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}[training.optimizer](groups, **extra)


def _make_loaders(
    config: Config, project: Project, split: Split, spec: ModelSpec, fabric: Fabric
) -> tuple[DataLoader[Batch], DataLoader[Batch] | None]:
    training = config.training
    cache = ImageCache.of_project(project, max_bytes=config.data.cache_gb * 1e9)
    seed = training.rng_seed_data_pt
    augmentation = Augmentation.from_config(
        training.imgaug,
        training.imgaug_3d,
        keypoint_names=project.keypoint_names,
        hflip=training.imgaug_hflip,
    )
    num_workers = default_num_workers() if training.num_workers is None else training.num_workers
    pin_memory = fabric.device.type == "cuda"

    def dataset(changes: Augmentation) -> FrameDataset:
        return FrameDataset(project, size=spec.image_size, augmentation=changes, seed=seed, cache=cache)

    train_sampler = EpochSampler(
        split.train,
        batch_size=training.train_batch_size,
        seed=seed,
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


def default_num_workers() -> int:
    """Loader processes when the config names no number: the cores this process may use, less one for training."""
    return max(1, min(8, len(os.sched_getaffinity(0)) - 1 if hasattr(os, "sched_getaffinity") else 4))
