"""Gradient of each loss on a trained network: the `log_weight` that makes one loss count beside another.

    uv run python benchmarks/loss_gradients.py RUN [--batches 4]

Printed for every loss there is, without its weight: its value and the norm of its gradient in all parameters, the mean
over batches of the run's training frames without augmentation or masking; for heatmap losses that norm beside `mse`'s
and the number that `mvtrain.losses.heatmap.GRADIENT_SCALES` has for it; for the others the `log_weight` at which they
pull a quarter as strongly as each heatmap loss does at its usual weight of 1/2. Nothing is written.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from mvaug import Augmentation
from mvtrain.data.batch import Batch
from mvtrain.data.dataset import EpochSampler, FrameDataset, ImageCache, make_loader
from mvtrain.losses import HEATMAP_LOSSES, LOSSES
from mvtrain.losses.heatmap import GRADIENT_SCALES
from mvtrain.model.inference import Network
from mvtrain.model.run_folder import load_run
from mvtrain.project.project import read_project
from mvtrain.project.splits import split_frames
from mvtrain.training.schedules import make_schedules
from mvtrain.training.step import TrainingStep

SHARE = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--batches", type=int, default=4)
    arguments = parser.parse_args()
    run = load_run(arguments.run)
    project = read_project(run.config)
    dataset = FrameDataset(
        project,
        size=run.spec.image_size,
        augmentation=Augmentation.none(),
        seed=0,
        cache=ImageCache.from_project(project, max_bytes=0),
    )
    sampler = EpochSampler(split_frames(project, run.config).train, batch_size=8, seed=0)
    batches = islice(make_loader(dataset, sampler, num_workers=0, pin_memory=False), arguments.batches)
    network = Network.from_model(run.model, run.spec, torch.device("cpu"))
    step = TrainingStep.from_config(run.config, run.spec, make_schedules(run.config, 1), network, run.model.patch_size)
    unit = run.spec.subject_size or 1.0
    figures = np.mean([[pull(network, loss) for loss in losses(step, batch, unit).values()] for batch in batches], 0)
    print_table(dict(zip((*HEATMAP_LOSSES, *LOSSES), figures, strict=True)))


def losses(step: TrainingStep, batch: Batch, unit: float) -> dict[str, Tensor]:
    """All losses of one forward pass, by name."""
    prediction = step.network(batch)
    heatmap = {
        name: dataclasses.replace(step, heatmap_loss=function).heatmap(prediction, batch)
        for name, function in HEATMAP_LOSSES.items()
    }
    return heatmap | {name: function(prediction, batch, unit) for name, function in LOSSES.items()}


def pull(network: Network, loss: Tensor) -> tuple[float, float]:
    """Value of a loss, and norm of its gradient."""
    gradients = torch.autograd.grad(loss, list(network.model.parameters()), retain_graph=True, allow_unused=True)
    return loss.item(), math.sqrt(sum(float(part.square().sum()) for part in gradients if part is not None))


def print_table(figures: dict[str, np.ndarray]) -> None:
    table = Table()
    table.add_column("loss")
    for column in (
        "value",
        "gradient",
        "beside mse",
        "scale",
        *(f"log_weight beside {name}" for name in HEATMAP_LOSSES),
    ):
        table.add_column(column, justify="right")
    for name, (value, gradient) in figures.items():
        if name in LOSSES:
            # weight = scale / 2 exp(-log_weight), and the heatmap loss has 1/2.
            cells = ["", ""] + [
                f"{math.log(GRADIENT_SCALES[other] * gradient / (SHARE * figures[other][1])):.1f}"
                for other in HEATMAP_LOSSES
            ]
        else:
            cells = [f"{gradient / figures['mse'][1]:.1f}", f"{GRADIENT_SCALES[name]:g}"]
        table.add_row(name, f"{value:.4f}", f"{gradient:.4f}", *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
