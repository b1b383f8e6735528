"""The estimate of memory, against what a real forward pass keeps."""

import pytest
import timm
import torch

from mvtrain.model.multiview import MultiviewTransformer
from mvtrain.training.memory import estimate_memory

SIZE = (96, 64)


def make_model(**changes: bool) -> MultiviewTransformer:
    backbone = timm.create_model(
        "vit_tiny_patch16_224", depth=3, dynamic_img_size=True, num_classes=0, global_pool="", img_size=SIZE[::-1]
    )
    return MultiviewTransformer(backbone, num_views=3, num_keypoints=5, downsample_factor=1, **changes)


def kept_bytes(model: MultiviewTransformer, batch_size: int) -> int:
    """Bytes that the graph of a real forward pass holds on to, without the weights."""
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.randn(batch_size, 3, 3, SIZE[1], SIZE[0])).flatten(-2).log_softmax(-1)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("batch_size", [1, 4])
def test_estimate_is_near_what_a_forward_pass_keeps(batch_size: int) -> None:
    model = make_model()
    estimate = estimate_memory(model, batch_size=batch_size, image_size=SIZE, precision="32-true")
    assert estimate.activations == pytest.approx(kept_bytes(model, batch_size), rel=0.35)
    assert estimate.fixed == 16 * sum(parameter.numel() for parameter in model.parameters())


def test_checkpointing_and_half_precision_make_it_smaller() -> None:
    plain = estimate_memory(make_model(), batch_size=2, image_size=SIZE, precision="32-true")
    half = estimate_memory(make_model(), batch_size=2, image_size=SIZE, precision="bf16-mixed")
    checkpointed = estimate_memory(
        make_model(gradient_checkpointing=True), batch_size=2, image_size=SIZE, precision="32-true"
    )
    assert half.activations * 2 == plain.activations
    assert checkpointed.activations < 0.7 * plain.activations


def test_the_model_stays_as_it_was() -> None:
    model = make_model().eval()
    estimate_memory(model, batch_size=1, image_size=SIZE, precision="32-true")
    assert not model.training
    assert all(parameter.device.type == "cpu" and parameter.grad is None for parameter in model.parameters())
