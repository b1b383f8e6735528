"""Losses, and the two tables of their names in a config.

A heatmap loss compares heatmaps with targets, and `model.heatmap_loss_type` names the one in use. Any number of further
losses is added to it: functions of (Prediction, Batch, unit of length), on when the config's `losses` has a section of
their name. Weights and schedules come from the config, logging from the trainer.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from mvgeom.errors import InputError
from mvtrain.config.schema import LOSS_NAMES
from mvtrain.data.batch import Batch
from mvtrain.losses.geometric import pairwise_projections, reprojection_heatmaps
from mvtrain.losses.heatmap import HEATMAP_LOSSES, HeatmapLoss
from mvtrain.model.inference import Prediction

Loss = Callable[[Prediction, Batch, float], Tensor]
"""Function from prediction, batch and unit of length (the subject's size in world units) to a scalar."""

LOSSES: dict[str, Loss] = {
    "supervised_pairwise_projections": pairwise_projections,
    "supervised_reprojection_heatmap_mse": reprojection_heatmaps,
}
"""Losses beside the heatmap loss, by their key in the config's `losses`."""


def register_loss(name: str, *, needs_cameras: bool) -> Callable[[Loss], Loss]:
    """Decorate a function as a loss that configs can name, in a file that `model.plugins` lists.

    Args:
        name: Key of the loss in the config's `losses`.
        needs_cameras: True for a 3D loss. Then a project without calibration is refused before training, and the loss
            is not called for batches without calibrated samples; `batch.calibrated` marks those that are.

    Raises:
        InputError: `duplicate-name`.
    """
    if name in LOSS_NAMES:
        raise InputError(
            f"register_loss: there is a loss {name!r} already. Give the new one another name.",
            code="duplicate-name",
            name=name,
        )

    def register(function: Loss) -> Loss:
        LOSSES[name], LOSS_NAMES[name] = function, needs_cameras
        return function

    return register


__all__ = ["HEATMAP_LOSSES", "LOSSES", "LOSS_NAMES", "HeatmapLoss", "Loss", "register_loss"]
