import copy

import pytest
import torch
from torch import Tensor, nn

from mvtrain.model.backbone import build_backbone
from mvtrain.model.linear import OneDNNLinear, onednn_is_faster
from mvtrain.model.multiview import MultiviewTransformer

with_onednn = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this build of torch has no oneDNN"
)


def layer_of(num_outputs: int = 40, **options) -> OneDNNLinear:
    torch.manual_seed(0)
    return OneDNNLinear(24, num_outputs, **options)


def is_by_onednn(outputs: Tensor) -> bool:
    return type(outputs.grad_fn).__name__ == "_LinearBackward"


def reordered(tensor: Tensor, order: str) -> Tensor:
    """The same numbers, in another order in memory."""
    if order == "columns":
        return tensor.mT.contiguous().mT
    if order == "every other":
        return tensor.repeat_interleave(2, -1)[..., ::2]
    return tensor


@with_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("order", ["rows", "columns", "every other"])
@pytest.mark.parametrize("num_outputs", [16, 40])
@pytest.mark.parametrize("shape", [(7,), (1,), (0,), (2, 5), (2, 0), (2, 3, 4)])
def test_outputs_and_gradients_are_those_of_float64(
    shape: tuple[int, ...], num_outputs: int, order: str, bias: bool
) -> None:
    layer = layer_of(num_outputs, bias=bias)
    inputs, factors = torch.randn(*shape, 24), torch.randn(*shape, num_outputs)
    results = []
    for own, dtype in ((layer, torch.float32), (copy.deepcopy(layer).double(), torch.float64)):
        own_inputs = reordered(inputs.to(dtype), order).requires_grad_()
        outputs = own(own_inputs)
        assert is_by_onednn(outputs) == (dtype == torch.float32 and 0 not in shape)
        gradients = torch.autograd.grad(outputs, (own_inputs, *own.parameters()), reordered(factors.to(dtype), order))
        results.append([outputs, *gradients])
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected.float(), rtol=1e-5, atol=1e-5)


@with_onednn
def test_gradients_are_made_of_what_is_learned_only() -> None:
    layer, inputs = layer_of(), torch.randn(5, 24)
    with torch.profiler.profile() as forward_and_weight:
        layer(inputs).sum().backward()
    assert inputs.grad is None
    layer.zero_grad()
    layer.requires_grad_(False)
    with torch.profiler.profile() as forward_and_inputs:
        layer(inputs.requires_grad_()).sum().backward()
    for profiled in (forward_and_weight, forward_and_inputs):
        assert sum(event.name == "mkldnn::_linear_pointwise" for event in profiled.events()) == 2
    assert layer.weight.grad is None
    assert layer.bias.grad is None
    torch.testing.assert_close(inputs.grad, layer.weight.sum(0).expand(5, -1))


@with_onednn
def test_other_types_and_autocast_are_those_of_torch() -> None:
    layer, inputs = layer_of(), torch.randn(5, 24)
    plain = nn.Linear(24, 40)
    plain.load_state_dict(layer.state_dict())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs, expected = layer(inputs), plain(inputs)
    assert outputs.dtype == torch.bfloat16
    assert torch.equal(outputs, expected)
    assert torch.equal(layer.bfloat16()(inputs.bfloat16()), plain.bfloat16()(inputs.bfloat16()))


@with_onednn
def test_compilers_and_exports_see_a_plain_layer() -> None:
    layer, inputs = layer_of(), torch.randn(5, 24)
    expected = layer(inputs)
    program = torch.export.export(layer, (inputs,))
    assert torch.ops.aten.linear.default in [node.target for node in program.graph.nodes]
    torch.testing.assert_close(torch.compile(layer, backend="eager", fullgraph=True)(inputs), expected)


@with_onednn
@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_a_model_learns_the_same_by_either_library(gradient_checkpointing: bool) -> None:
    torch.manual_seed(0)
    model = MultiviewTransformer(
        build_backbone("vit_tiny_patch16_224", arguments={"depth": 2, "embed_dim": 48, "num_heads": 3}),
        num_views=2,
        num_keypoints=3,
        gradient_checkpointing=gradient_checkpointing,
    )
    for layer in model.modules():
        if type(layer) is OneDNNLinear:
            layer.__class__ = nn.Linear
    other = copy.deepcopy(model)
    OneDNNLinear.replace(other)
    assert [*other.state_dict()] == [*model.state_dict()]
    assert sum(type(layer) is OneDNNLinear for layer in other.modules()) == 4 * 2 + 1
    images = torch.randn(2, 2, 3, 64, 48)
    logits = [each(images) for each in (model, other)]
    for each in logits:
        each.square().sum().backward()
    torch.testing.assert_close(logits[1], logits[0], rtol=1e-4, atol=1e-5)
    for (name, expected), actual in zip(model.named_parameters(), other.parameters(), strict=True):
        assert expected.grad is not None
        assert actual.grad is not None
        difference = (actual.grad - expected.grad).abs().max()
        assert difference <= 1e-4 * expected.grad.abs().max() + 1e-6, name


def test_replacing_leaves_layers_of_other_classes_alone() -> None:
    # This one's forward is not called: the attention takes its weights.
    attention = nn.MultiheadAttention(8, 2)
    own = type(attention.out_proj)
    module = nn.Sequential(nn.Linear(8, 8), attention)
    weight = module[0].weight
    OneDNNLinear.replace(module)
    assert type(module[0]) is OneDNNLinear
    assert module[0].weight is weight
    assert type(attention.out_proj) is own


def test_models_have_the_faster_layers() -> None:
    model = MultiviewTransformer(
        build_backbone("vit_tiny_patch16_224", arguments={"depth": 1, "embed_dim": 48, "num_heads": 3}),
        num_views=2,
        num_keypoints=3,
    )
    expected = OneDNNLinear if onednn_is_faster() else nn.Linear
    assert type(model.head.expand) is expected
    assert type(model.backbone.blocks[0].mlp.fc1) is expected


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="this build of torch has no MKL")
@pytest.mark.parametrize(
    ("name", "avx2", "expected"),
    [
        ("AMD EPYC 9B45", True, True),
        ("AMD EPYC 7742 64-Core Processor", True, True),
        ("AMD Opteron(tm) Processor 6282 SE", False, False),
        ("Intel(R) Xeon(R) Platinum 8481C", True, False),
    ],
)
def test_onednn_is_for_amd_with_avx2(name: str, avx2: bool, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": name, "avx2": avx2}, raising=False)
    assert onednn_is_faster.__wrapped__() == expected
