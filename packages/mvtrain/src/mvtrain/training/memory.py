"""Estimate of the memory of a training step, made before the first step."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from mvtrain.model.multiview import MultiviewTransformer
from mvtrain.model.patches import patch_grid


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes on each device.

    Attributes:
        fixed: weights, their gradients, and the two moments of Adam.
        activations: what the forward pass keeps for the backward pass.
    """

    fixed: int
    activations: int

    @property
    def total(self) -> int:
        """All of it. Libraries take some hundred megabytes more."""
        return self.fixed + self.activations


def estimate_memory(
    model: MultiviewTransformer,
    *,
    batch_size: int,
    image_size: tuple[int, int],
    precision: str,
    epipolar_attention: bool = False,
) -> MemoryEstimate:
    """Estimate the memory of a training step with Adam.

    The network runs for one sample and for two, on tensors without content, and what it keeps is counted; so fused
    attention, gradient checkpointing and the head count as they are. 3D losses and heatmap losses keep little beside.

    Args:
        model: on any device.
        batch_size: samples per device.
        image_size: width and height in model px.
        precision: Fabric's; in mixed precision most of what is kept has half the size.
        epipolar_attention: whether attention has a bias, a number per pair of patches of all views.
    """
    samples = min(batch_size, 2)
    kept = [_kept_bytes(model, count, image_size, epipolar_attention) for count in range(1, samples + 1)]
    # Some of it, such as tables of positions, is there once for all samples.
    activations = kept[0] + (batch_size - 1) * (kept[-1] - kept[0])
    numbers = sum(parameter.numel() for parameter in model.parameters())
    smaller = 2 if "16" in precision else 1
    return MemoryEstimate(fixed=16 * numbers, activations=activations // smaller)


def _kept_bytes(
    model: MultiviewTransformer, num_samples: int, image_size: tuple[int, int], epipolar_attention: bool
) -> int:
    """Count the bytes that the forward pass of some samples keeps for the backward pass, in full precision."""
    width, height = image_size
    device = next(model.parameters()).device
    # A copy: backbones keep tables of positions that they have computed, which would here have no content.
    copied = copy.deepcopy(model).train()
    # Backbones of users may hold tensors that are no buffers.
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    state: dict[str, Tensor] = {
        name: mode.from_tensor(tensor) for name, tensor in (*copied.named_parameters(), *copied.named_buffers())
    }
    weights = {tensor.untyped_storage()._cdata for tensor in state.values()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in weights:
            kept[storage] = tensor
        return tensor

    with mode, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        images = torch.empty(num_samples, model.num_views, 3, height, width, device=device)
        bias = None
        if epipolar_attention:
            rows, columns = patch_grid((height, width), model.patch_size)
            bias = torch.empty(num_samples, *(model.num_views * rows * columns,) * 2, device=device)
        logits = functional_call(copied, state, (images,), {"attention_bias": bias})
        # Every heatmap loss keeps the softmax of the logits.
        logits.flatten(-2).log_softmax(-1)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
