"""The whole way from images to keypoints as one module, so that a runtime without this package can take it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mvtrain.model.decode import decode, heatmap_covariance, heatmap_to_model
from mvtrain.model.multiview import MultiviewTransformer
from mvtrain.model.prediction import normalize
from mvtrain.model.spec import ModelSpec

INPUTS = ("images", "present")
OUTPUTS = ("points", "confidence", "covariance")


class KeypointGraph(nn.Module):
    """Normalisation, network and decoding.

    Args:
        model: the network.
        spec: what its input and output mean.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: MultiviewTransformer, spec: ModelSpec) -> None:
        super().__init__()
        self.model = model
        self.downsample_factor = spec.downsample_factor
        self.register_buffer("mean", torch.tensor(spec.mean))
        self.register_buffer("std", torch.tensor(spec.std))

    def forward(self, images: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Keypoints of B moments.

        Args:
            images: (B, V, 3, H, W) uint8 RGB in model px; of a view that is absent whatever there is.
            present: (B, V) bool, which views there are.

        Returns:
            (B, V, K, 2) x and y in model px; (B, V, K) confidence in [0, 1]; (B, V, K, 2, 2) covariance in model px^2.
            Of absent views they mean nothing.
        """
        logits = self.model(normalize(images, self.mean, self.std), present).float()
        points, confidence = decode(logits)
        covariance = heatmap_covariance(logits, points) * 4**self.downsample_factor
        return heatmap_to_model(points, self.downsample_factor), confidence, covariance


def example_inputs(spec: ModelSpec, batch_size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random images, some of them smooth, and views of which some are absent where there are several."""
    generator = torch.Generator().manual_seed(seed)
    width, height = spec.image_size
    shape = (batch_size, len(spec.view_names), 3, height, width)
    images = torch.rand(shape, generator=generator)
    smooth = torch.nn.functional.avg_pool2d(images.flatten(0, 1), 9, stride=1, padding=4).reshape(shape)
    images = torch.where(torch.arange(batch_size)[:, None, None, None, None] % 2 == 0, (smooth - 0.3) * 2.5, images)
    present = torch.rand(shape[:2], generator=generator) < 0.8
    present[:, 0] = True
    return (images.clamp(0, 1) * 255).to(torch.uint8), present
