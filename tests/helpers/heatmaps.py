"""Heatmaps of keypoints that several calibrated views see."""

import numpy as np
import torch
from torch import Tensor

from helpers.rigs import make_batch, ring
from mvgeom import affine
from mvtrain.data.batch import Batch
from mvtrain.model.decode import SIGMA, heatmap_to_model, model_to_heatmap

FACTOR = 1
SIZE = 32
"""Height and width of heatmaps."""


def world(seed: int, num_samples: int = 2, num_keypoints: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.8, 0.8, (num_samples, num_keypoints, 3))


def scene(seed: int, num_views: int = 4) -> tuple[Batch, Tensor]:
    """Samples with cameras, and where their keypoints are in heatmap px (B, V, K, 2)."""
    batch = make_batch(world(seed), ring(num_views))
    return batch, model_to_heatmap(batch.points, FACTOR)


def peaks(places: Tensor, height: float = 1.0) -> Tensor:
    """Heatmaps (..., h, w) with the target's peak at places (..., 2), of this mass."""
    pixels = torch.arange(SIZE, dtype=places.dtype)
    along_x = torch.exp(-(pixels - places[..., :1]).square() / (2 * SIGMA**2))
    along_y = torch.exp(-(pixels - places[..., 1:]).square() / (2 * SIGMA**2))
    maps = along_y[..., :, None] * along_x[..., None, :]
    return height * maps / maps.sum((-2, -1), keepdim=True)


def full(batch: Batch, places: Tensor) -> Tensor:
    return affine.apply(affine.invert(batch.to_model), heatmap_to_model(places, FACTOR))
