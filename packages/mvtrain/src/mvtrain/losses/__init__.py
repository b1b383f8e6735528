"""Losses, and the two tables that say which name in a config means which function.

To add a 3D loss, write a function of (Prediction, Batch, scale) and enter it in `GEOMETRIC_LOSSES`; a heatmap loss
goes into `HEATMAP_LOSSES` in `heatmap.py`. Weights and schedules come from the config, logging from the trainer.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from mvtrain.data.batch import Batch
from mvtrain.losses.geometric import pairwise_projections, reprojection_heatmaps
from mvtrain.losses.heatmap import HEATMAP_LOSSES
from mvtrain.model.prediction import Prediction

GeometricLoss = Callable[[Prediction, Batch, float], Tensor]

GEOMETRIC_LOSSES: dict[str, GeometricLoss] = {
    "supervised_pairwise_projections": pairwise_projections,
    "supervised_reprojection_heatmap_mse": reprojection_heatmaps,
}
"""3D losses by their key in the config's `losses`; the last argument is the unit of length."""

__all__ = ["GEOMETRIC_LOSSES", "HEATMAP_LOSSES", "GeometricLoss"]
