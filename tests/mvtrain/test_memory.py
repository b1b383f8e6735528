"""Estimate of memory, against the tensors that a real forward pass keeps."""

import pytest
import torch

from mvtrain.model.backbone import build_backbone
from mvtrain.model.multiview import MultiviewTransformer, split_output
from mvtrain.training.summary import estimate_memory

SIZE = (160, 96)
ROTARY = ("vit_small_patch16_rope_mixed_224", "eva02_tiny_patch14_224")


def make_model(name: str = "vit_tiny_patch16_224", depth: int = 2, **options: bool) -> MultiviewTransformer:
    backbone = build_backbone(name, arguments={"depth": depth, "embed_dim": 48, "num_heads": 3})
    return MultiviewTransformer(backbone, num_views=3, num_keypoints=5, downsample_factor=1, **options)


def kept_bytes(model: MultiviewTransformer, batch_size: int, bias: torch.Tensor | None = None) -> int:
    """Bytes that the graph of a real forward pass holds on to, without the weights."""
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(torch.randn(batch_size, 3, 3, SIZE[1], SIZE[0]), attention_bias=bias)
        split_output(output)[0].flatten(-2).log_softmax(-1)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vits_dinov2", "vits_dinov3", *ROTARY])
@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_estimate_is_what_a_forward_pass_keeps(name: str, batch_size: int, checkpointing: bool) -> None:
    model = make_model(name, gradient_checkpointing=checkpointing)
    estimate = estimate_memory(model, batch_size=batch_size, image_size=SIZE, precision="32-true")
    assert estimate.activations == pytest.approx(kept_bytes(model, batch_size), rel=0.01)
    assert estimate.fixed == 16 * sum(parameter.numel() for parameter in model.parameters())


def test_the_bias_of_epipolar_attention_counts() -> None:
    model, batch_size = make_model(), 4
    num_patches = 3 * (SIZE[0] // 16) * (SIZE[1] // 16)
    bias = torch.zeros(batch_size, num_patches, num_patches)
    estimate = estimate_memory(
        model, batch_size=batch_size, image_size=SIZE, precision="32-true", epipolar_attention=True
    )
    assert estimate.activations == pytest.approx(kept_bytes(model, batch_size, bias), rel=0.01)
    without = estimate_memory(model, batch_size=batch_size, image_size=SIZE, precision="32-true")
    assert estimate.activations >= without.activations + bias.nbytes


def test_the_head_for_covariances_keeps_nothing_that_counts() -> None:
    model = make_model(covariance_head=True)
    estimate = estimate_memory(model, batch_size=2, image_size=SIZE, precision="32-true")
    assert estimate.activations == pytest.approx(kept_bytes(model, 2), rel=0.01)
    assert model.covariance_head is not None


class Shift(torch.nn.Module):
    """Holds a tensor that is no buffer, as a backbone of a user may."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = torch.ones(1)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens + self.shift


def test_tensors_that_are_no_buffers_do_not_stop_it() -> None:
    model = make_model()
    model.backbone.norm_pre = Shift()
    estimate = estimate_memory(model, batch_size=1, image_size=SIZE, precision="32-true")
    assert estimate.activations == pytest.approx(kept_bytes(model, 1), rel=0.01)


def test_checkpointing_and_half_precision_make_it_smaller() -> None:
    deep, checkpointing = make_model(depth=12), make_model(depth=12, gradient_checkpointing=True)
    plain = estimate_memory(deep, batch_size=2, image_size=SIZE, precision="32-true")
    half = estimate_memory(deep, batch_size=2, image_size=SIZE, precision="bf16-mixed")
    checkpointed = estimate_memory(checkpointing, batch_size=2, image_size=SIZE, precision="32-true")
    assert half.activations * 2 == plain.activations
    assert checkpointed.activations < 0.7 * plain.activations


def test_the_model_stays_as_it_was() -> None:
    model = make_model().eval()
    estimate_memory(model, batch_size=1, image_size=SIZE, precision="32-true")
    assert not model.training
    assert all(parameter.device.type == "cpu" and parameter.grad is None for parameter in model.parameters())
