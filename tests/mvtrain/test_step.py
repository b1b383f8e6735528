"""Training step as a whole: its sum, its invariances, and that it never waits for the device."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from helpers.errors import raises_input
from helpers.rigs import make_batch, ring
from mvtrain.config import Config, LossConfig, ModelConfig, PatchMaskConfig, TrainingConfig
from mvtrain.data.batch import Batch
from mvtrain.losses import LOSSES
from mvtrain.losses.heatmap import GUIDE_WEIGHT
from mvtrain.losses.stated import STATED_WEIGHT
from mvtrain.model.checkpoint import ModelSpec, build_model
from mvtrain.model.inference import Network
from mvtrain.training.schedules import make_schedules
from mvtrain.training.step import GUIDE, STATED, TrainingStep

NUM_KEYPOINTS = 4
AT_ONCE = {name: LossConfig(log_weight=0.0, init_epoch=0, ramp_epochs=0) for name in LOSSES}
MASKED = PatchMaskConfig(init_epoch=0, final_epoch=1, init_ratio=0.5, final_ratio=0.5)


def make_step(
    *,
    num_views: int = 3,
    backbone: str = "vit_tiny_patch16_224",
    losses: dict[str, LossConfig] | None = None,
    patch_mask: PatchMaskConfig | None = None,
    subject_size: float | None = 1.5,
    kind: Any = "mse",
    epipolar: bool = False,
    covariance_head: bool = True,
) -> TrainingStep:
    config = Config(
        training=TrainingConfig(max_epochs=10, patch_mask=patch_mask),
        model=ModelConfig(heatmap_loss_type=kind),
        losses=AT_ONCE if losses is None else losses,
    )
    spec = ModelSpec(
        backbone=backbone,
        backbone_args={"depth": 2, "embed_dim": 24, "num_heads": 2},
        attention="joint",
        view_names=tuple(f"view{view}" for view in range(num_views)),
        keypoint_names=tuple(f"keypoint{number}" for number in range(NUM_KEYPOINTS)),
        image_size=(64, 64),
        downsample_factor=2,
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        subject_size=subject_size,
        epipolar_attention=epipolar,
        covariance_head=covariance_head,
    )
    torch.manual_seed(0)
    model = build_model(spec).train()
    network = Network.from_model(model, spec, torch.device("cpu"))
    return TrainingStep.from_config(config, spec, make_schedules(config, 10), network, model.patch_size)


def make_images(num_samples: int = 2, num_views: int = 3, seed: int = 0) -> Batch:
    """Noise for images, labels of points that all views see, in float32 as the loader gives them."""
    points_3d = np.random.default_rng(seed).uniform(-1, 1, (num_samples, NUM_KEYPOINTS, 3))
    batch = make_batch(points_3d, ring(num_views))
    images = torch.randint(0, 256, batch.images.shape, generator=torch.Generator().manual_seed(seed))
    batch = dataclasses.replace(batch, images=images.to(torch.uint8))
    return batch._map(lambda tensor: tensor.float() if tensor.is_floating_point() else tensor)


def gradients(step: TrainingStep, loss: torch.Tensor) -> list[torch.Tensor]:
    model = step.network.model
    model.zero_grad()
    loss.backward()
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def test_the_loss_is_the_weighted_sum_of_its_parts() -> None:
    losses = {
        "heatmap_mse": LossConfig(log_weight=-1.0),
        "supervised_pairwise_projections": LossConfig(log_weight=0.5, init_epoch=2, ramp_epochs=4),
        "supervised_reprojection_heatmap_mse": LossConfig(log_weight=1.0, init_epoch=5, ramp_epochs=0),
    }
    step, batch = make_step(losses=losses), make_images()
    half = 0.5 * np.exp([1.0, -0.5, -1.0])
    for clock, shares in [(0.0, (1, 0, 0)), (3.0, (1, 0.25, 0)), (5.0, (1, 0.75, 1)), (9.0, (1, 1, 1))]:
        result = step(batch, epoch=int(clock), clock=clock)
        parts = [result["heatmap"], *(result.get(name, torch.tensor(0.0)) for name in LOSSES)]
        assert [name in result for name in LOSSES] == [share > 0 for share in shares[1:]]
        expected = sum(weight * share * float(part) for weight, share, part in zip(half, shares, parts, strict=True))
        expected += half[0] * GUIDE_WEIGHT * float(result[GUIDE]) + STATED_WEIGHT * float(result[STATED])
        assert float(result["loss"].detach()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", ["mse", "kl", "js"])
def test_only_mse_has_a_guide_and_its_logged_value_stays_its_own(kind: str) -> None:
    step, batch = make_step(kind=kind, losses={}), make_images()
    result = step(batch, epoch=0, clock=0.0)
    assert (GUIDE in result) == (kind == "mse")
    assert result["heatmap"] == step.heatmap(step.network(batch), batch).detach()
    if kind == "mse":
        assert result["loss"] > 0.5 * result["heatmap"]


def test_the_error_is_the_distance_between_points() -> None:
    # And not that distance over the square root of 2.
    step, batch = make_step(losses={}), make_images()
    with torch.no_grad():
        predicted = step.network(batch).model_points
    labels = predicted + torch.tensor([3.0, 4.0])
    in_model_px = torch.eye(2).expand_as(batch.model_to_crop)
    result = step(dataclasses.replace(batch, points=labels, model_to_crop=in_model_px), epoch=0, clock=0.0)
    assert result["pixel_error"].item() == pytest.approx(5.0, rel=1e-5)


def test_the_error_is_in_px_of_the_stored_images() -> None:
    # Images twice as wide and three times as high as the network's input, in one view turned, too.
    step, batch = make_step(losses={}), make_images()
    with torch.no_grad():
        predicted = step.network(batch).model_points
    to_crop = torch.tensor([[2.0, 0.0], [0.0, 3.0]]).repeat(len(batch), 3, 1, 1)
    to_crop[:, 1] = torch.tensor([[0.0, 2.0], [3.0, 0.0]])
    labels = predicted + torch.tensor([3.0, 4.0])
    result = step(dataclasses.replace(batch, points=labels, model_to_crop=to_crop), epoch=0, clock=0.0)
    expected = (2 * np.hypot(6, 12) + np.hypot(8, 9)) / 3
    assert result["pixel_error"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["mse", "kl", "js"])
def test_a_batch_without_labels_has_zero_loss_and_finite_gradients(kind: str) -> None:
    step, batch = make_step(kind=kind, patch_mask=MASKED), make_images()
    result = step(dataclasses.replace(batch, visibility=torch.zeros_like(batch.visibility)), epoch=0, clock=0.5)
    assert result["loss"] == 0
    assert result["pixel_error"] == 0
    assert all((gradient == 0).all() for gradient in gradients(step, result["loss"]))


@pytest.mark.parametrize("labels", ["one label", "two labels", "one view", "occluded", "one keypoint"])
def test_few_labels_give_finite_losses_and_gradients(labels: str) -> None:
    step, batch = make_step(patch_mask=MASKED), make_images()
    visibility = torch.zeros_like(batch.visibility)
    if labels == "one label":
        visibility[0, 1, 2] = 2
    elif labels == "two labels":
        visibility[0, :2, 2] = 2
    elif labels == "one view":
        visibility[:, 0] = 2
    elif labels == "occluded":
        visibility[:] = 1
    else:
        visibility[:, :, 0] = 2
    result = step(dataclasses.replace(batch, visibility=visibility), epoch=0, clock=0.5)
    assert torch.isfinite(result["loss"])
    assert result["loss"] > 0
    assert all(torch.isfinite(gradient).all() for gradient in gradients(step, result["loss"]))
    if labels in ("one label", "one view", "occluded"):
        assert result["supervised_pairwise_projections"] == 0


def test_one_view_alone_trains() -> None:
    step, batch = make_step(num_views=1, losses={}, patch_mask=MASKED), make_images(num_views=1)
    result = step(batch, epoch=0, clock=0.5)
    assert result["loss"] > 0
    assert all(torch.isfinite(gradient).all() for gradient in gradients(step, result["loss"]))


def test_samples_without_calibration_are_left_out_of_the_3d_losses() -> None:
    step, batch = make_step(kind="kl"), make_images()
    known = make_images(num_samples=1)
    some = step(dataclasses.replace(batch, calibrated=torch.tensor([True, False])), epoch=0, clock=1.0)
    alone = step(
        dataclasses.replace(known, images=batch.images[:1], points=batch.points[:1], visibility=batch.visibility[:1]),
        epoch=0,
        clock=1.0,
    )
    for name in LOSSES:
        assert float(some[name]) == pytest.approx(float(alone[name]), rel=1e-4)
    without = step(dataclasses.replace(batch, cameras=None), epoch=0, clock=1.0)
    assert not without.keys() & LOSSES.keys()
    assert float(without["loss"].detach()) == pytest.approx(
        0.5 * float(without["heatmap"]) + STATED_WEIGHT * float(without[STATED])
    )


def test_lens_models_that_differ_within_a_batch_count_by_their_samples() -> None:
    step = make_step(kind="kl", epipolar=True)
    network = dataclasses.replace(step.network, fuses_views=True)
    batch = make_images(num_samples=3)
    assert batch.cameras is not None
    fisheye = batch.cameras.replace(fisheye=(True,) * 3, distortion=torch.full((3, 3, 4), 0.02))
    whole = {name: dataclasses.replace(batch, cameras=group) for name, group in [("a", batch.cameras), ("b", fisheye)]}
    rows = {"a": torch.tensor([1, 2]), "b": torch.tensor([0])}
    parts = {name: whole[name]._map(lambda tensor, name=name: tensor[rows[name]]) for name in rows}
    cameras = [part.cameras for part in parts.values()]
    assert all(cameras)
    mixed = dataclasses.replace(batch, cameras=None, mixed=tuple(zip(rows.values(), cameras, strict=True)))

    found = step(mixed, epoch=0, clock=1.0)
    expected = {name: step(part, epoch=0, clock=1.0) for name, part in parts.items()}
    for name in (*LOSSES, STATED):
        mean = (2 * float(expected["a"][name]) + float(expected["b"][name])) / 3
        assert float(found[name]) == pytest.approx(mean, rel=1e-4), name
    assert all(torch.isfinite(gradient).all() for gradient in gradients(step, found["loss"]))

    # Every sample is predicted as among samples of its own lens model, in its own place.
    with torch.no_grad():
        prediction = network(mixed)
        fused = network.fuse(prediction, mixed)
        assert fused is not None
        for name, part in parts.items():
            alone = network(part)
            torch.testing.assert_close(prediction.logits[rows[name]], alone.logits, rtol=1e-4, atol=1e-5)
            alone_fused = network.fuse(prediction.select(rows[name]), part)
            assert alone_fused is not None
            torch.testing.assert_close(fused.logits[rows[name]], alone_fused.logits)
            torch.testing.assert_close(fused.places[rows[name]], alone_fused.places)


def test_an_error_in_a_loss_ends_the_step() -> None:
    # The existing system logs it and goes on without the loss.
    def broken(*_: object) -> torch.Tensor:
        raise RuntimeError("no such thing")

    step = make_step()
    step = dataclasses.replace(step, losses={**step.losses, "supervised_pairwise_projections": broken})
    with pytest.raises(RuntimeError, match="no such thing"):
        step(make_images(), epoch=0, clock=1.0)


def test_a_batch_of_another_number_of_views_is_an_error() -> None:
    with raises_input("wrong-count", found=3, expected=2):
        make_step(num_views=2)(make_images(num_views=3), epoch=0, clock=1.0)


@pytest.mark.parametrize("mode", ["pixels", "tokens"])
def test_the_pixels_of_an_absent_view_change_nothing(mode: Any) -> None:
    mask = dataclasses.replace(MASKED, view_ratio=0.3, mode=mode)
    step, batch = make_step(patch_mask=mask), make_images()
    visibility = batch.visibility.clone()
    visibility[0, 2] = 0
    present = torch.tensor([[True, True, False], [True, True, True]])
    results = []
    for seed in (1, 2):
        images = batch.images.clone()
        images[0, 2] = make_images(seed=seed).images[0, 2]
        absent = dataclasses.replace(batch, images=images, visibility=visibility, view_mask=present)
        results.append(step(absent, epoch=0, clock=1.0))
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name], msg=name)


@pytest.mark.parametrize("mode", ["pixels", "tokens"])
@pytest.mark.parametrize("backbone", ["vits_dinov2", "vits_dinov3"])
def test_the_order_of_the_samples_does_not_matter(mode: Any, backbone: str) -> None:
    mask = dataclasses.replace(MASKED, view_ratio=0.3, mode=mode)
    step, batch = make_step(patch_mask=mask, backbone=backbone), make_images(num_samples=4)
    order = torch.tensor([2, 0, 3, 1])
    names = ("index", "images", "points", "visibility", "to_model", "calibrated")
    shuffled = dataclasses.replace(batch, **{name: getattr(batch, name)[order] for name in names})
    first, second = step(batch, epoch=0, clock=1.0), step(shuffled, epoch=0, clock=1.0)
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("mask", [MASKED, PatchMaskConfig(final_epoch=1, view_ratio=0.5)])
def test_every_epoch_masks_other_patches(mask: PatchMaskConfig) -> None:
    step, batch = make_step(patch_mask=mask), make_images()
    losses = [float(step(batch, epoch=epoch, clock=4.0)["loss"].detach()) for epoch in (0, 1, 2, 1)]
    assert len(set(losses)) == 3
    assert losses[1] == losses[3]


def test_the_share_of_masked_patches_follows_the_clock() -> None:
    mask = PatchMaskConfig(init_epoch=2, final_epoch=6, init_ratio=0.25, final_ratio=0.75, clear_share=0.2)
    step, batch = make_step(patch_mask=mask), make_images()
    seen = []
    step.network.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for clock in (1.9, 2.0, 4.0, 6.0, 7.9, 8.0):  # of 10 epochs, of which the last fifth is clear
        step(batch, epoch=int(clock), clock=clock)
    hidden = [
        (images[:, :, 0].unfold(2, 16, 16).unfold(3, 16, 16) == 0).all(-1).all(-1).sum((-2, -1)) for images in seen
    ]
    assert [set(counts.flatten().tolist()) for counts in hidden] == [{0}, {4}, {8}, {12}, {12}, {0}]


def test_dropping_patches_trains_every_parameter() -> None:
    step = make_step(patch_mask=dataclasses.replace(MASKED, mode="tokens"))
    result = step(make_images(), epoch=0, clock=1.0)
    found = gradients(step, result["loss"])
    assert len(found) == len(list(step.network.model.parameters()))
    assert all(torch.isfinite(gradient).all() for gradient in found)


@pytest.mark.parametrize("mode", ["pixels", "tokens"])
def test_attention_along_epipolar_lines_trains_with_and_without_calibration(mode: Any) -> None:
    mask = dataclasses.replace(MASKED, mode=mode)
    step, plain, batch = make_step(epipolar=True, patch_mask=mask), make_step(patch_mask=mask), make_images()
    result = step(batch, epoch=0, clock=1.0)
    assert all(torch.isfinite(gradient).all() for gradient in gradients(step, result["loss"]))
    assert result["heatmap"] != plain(batch, epoch=0, clock=1.0)["heatmap"]
    # Samples without calibration have plain attention, whether others of the batch are calibrated or not.
    one = dataclasses.replace(batch, calibrated=torch.tensor([True, False]))
    none = dataclasses.replace(batch, cameras=None, calibrated=torch.zeros(2, dtype=torch.bool))
    with torch.no_grad():
        found, expected = step.network(one).logits, plain.network(one).logits
        torch.testing.assert_close(found[1], expected[1], atol=1e-5, rtol=1e-5)
        assert not torch.equal(found[0], expected[0])
        assert torch.equal(step.network(none).logits, plain.network(none).logits)


def test_units_of_length_come_from_the_subject_by_default() -> None:
    raw = {**AT_ONCE, "supervised_pairwise_projections": LossConfig(log_weight=0.0, normalize=False)}
    assert make_step().units["supervised_pairwise_projections"] == 1.5
    assert make_step(losses=raw).units["supervised_pairwise_projections"] == 1.0
    assert make_step(subject_size=None).units["supervised_pairwise_projections"] == 1.0


class Waits(TorchDispatchMode):
    """Notes what makes the host wait: values read, and copies between host and device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        inputs = {tensor.device.type for tensor in _tensors((args, kwargs)) if tensor.ndim > 0}
        outputs = {tensor.device.type for tensor in _tensors(result)}
        if (
            (inputs and outputs and inputs != outputs)
            or "local_scalar" in str(operation)
            or "nonzero" in str(operation)
        ):
            self.found.append(f"{operation} {inputs} -> {outputs}")
        return result


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor))


@pytest.mark.parametrize(
    ("backbone", "mode", "epipolar"),
    [
        ("vits_dino", "pixels", True),
        ("vits_dinov2", "tokens", False),
        pytest.param("vits_dinov3", "tokens", True, marks=pytest.mark.slow),
        pytest.param("vits_dinov3", "pixels", False, marks=pytest.mark.slow),
        pytest.param("vit_small_patch16_rope_mixed_224", "tokens", True, marks=pytest.mark.slow),
    ],
)
def test_a_step_never_waits_for_the_device(
    backbone: str, mode: Any, epipolar: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On tensors that only claim to lie on a GPU: every operation runs for its shapes and devices. Losses in 3D are the
    # same whatever the network.
    step = make_step(
        patch_mask=dataclasses.replace(MASKED, view_ratio=0.3, mode=mode),
        backbone=backbone,
        epipolar=epipolar,
        losses=None if epipolar else {},
    )
    batch = dataclasses.replace(make_images(), view_mask=torch.ones(2, 3, dtype=torch.bool))
    model = step.network.model
    monkeypatch.setattr(torch.__future__, "_overwrite_module_params_on_conversion", True)
    with FakeTensorMode(allow_non_fake_inputs=False):

        def move(tensor: torch.Tensor) -> torch.Tensor:
            return torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")

        network = dataclasses.replace(
            step.network, model=model._apply(move), mean=move(step.network.mean), std=move(step.network.std)
        )
        step, batch = dataclasses.replace(step, network=network), batch._map(move)
        step(batch, epoch=0, clock=1.0)  # the first step may fill caches
        with Waits() as waits:
            result = step(batch, epoch=0, clock=1.0)
            assert torch.zeros(3, device="cuda")[[0, 2]].device.type == "cuda"
    assert result["loss"].device.type == "cuda"
    # The last line of the block is there to show that the watch would see an index list.
    assert len(waits.found) == 1, waits.found
