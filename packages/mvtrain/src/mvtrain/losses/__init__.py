"""Losses, and the two tables that say which name in a config means which function.

A heatmap loss compares heatmaps with targets, and `model.heatmap_loss_type` names the one in use. Any number of further
losses is added to it: functions of (Prediction, Batch, unit of length), on when the config's `losses` has a section of
their name. Weights and schedules come from the config, logging from the trainer.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from mvtrain.config.schema import LOSS_NAMES
from mvtrain.data.batch import Batch
from mvtrain.losses.geometric import pairwise_projections, reprojection_heatmaps
from mvtrain.losses.heatmap import HEATMAP_LOSSES, HeatmapLoss
from mvtrain.model.inference import Prediction

Loss = Callable[[Prediction, Batch, float], Tensor]
"""Prediction, batch, unit of length (the subject's size, in the calibration's unit) to a scalar."""

LOSSES: dict[str, Loss] = {
    "supervised_pairwise_projections": pairwise_projections,
    "supervised_reprojection_heatmap_mse": reprojection_heatmaps,
}
"""Losses beside the heatmap loss, by their key in the config's `losses`."""


def register_loss(name: str, *, needs_cameras: bool) -> Callable[[Loss], Loss]:
    """Make a function a loss that configs can name; to be used as a decorator, in a file that `model.plugins` lists.

    Args:
        name: its key in the config's `losses`.
        needs_cameras: whether it is a 3D loss. Then a project without calibration is refused before training, and it is
            not called for batches without calibrated samples; `batch.calibrated` tells which samples are.

    Raises:
        ValueError: there is a loss of that name already.
    """
    if name in LOSS_NAMES:
        raise ValueError(f"there is a loss {name!r} already; give the new one another name")

    def register(function: Loss) -> Loss:
        LOSSES[name], LOSS_NAMES[name] = function, needs_cameras
        return function

    return register


__all__ = ["HEATMAP_LOSSES", "LOSSES", "LOSS_NAMES", "HeatmapLoss", "Loss", "register_loss"]
