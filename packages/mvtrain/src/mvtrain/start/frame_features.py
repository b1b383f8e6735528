"""Descriptions of images by a backbone: averages of its patches over a coarse grid."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from mvtrain.config import Config
from mvtrain.model.backbone import build_backbone, input_normalization
from mvtrain.model.inference import normalize
from mvtrain.model.local_weights import find_local_weights
from mvtrain.model.run_folder import load_run

GRID = 4
"""Rows and columns over which patches are averaged: a place in the image counts, small shifts do not."""


class BackboneFeatures:
    """Backbone that describes images.

    Args:
        backbone: Vision transformer of timm.
        name: Name of the backbone, for its normalization and for messages.
        size: Height and width of its input in px, about.
        device: Device to compute on.
    """

    def __init__(self, backbone: nn.Module, name: str, size: tuple[int, int], device: torch.device) -> None:
        patch = backbone.patch_embed.patch_size  # type: ignore[union-attr]
        self.name = name
        self.size = tuple(
            max(GRID, round(length / side)) * side
            for length, side in zip(size, patch, strict=True)  # type: ignore[arg-type]
        )
        self._grid = tuple(length // side for length, side in zip(self.size, patch, strict=True))  # type: ignore[arg-type]
        self._backbone = backbone.to(device).eval()
        self._device = device
        self._mean, self._std = (torch.tensor(values, device=device) for values in input_normalization(name))

    @property
    def num_features(self) -> int:
        """Return the number of values that describe an image."""
        return int(self._backbone.embed_dim) * GRID**2  # type: ignore[arg-type]

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """Shrink an image (H, W, 3) uint8 BGR to the input (h, w, 3) uint8 RGB."""
        height, width = self.size
        small = cv2.resize(image, (int(width), int(height)), interpolation=cv2.INTER_AREA)
        return cv2.cvtColor(small, cv2.COLOR_BGR2RGB)

    @torch.inference_mode()
    def describe(self, images: np.ndarray) -> np.ndarray:
        """Return (N, F) float32 of prepared images (N, h, w, 3)."""
        batch = torch.from_numpy(images).to(self._device).permute(0, 3, 1, 2)
        tokens = self._backbone.forward_features(normalize(batch, self._mean, self._std))  # type: ignore[operator]
        patches = tokens[:, -self._grid[0] * self._grid[1] :].transpose(1, 2).unflatten(2, self._grid)
        pooled = nn.functional.adaptive_avg_pool2d(patches.float(), GRID)
        return np.asarray(pooled.flatten(1).cpu().numpy())


def load_features(config: Config, run: Path | None, device: torch.device) -> BackboneFeatures | None:
    """Load the backbone of a run, or the config's pretrained one where its weights are on this computer.

    Args:
        config: Config of the project.
        run: Run folder; None takes the config's backbone.
        device: Device to compute on.

    Returns:
        The backbone; None where there are no trained weights.

    Raises:
        InputError: The run folder or the weights cannot be read.
    """
    size = (config.data.image_resize_dims.height, config.data.image_resize_dims.width)
    if run is not None:
        loaded = load_run(run)
        backbone = loaded.model.backbone
        assert isinstance(backbone, nn.Module)
        return BackboneFeatures(backbone, loaded.spec.backbone, loaded.spec.image_size[::-1], device)
    weights = find_local_weights(config)
    if weights is None:
        return None
    built = build_backbone(config.model.backbone, weights=weights, arguments=config.model.backbone_args)
    return BackboneFeatures(built, config.model.backbone, size, device)
