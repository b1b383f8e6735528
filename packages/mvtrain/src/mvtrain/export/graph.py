"""The module that computes keypoints from images, for export to runtimes without this package."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize as unit

from mvtrain.model.backbone import patch_grid
from mvtrain.model.checkpoint import ModelSpec
from mvtrain.model.decode import decode, heatmap_covariance, heatmap_to_model
from mvtrain.model.epipolar import bias_between_rays
from mvtrain.model.inference import normalize
from mvtrain.model.likelihood import ConfidenceMap, log_odds_terms
from mvtrain.model.multiview import MultiviewTransformer, split_output

OUTPUTS = ("points", "confidence", "covariance")


def input_names(spec: ModelSpec) -> tuple[str, ...]:
    """Return the names of a graph's inputs, in their order."""
    return ("images", "present", "centers", "rays") if spec.epipolar_attention else ("images", "present")


class KeypointGraph(nn.Module):
    """Module of the normalization, the network, the decoding, and the calibration of confidence.

    Args:
        model: Network.
        spec: Description of the network.
        confidence_map: Map from confidence to likelihood; None returns the network's own confidence.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: MultiviewTransformer, spec: ModelSpec, confidence_map: ConfidenceMap | None) -> None:
        super().__init__()
        self.model = model
        self.confidence_map = confidence_map
        self.downsample_factor = spec.downsample_factor
        self.spec = spec
        width, height = spec.image_size
        self.grid = patch_grid((height, width), model.patch_size)
        self.register_buffer("mean", torch.tensor(spec.mean))
        self.register_buffer("std", torch.tensor(spec.std))

    def forward(
        self, images: Tensor, present: Tensor, centers: Tensor | None = None, rays: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Predict the keypoints of B frames.

        Args:
            images: (B, V, 3, H, W) uint8 RGB in model px; any values for an absent view.
            present: (B, V) bool, True for views that are present.
            centers: (B, V, 3) centers of the cameras, for a network whose attention is limited to epipolar lines.
            rays: (B, V, N, 3) unit vectors from the camera centers through the centers of the patches, row by row;
                zeros where they are not known.

        Returns:
            (B, V, K, 2) x and y in model px; (B, V, K) confidence in [0, 1]; (B, V, K, 2, 2) covariance in model px^2,
            stated by the covariance head of the network if it has one, else that of the heatmaps.
            Those of absent views have no meaning.
        """
        bias = None if centers is None or rays is None else bias_between_rays(centers, rays, self.grid)
        output = self.model(normalize(images, self.mean, self.std), present, None, bias)
        logits, stated = split_output(output)
        logits = logits.float()
        points, confidence = decode(logits)
        covariance = heatmap_covariance(logits, points) if stated is None else stated
        covariance = covariance * 4**self.downsample_factor
        if self.confidence_map is not None:
            confidence = calibrate(confidence, self.confidence_map)
        return heatmap_to_model(points, self.downsample_factor), confidence, covariance


def calibrate(confidence: Tensor, confidence_map: ConfidenceMap) -> Tensor:
    """Map confidence (...) to likelihoods (...) as a `ConfidenceMap` does, with operations that can be exported."""
    low_ends, high_ends = log_odds_terms(np.array([confidence_map.lowest, confidence_map.highest]))
    # Limits on the logarithms instead of the confidence: float32 has no number between 1 - 1e-8 and 1.
    low = confidence.log().clamp(min=float(low_ends[0]), max=float(low_ends[1]))
    high = torch.log1p(-confidence).clamp(min=float(high_ends[1]), max=float(high_ends[0]))
    logit = confidence_map.low_power * low - confidence_map.high_power * high + confidence_map.offset
    bound = 1 / (confidence_map.num_points + 2)
    return logit.sigmoid().clamp(bound, 1 - bound)


def example_inputs(graph: KeypointGraph, batch_size: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Generate random inputs: images, some of them smooth, and some absent views where there are several views.

    For a network whose attention is limited to epipolar lines there are also cameras around the origin, which face it;
    in every frame except the first, the last camera has no rays.

    Args:
        graph: Graph that gets the inputs.
        batch_size: Number of frames.
        seed: Random seed of the inputs.
    """
    spec = graph.spec
    generator = torch.Generator().manual_seed(seed)
    width, height = spec.image_size
    shape = (batch_size, len(spec.view_names), 3, height, width)
    images = torch.rand(shape, generator=generator)
    smooth = torch.nn.functional.avg_pool2d(images.flatten(0, 1), 9, stride=1, padding=4).reshape(shape)
    images = torch.where(torch.arange(batch_size)[:, None, None, None, None] % 2 == 0, (smooth - 0.3) * 2.5, images)
    present = torch.rand(shape[:2], generator=generator) < 0.8
    present[:, 0] = True
    inputs = (images.clamp(0, 1) * 255).to(torch.uint8), present
    if not spec.epipolar_attention:
        return inputs
    centers = unit(torch.randn((*shape[:2], 3), generator=generator), dim=-1)
    rows, columns = graph.grid
    y, x = torch.meshgrid(torch.linspace(-0.3, 0.3, rows), torch.linspace(-0.3, 0.3, columns), indexing="ij")
    right = unit(torch.linalg.cross(centers, torch.tensor([0.3, 0.2, 0.9]).expand_as(centers)), dim=-1)
    down = torch.linalg.cross(right, centers)
    rays = x.reshape(-1, 1) * right[..., None, :] + y.reshape(-1, 1) * down[..., None, :] - centers[..., None, :]
    rays = unit(rays, dim=-1)
    rays[1:, -1] = 0
    return *inputs, centers, rays
