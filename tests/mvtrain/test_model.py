import pytest
import torch
from safetensors.torch import save_file

from mvtrain.model.backbone import BACKBONES, build_backbone, input_normalization
from mvtrain.model.multiview import MultiviewTransformer

TINY = {"depth": 2, "embed_dim": 48, "num_heads": 3}


def tiny_model(name: str = "vit_tiny_patch16_224", num_views: int = 3, **options) -> MultiviewTransformer:
    torch.manual_seed(0)
    backbone = build_backbone(name, arguments=TINY)
    return MultiviewTransformer(backbone, num_views=num_views, num_keypoints=5, **options)


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


@pytest.mark.parametrize("name", ["vits_dino", "vits_dinov2", "vits_dinov3", "vit_small_patch14_reg4_dinov2"])
def test_with_one_view_joint_attention_is_timms_own_forward(name: str) -> None:
    model = tiny_model(name, 1).eval()
    torch.nn.init.zeros_(model.view_embedding)
    images = torch.randn(2, 1, 3, 56 if "14" in name or name == "vits_dinov2" else 64, 112)
    features, _ = model._features(images, None)
    expected = model.backbone.forward_features(images[:, 0])[:, model.backbone.num_prefix_tokens :]
    torch.testing.assert_close(features[:, 0], expected)


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


def test_views_are_told_apart_by_their_embedding() -> None:
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
    with pytest.raises(ValueError, match="built for 3 views, the batch has 2"):
        tiny_model()(torch.randn(3, 2, 3, 32, 32))


def test_heatmaps_lie_on_the_image() -> None:
    # A head that only upsamples: a feature that is the column of its patch gives heatmaps that grow with the model px.
    model = tiny_model("vits_dinov2", 1)
    head = model.head
    grid = (10, 19)
    columns = (torch.arange(2 * grid[1]) + 0.5) * 7 - 0.5
    hidden = columns.expand(1, 64, 2 * grid[0], -1)
    upsampled = torch.nn.functional.interpolate(
        hidden, scale_factor=head.scale, mode="bilinear", align_corners=False, recompute_scale_factor=False
    )
    expected = (torch.arange(64) + 0.5) * 4 - 0.5
    torch.testing.assert_close(upsampled[0, 0, 0, 1:64], expected[1:], atol=1e-3, rtol=0)


def test_unknown_backbones_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown backbone 'vits_dinov9'; use one of vits_dino, .*vitb_imagenet"):
        build_backbone("vits_dinov9")


@pytest.mark.parametrize("name", ["vitb_sam", "samvit_base_patch16"])
def test_windowed_sam_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(ValueError, match=rf"'{name}' \(SAM\) cannot attend over several views: .*windows"):
        build_backbone(name)
    with pytest.raises(ValueError, match="windows"):
        input_normalization(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet18", "is from timm.models.resnet"),
        ("beit_base_patch16_224", "is from timm.models.beit"),
        ("swin_tiny_patch4_window7_224", "is a SwinTransformer"),
        ("vit_tiny_r_s16_p8_224", "makes its tokens of more than one patch"),
    ],
)
def test_backbones_without_global_attention_are_refused(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"'{name}' {reason}.*whose every block attends over all patches"):
        build_backbone(name)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("vit_tiny_patch16_224", {"dept": 2}, r"model\.backbone_args \{'dept': 2\}: .*unexpected keyword argument"),
        ("vit_tiny_patch16_224", {"embed_dim": 50}, "divisible"),
        ("vit_tiny_patch16_224", {"patch_drop_rate": 0.5}, "mode: tokens"),
        ("vit_small_patch16_224.best", {}, r"no weights 'vit_small_patch16_224.best'; .* comes as .*dino"),
    ],
)
def test_what_a_backbone_cannot_be_is_said(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_backbone(name, arguments=arguments)


def test_weights_are_loaded_and_position_embeddings_resampled(tmp_path) -> None:
    source = build_backbone("vit_tiny_patch16_224", arguments={**TINY, "img_size": 96})
    path = tmp_path / "weights.safetensors"
    save_file(source.state_dict(), path)
    loaded = build_backbone("vit_tiny_patch16_224", weights=path, arguments=TINY)
    torch.testing.assert_close(loaded.blocks[1].mlp.fc1.weight, source.blocks[1].mlp.fc1.weight)
    assert loaded.pos_embed.shape[1] == 14 * 14 + 1
    torch.testing.assert_close(loaded.pos_embed.mean(1), source.pos_embed.mean(1), atol=0.02, rtol=0)


def test_weights_of_another_architecture_are_refused_by_name(tmp_path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(build_backbone("vit_tiny_patch16_224", arguments=TINY).state_dict(), path)
    with pytest.raises(
        ValueError, match=r"does not hold the weights of 'vits_dinov2': parameters \d+ missing \(blocks"
    ):
        build_backbone("vits_dinov2", weights=path)
    with pytest.raises(ValueError, match=r"of another shape \(blocks\.0\.attn\.proj\.bias \(48,\) instead of \(96,\)"):
        build_backbone("vit_tiny_patch16_224", weights=path, arguments={**TINY, "embed_dim": 96})


def test_weights_that_cannot_be_read_are_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"there is no file .*absent"):
        build_backbone("vit_tiny_patch16_224", weights=tmp_path / "absent.safetensors")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not a tensor file")
    with pytest.raises(ValueError, match=r"damaged\.safetensors cannot be read"):
        build_backbone("vit_tiny_patch16_224", weights=damaged)


class _Payload:
    def __reduce__(self):
        return (print, ("this must never run",))


def test_pickles_that_would_run_code_are_refused(tmp_path, capsys) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"state": _Payload()}, path)
    with pytest.raises(ValueError, match="files that could run code are refused"):
        build_backbone("vit_tiny_patch16_224", weights=path)
    assert "never" not in capsys.readouterr().out


def test_without_weights_and_network_the_error_names_both_ways_out(monkeypatch, tmp_path) -> None:
    # huggingface_hub reads these at import; the variables it consults at call time are set through its constants.
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"model\.backbone_weights=PATH .*model\.backbone_pretrained=false"):
        build_backbone("vits_dino", pretrained=True)
