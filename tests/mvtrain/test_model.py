import dataclasses
import socketserver
import threading
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import checkpoint_filter_fn

from helpers.errors import raises_input
from mvgeom.errors import InputError
from mvtrain.config.plugins import load_plugins
from mvtrain.model.backbone import BACKBONES, build_backbone, input_normalization
from mvtrain.model.head import HeatmapHead
from mvtrain.model.masking import PatchMask, draw_mask
from mvtrain.model.multiview import Attention, MultiviewTransformer

TINY = {"depth": 2, "embed_dim": 48, "num_heads": 3}
OTHERS = (
    "vit_small_patch14_reg4_dinov2",
    "vit_small_patch16_rope_mixed_224",  # a rotary table per block
    "eva02_tiny_patch14_224",  # rotary and absolute positions
    "vit_base_patch16_siglip_224",  # pools by attention, which is left out
    "vit_base_patch16_clip_224",  # a norm before the blocks
    "deit3_small_patch16_224",  # no position for the class token
    "vit_base_patch16_xp_224",  # parallel blocks
)
"""Vision transformers by timm's own names, each with something the named ones do not have."""


def tiny_model(name: str = "vit_tiny_patch16_224", num_views: int = 3, **options) -> MultiviewTransformer:
    torch.manual_seed(0)
    backbone = build_backbone(name, arguments=TINY)
    sharpen(backbone)
    return MultiviewTransformer(backbone, num_views=num_views, num_keypoints=5, **options)


def sharpen(backbone: torch.nn.Module) -> None:
    """Attention that depends on content and place, and counts: that of fresh weights does not, and hides mistakes."""
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if any(part in name for part in ("qkv.weight", "q_proj.weight", "k_proj.weight", "in_proj.weight")):
                parameter.mul_(12)
            if "gamma" in name:  # layer scale, 1e-5 at first
                parameter.fill_(0.5)


@pytest.mark.parametrize("name", [*BACKBONES, "vit_small_patch14_reg4_dinov2"])
@pytest.mark.parametrize("size", [(64, 64), (42, 70), (50, 33)])
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_every_backbone_trains_a_step_at_any_image_size(name: str, size: tuple[int, int], factor: int) -> None:
    model = tiny_model(name, 2, downsample_factor=factor)
    logits = model(torch.randn(1, 2, 3, *size))
    assert logits.shape == (1, 2, 5, size[0] // 2**factor, size[1] // 2**factor)
    logits.square().sum().backward()
    for parameter_name, parameter in model.named_parameters():
        # A mask token is for pretraining; the class token's last MLP feeds no patch.
        if "mask_token" not in parameter_name:
            assert parameter.grad is not None, parameter_name
            assert torch.isfinite(parameter.grad).all(), parameter_name


@pytest.mark.parametrize("name", [*BACKBONES, *OTHERS])
@pytest.mark.parametrize("attention", ["joint", "per_view"])
@pytest.mark.parametrize("num_views", [1, 3])
def test_copies_of_one_view_give_timms_own_forward(name: str, attention: Attention, num_views: int) -> None:
    # Tokens that are all there several times weigh as much as those that are there once: with the same image in every
    # view, class token, registers and positions per view, each view must come out as if it were alone.
    torch.manual_seed(0)
    backbone = build_backbone(name, arguments=TINY)
    sharpen(backbone)
    columns = 3 * backbone.patch_embed.patch_size[1]
    rows = 2 * backbone.patch_embed.patch_size[0]
    image = torch.randn(2, 1, 3, rows, columns)
    with torch.no_grad():
        expected = backbone.eval().forward_features(image[:, 0])[:, backbone.num_prefix_tokens :]
        model = MultiviewTransformer(backbone, num_views=num_views, num_keypoints=5, attention=attention).eval()
        torch.nn.init.zeros_(model.view_embedding)
        features, grid = model._features(image.expand(-1, num_views, -1, -1, -1), None)
    assert grid == (2, 3)
    for view in range(num_views):
        torch.testing.assert_close(features[:, view], expected)


@pytest.mark.parametrize("name", [*BACKBONES, *OTHERS])
def test_attention_is_fused(name: str) -> None:
    layers = [layer for layer in build_backbone(name, arguments=TINY).modules() if hasattr(layer, "fused_attn")]
    assert layers
    assert all(layer.fused_attn for layer in layers)


@pytest.mark.parametrize("name", OTHERS)
def test_no_parameter_is_left_without_gradient(name: str) -> None:
    # On several GPUs a parameter that no gradient reaches stops the run.
    model = tiny_model(name, 2)
    model(torch.randn(1, 2, 3, *(2 * size for size in model.patch_size))).square().sum().backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", ["vits_dino", "vits_dinov3"])
def test_per_view_attention_sees_no_other_view(name: str) -> None:
    model = tiny_model(name, attention="per_view").eval()
    images = torch.randn(1, 3, 3, 32, 32, requires_grad=True)
    model(images)[0, 0].square().sum().backward()
    assert images.grad is not None
    assert (images.grad[0, 0] != 0).any()
    assert (images.grad[0, 1:] == 0).all()


@pytest.mark.parametrize("name", ["vits_dino", "vits_dinov3"])
def test_joint_attention_lets_a_hidden_view_learn_from_the_others(name: str) -> None:
    model = tiny_model(name)
    images = torch.randn(1, 3, 3, 32, 32)
    images[0, 0] = 0
    images.requires_grad_()
    model(images)[0, 0].square().sum().backward()
    assert images.grad is not None
    assert (images.grad[0, 1] != 0).any()
    assert (images.grad[0, 2] != 0).any()


@pytest.mark.parametrize("name", ["vits_dino", "vits_dinov3"])
def test_an_absent_view_is_not_attended_to(name: str) -> None:
    model = tiny_model(name).eval()
    images = torch.randn(2, 3, 3, 32, 32)
    present = torch.tensor([[True, True, False], [True, True, True]])
    changed = images.clone()
    changed[:, 2] += 1
    first, second = model(images, present), model(changed, present)
    torch.testing.assert_close(first[0, :2], second[0, :2])
    assert not torch.allclose(first[1, :2], second[1, :2])


@pytest.mark.parametrize("fused", [True, False])
def test_a_sample_without_any_view_is_finite_and_poisons_nothing(fused: bool) -> None:
    model = tiny_model()
    for block in model.backbone.blocks:
        block.attn.fused_attn = fused
    images = torch.randn(2, 3, 3, 32, 32)
    logits = model(images, torch.tensor([[False, False, False], [True, True, False]]))
    alone = model(images[1:], torch.tensor([[True, True, False]]))
    torch.testing.assert_close(logits[1:], alone)
    logits[1].square().sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("drops", [False, True])
@pytest.mark.parametrize("name", ["vits_dino", "vits_dinov3"])
def test_a_masked_view_gets_its_gradient_from_the_pixels_of_the_others(name: str, drops: bool) -> None:
    model = tiny_model(name)
    images = torch.randn(1, 3, 3, 64, 64, requires_grad=True)
    mask = drawn_mask(images, 0.5)
    mask = dataclasses.replace(mask, hidden=mask.hidden | torch.tensor([True, False, False])[None, :, None, None])
    model(mask.blank(images), None, mask.kept if drops else None)[0, 0].square().sum().backward()
    assert images.grad is not None
    assert (images.grad[0, 0] == 0).all()
    assert (images.grad[0, 1] != 0).any()
    assert (images.grad[0, 2] != 0).any()


@pytest.mark.parametrize("drops", [False, True])
def test_hidden_pixels_have_no_influence(drops: bool) -> None:
    model = tiny_model().eval()
    images = torch.randn(2, 3, 3, 64, 48)
    mask = drawn_mask(images, 0.6)
    kept = mask.kept if drops else None
    changed = images + 5 * torch.randn_like(images) * (mask.blank(torch.ones_like(images)) == 0)
    assert not torch.equal(images, changed)
    assert torch.equal(model(mask.blank(images), None, kept), model(mask.blank(changed), None, kept))


@pytest.mark.parametrize("attention", ["joint", "per_view"])
@pytest.mark.parametrize("name", ["vits_dino", "vits_dinov2", "vits_dinov3", "vit_small_patch16_rope_mixed_224"])
def test_patches_that_are_kept_may_come_in_any_order(name: str, attention: Attention) -> None:
    # Also: each keeps its own position, absolute or rotary.
    model = tiny_model(name, attention=attention).eval()
    images = torch.randn(2, 3, 3, 32, 48)
    num_patches = (32 // model.patch_size[0] + (32 % model.patch_size[0] > 0)) * -(-48 // model.patch_size[1])
    order = torch.rand(2, 3, num_patches).argsort(-1)
    torch.testing.assert_close(model(images, None, order), model(images))


@pytest.mark.parametrize("attention", ["joint", "per_view"])
@pytest.mark.parametrize("present", [None, torch.tensor([[True, False, True], [True, True, True]])])
def test_dropped_patches_skip_all_blocks_but_the_last(attention: Attention, present: torch.Tensor | None) -> None:
    model = tiny_model("vit_small_patch14_reg4_dinov2", attention=attention)
    lengths = []
    for block in model.backbone.blocks:
        block.register_forward_hook(lambda _, inputs, __: lengths.append(inputs[0].shape[1]))
    images = torch.randn(2, 3, 3, 56, 56)
    mask = drawn_mask(images, 0.75, patch=14)
    model(mask.blank(images), present, mask.kept).square().sum().backward()
    views = 3 if attention == "joint" else 1
    assert lengths == [views * (5 + 4), views * (5 + 16)]
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


def test_in_a_single_block_nothing_is_dropped() -> None:
    torch.manual_seed(0)
    backbone = build_backbone("vits_dinov3", arguments={**TINY, "depth": 1})
    model = MultiviewTransformer(backbone, num_views=3, num_keypoints=5).eval()
    images = torch.randn(2, 3, 3, 64, 64)
    mask = drawn_mask(images, 0.5)
    torch.testing.assert_close(model(mask.blank(images), None, mask.kept), model(mask.blank(images)))


def drawn_mask(images: torch.Tensor, ratio: float, *, patch: int = 16) -> PatchMask:
    mask = draw_mask(
        (images.shape[-2], images.shape[-1]),
        (patch, patch),
        ratio=ratio,
        num_views=images.shape[1],
        seed=0,
        epoch=0,
        index=torch.arange(len(images)),
    )
    assert mask is not None
    return mask


def test_views_differ_by_their_embedding() -> None:
    model = tiny_model().eval()
    logits = model(torch.randn(1, 1, 3, 32, 32).expand(1, 3, 3, 32, 32))
    assert not torch.allclose(logits[0, 0], logits[0, 1])


def test_samples_do_not_see_each_other() -> None:
    model = tiny_model().eval()
    images = torch.randn(3, 3, 3, 32, 32)
    order = [2, 0, 1]
    torch.testing.assert_close(model(images)[order], model(images[order]))


@pytest.mark.parametrize("name", ["vits_dino", "vits_dinov3"])
def test_checkpointed_and_plain_attention_agree(name: str) -> None:
    images = torch.randn(1, 3, 3, 32, 32)
    gradients = []
    for checkpointing in (False, True):
        model = tiny_model(name, gradient_checkpointing=checkpointing).train()
        model(images).square().sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


def test_another_number_of_views_is_an_error() -> None:
    with raises_input("wrong-count", found=2, expected=3):
        tiny_model()(torch.randn(3, 2, 3, 32, 32))


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("patch", [14, 16])
def test_heatmaps_lie_where_the_features_do(patch: int, factor: int) -> None:
    head = blurring_head(patch, factor)
    rows, columns, stride = 6, 9, 2**factor
    size = (rows * patch, columns * patch)
    for row, column in [(2, 2), (3, 6), (2, 5)]:
        features = torch.zeros(1, 16, rows, columns)
        features[0, :, row, column] = 1
        x, y = centroid(head(features, torch.zeros(1, 3, *size))[0, 0])
        middle = (torch.tensor([column, row]) + 0.5) * patch - 0.5
        # Patches of 14 px are sampled down to heatmap pixels of 8: not exactly.
        torch.testing.assert_close(torch.stack([x, y]), (middle + 0.5) / stride - 0.5, atol=0.05, rtol=0)


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize(("x", "y"), [(40.0, 50.0), (61.3, 44.2)])
def test_heatmaps_lie_where_the_image_does(factor: int, x: float, y: float) -> None:
    head = blurring_head(16, factor)
    columns, rows = torch.arange(112), torch.arange(96)
    blob = torch.exp(-((columns - x) ** 2 + (rows[:, None] - y) ** 2) / (2 * 7.0**2))
    heatmap = head(torch.zeros(1, 16, 6, 7), blob.expand(1, 3, -1, -1))[0, 0]
    expected = (torch.tensor([x, y]) + 0.5) / 2**factor - 0.5
    torch.testing.assert_close(torch.stack(centroid(heatmap)), expected, atol=0.02, rtol=0)


def test_the_memory_format_of_features_and_images_does_not_matter() -> None:
    torch.manual_seed(0)
    head = HeatmapHead(48, 5, patch_size=(16, 16))
    features, images = torch.randn(2, 48, 3, 4), torch.randn(2, 3, 48, 64)
    last = [tensor.contiguous(memory_format=torch.channels_last) for tensor in (features, images)]
    torch.testing.assert_close(head(*last), head(features, images))


def blurring_head(patch: int, factor: int) -> HeatmapHead:
    """A head whose convolutions average, so that its output is bright where its input is."""
    head = HeatmapHead(16, 1, patch_size=(patch, patch), downsample_factor=factor)
    for layer in head.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())
            torch.nn.init.zeros_(layer.bias)
        if isinstance(layer, torch.nn.GroupNorm):  # keeps what is zero at zero
            layer.num_groups = 1
            layer.forward = torch.nn.Identity().forward
        if isinstance(layer, torch.nn.Sequential):
            for number, child in enumerate(layer):
                if isinstance(child, torch.nn.GELU):
                    layer[number] = torch.nn.ReLU()
    return head


def centroid(heatmap: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    weights = heatmap / heatmap.sum()
    rows, columns = (torch.arange(length) for length in heatmap.shape)
    return (weights.sum(0) * columns).sum(), (weights.sum(1) * rows).sum()


def test_a_head_of_real_weights_looks_where_it_answers() -> None:
    # Gradients of one heatmap pixel, averaged over random weights: their center is the pixel's place in the image.
    total = torch.zeros(96, 128)
    for seed in range(12):
        torch.manual_seed(seed)
        head = HeatmapHead(16, 1, patch_size=(16, 16), downsample_factor=2)
        images = torch.randn(1, 3, 96, 128, requires_grad=True)
        head(torch.randn(1, 16, 6, 8), images)[0, 0, 11, 17].backward()
        assert images.grad is not None
        # Group normalization spreads a little of the gradient over the whole image.
        strength = images.grad[0].abs().sum(0)
        total += torch.where(strength > 0.05 * strength.max(), strength, 0)
    torch.testing.assert_close(
        torch.stack(centroid(total)), torch.tensor([17.5 * 4 - 0.5, 11.5 * 4 - 0.5]), atol=1.0, rtol=0
    )


def test_unknown_backbones_are_refused_with_the_known_ones() -> None:
    with raises_input("unknown-choice", key="model.backbone", backbone="vits_dinov9") as raised:
        build_backbone("vits_dinov9")
    assert all(name in str(raised.value) for name in BACKBONES)


@pytest.mark.parametrize("name", ["vitb_sam", "samvit_base_patch16"])
def test_windowed_sam_is_refused_with_the_reason(name: str) -> None:
    with raises_input("bad-value", key="model.backbone", backbone=name) as raised:
        build_backbone(name)
    assert "windows" in str(raised.value)
    with raises_input("bad-value", key="model.backbone", backbone=name):
        input_normalization(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet18", "timm.models.resnet"),
        ("beit_base_patch16_224", "timm.models.beit"),
        ("swin_tiny_patch4_window7_224", "SwinTransformer"),
        ("vit_tiny_r_s16_p8_224", "convolutions"),
    ],
)
def test_backbones_without_global_attention_are_refused(name: str, reason: str) -> None:
    with raises_input("bad-value", key="model.backbone", backbone=name) as raised:
        build_backbone(name)
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"depth:6": None}, "depth:6"),
        ({"dept": 2}, "'dept'"),
        ({"embed_dim": 50}, "divisible"),
        ({"embed_dim": -48}, "-48"),
        ({"num_heads": 0}, "num_heads"),
        ({"act_layer": "none_such"}, "none_such"),
        ({"patch_drop_rate": 0.5}, "mode: tokens"),
    ],
)
def test_arguments_that_do_not_fit_a_backbone_are_refused(arguments: dict, named: str) -> None:
    with raises_input("bad-value", key="model.backbone_args") as raised:
        build_backbone("vit_tiny_patch16_224", arguments=arguments)
    assert named in str(raised.value)


def test_unknown_weights_of_a_known_architecture_are_refused_with_the_known_ones() -> None:
    with raises_input("unknown-choice", key="model.backbone", backbone="vit_small_patch16_224.best") as raised:
        build_backbone("vit_small_patch16_224.best")
    assert "dino" in str(raised.value)


def test_weights_are_loaded_and_position_embeddings_resampled(tmp_path) -> None:
    source = build_backbone("vit_tiny_patch16_224", arguments={**TINY, "img_size": 96})
    path = tmp_path / "weights.safetensors"
    save_file(source.state_dict(), path)
    loaded = build_backbone("vit_tiny_patch16_224", weights=path, arguments=TINY)
    torch.testing.assert_close(loaded.blocks[1].mlp.fc1.weight, source.blocks[1].mlp.fc1.weight)
    assert loaded.pos_embed.shape[1] == 14 * 14 + 1
    torch.testing.assert_close(loaded.pos_embed.mean(1), source.pos_embed.mean(1), atol=0.02, rtol=0)


def test_rectangular_position_embeddings_go_where_they_came_from(tmp_path) -> None:
    source = build_backbone("vit_tiny_patch16_224", arguments={**TINY, "img_size": (64, 96)})
    path = tmp_path / "weights.safetensors"
    save_file(source.state_dict(), path)
    loaded = build_backbone("vit_tiny_patch16_224", weights=path, arguments={**TINY, "img_size": (64, 96)})
    assert torch.equal(loaded.pos_embed, source.pos_embed)
    with raises_input("unsupported-file", path=path, reshaped=["pos_embed (1, 25, 48) instead of (1, 197, 48)"]):
        build_backbone("vit_tiny_patch16_224", weights=path, arguments=TINY)


@pytest.mark.parametrize("attention", ["joint", "per_view"])
def test_pretrained_features_of_rectangular_images_are_timms(attention: Attention) -> None:
    path = Path(__file__).parents[2].parent / "shared" / "weights" / "vit_small_patch14_dinov2.safetensors"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    image = torch.rand(1, 1, 3, 56, 112, generator=torch.Generator().manual_seed(0))
    own = timm.create_model("vit_small_patch14_dinov2", img_size=(56, 112), num_classes=0).eval()
    own.load_state_dict(load_pretrained(path, own))
    backbone = build_backbone("vits_dinov2", weights=path)
    model = MultiviewTransformer(backbone, num_views=2, num_keypoints=3, attention=attention).eval()
    torch.nn.init.zeros_(model.view_embedding)
    with torch.no_grad():
        expected = own.forward_features(image[:, 0])[:, 1:]
        features, _ = model._features(image.expand(-1, 2, -1, -1, -1), None)
    for view in range(2):
        torch.testing.assert_close(features[:, view], expected, atol=2e-4, rtol=1e-4)


def load_pretrained(path: Path, model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """As timm itself fits weights to a model of another size."""
    return checkpoint_filter_fn(load_file(path), model)


def test_weights_of_another_architecture_are_refused_by_name(tmp_path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(build_backbone("vit_tiny_patch16_224", arguments=TINY).state_dict(), path)
    with raises_input("unsupported-file", key="model.backbone_weights", path=path) as raised:
        build_backbone("vits_dinov2", weights=path)
    assert "blocks.11.attn.qkv.weight" in raised.value.missing
    with raises_input("unsupported-file", path=path, missing=[]) as raised:
        build_backbone("vit_tiny_patch16_224", weights=path, arguments={**TINY, "embed_dim": 96})
    assert "blocks.0.attn.proj.bias (48,) instead of (96,)" in raised.value.reshaped


def test_weights_that_cannot_be_read_are_refused(tmp_path) -> None:
    absent = tmp_path / "absent.safetensors"
    with raises_input("missing-file", path=absent):
        build_backbone("vit_tiny_patch16_224", weights=absent)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not a tensor file")
    with raises_input("unreadable-file", path=damaged):
        build_backbone("vit_tiny_patch16_224", weights=damaged)


def test_damaged_pickles_are_refused_whatever_torch_raises(tmp_path) -> None:
    path, whole = tmp_path / "weights.pth", tmp_path / "whole.pth"
    torch.save(build_backbone("vit_tiny_patch16_224", arguments=TINY).state_dict(), whole)
    content = whole.read_bytes()
    random = torch.Generator().manual_seed(0)
    noise = [bytes(torch.randint(256, (size,), generator=random).tolist()) for size in (1, 2, 10, 100, 1000)]
    for damaged in (b"", b"some text", b"\x80\x02.", content[:100], content[:-100], content[5:], *noise):
        path.write_bytes(damaged)
        with pytest.raises(InputError) as raised:
            build_backbone("vit_tiny_patch16_224", weights=path, arguments=TINY)
        assert raised.value.path == path


class _Payload:
    def __reduce__(self):
        return (print, ("this must never run",))


def test_pickles_that_would_run_code_are_refused(tmp_path, capsys) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"state": _Payload()}, path)
    with raises_input("unsupported-file", path=path):
        build_backbone("vit_tiny_patch16_224", weights=path)
    assert "never" not in capsys.readouterr().out


def test_a_hub_that_cannot_be_reached_is_asked_once(monkeypatch, tmp_path) -> None:
    import huggingface_hub.constants

    calls = 0

    class Refusing(socketserver.BaseRequestHandler):
        """Count a connection and close it."""

        def handle(self) -> None:
            nonlocal calls
            calls += 1

    server = socketserver.TCPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    nobody = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", nobody)
    template = f"{nobody}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    try:
        with raises_input("missing-file", key="model.backbone"):
            build_backbone("vits_dino", pretrained=True)
    finally:
        server.shutdown()
        server.server_close()
    assert calls <= 2  # its library would try for 45 s
    # What is in the cache needs no hub.
    model = timm.create_model("vit_small_patch16_224.dino", num_classes=0)
    snapshot = tmp_path / "models--timm--vit_small_patch16_224.dino" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(snapshot.name)
    save_file(model.state_dict(), snapshot / "model.safetensors")
    built = build_backbone("vits_dino", pretrained=True)
    torch.testing.assert_close(built.patch_embed.proj.weight, model.patch_embed.proj.weight)


def test_without_weights_and_network_the_error_names_both_ways_out(monkeypatch, tmp_path) -> None:
    # huggingface_hub reads these at import; the variables it consults at call time are set through its constants.
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with raises_input("missing-file", key="model.backbone") as raised:
        build_backbone("vits_dino", pretrained=True)
    assert "model.backbone_weights=" in str(raised.value)
    assert "model.backbone_pretrained=false" in str(raised.value)


@pytest.mark.parametrize(
    ("line", "arguments", "expected"),
    [
        ("raise ValueError('the sum is odd')", {"depth": 1}, ValueError),
        ("raise TypeError('not a number')", {}, TypeError),
        ("import numpy as np; np.zeros(2) + np.zeros(3)", {"depth": 1}, ValueError),
        ("pass", {"depth": "a"}, InputError),
        ("pass", {"foo": 1}, InputError),
    ],
)
def test_an_error_inside_a_plugin_is_its_bug_and_wrong_arguments_are_the_users(
    line: str, arguments: dict[str, object], expected: type[Exception], tmp_path: Path
) -> None:
    name = f"plugin_{tmp_path.name}"
    plugin = tmp_path / f"{name}.py"
    plugin.write_text(
        "from timm.models import build_model_with_cfg, register_model\n"
        "from timm.models.vision_transformer import VisionTransformer\n\n"
        f'default_cfgs = {{"{name}": {{"file": None}}}}\n\n\n'
        f"@register_model\ndef {name}(pretrained=False, **arguments):\n    {line}\n"
        f'    return build_model_with_cfg(VisionTransformer, "{name}", pretrained, **arguments)\n'
    )
    load_plugins([plugin], announce=False)
    with pytest.raises(expected) as caught:
        build_backbone(name, arguments=arguments)
    assert type(caught.value) is expected
