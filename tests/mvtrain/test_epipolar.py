"""Attention that keeps to epipolar lines."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.errors import raises_input
from helpers.rigs import make_batch, ring
from helpers.tiny import generate_tiny_project, write_tiny_config
from mvgeom import affine, rays, undistort
from mvtrain.config import load_config
from mvtrain.data.batch import Batch
from mvtrain.model.backbone import build_backbone, patch_centers
from mvtrain.model.checkpoint import make_spec
from mvtrain.model.epipolar import LOWEST, WIDTH, bias_between_rays, epipolar_bias
from mvtrain.model.multiview import MultiviewTransformer
from mvtrain.predict.labeled_images import in_network_order
from mvtrain.project.project import read_project

PATCH = (16, 16)
GRID = (4, 4)


def points(seed: int, num_samples: int = 2, num_keypoints: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (num_samples, num_keypoints, 3))


def turned(batch: Batch, seed: int) -> Batch:
    """The batch with each view's image rotated and scaled, as 2D augmentation does."""
    generator = np.random.default_rng(seed)
    maps = []
    for _ in range(batch.to_model.shape[0] * batch.to_model.shape[1]):
        angle, scale = generator.uniform(-0.5, 0.5), generator.uniform(0.8, 1.25)
        linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        center = np.array([31.5, 31.5])
        maps.append(np.c_[linear, center - linear @ center])
    change = torch.from_numpy(np.array(maps)).reshape(batch.to_model.shape)
    return dataclasses.replace(
        batch, to_model=affine.compose(change, batch.to_model), points=affine.apply(change, batch.points)
    )


def bias_of(batch: Batch) -> torch.Tensor:
    assert batch.cameras is not None
    return epipolar_bias(batch.cameras, batch.to_model, batch.calibrated, image_size=(64, 64), patch_size=PATCH)


def slow_bias(batch: Batch, sample: int, view: int, other: int, patch: int, other_patch: int) -> float:
    """The same for two patches, by fundamental geometry on rays."""
    assert batch.cameras is not None
    single = batch.cameras.replace(
        **{
            name: getattr(batch.cameras, name)[sample]
            for name in ("sizes", "matrix", "distortion", "rotation", "translation")
        }
    )

    def ray(which: int, number: int) -> np.ndarray:
        row, column = divmod(number, GRID[1])
        model = torch.tensor([[(column + 0.5) * 16 - 0.5, (row + 0.5) * 16 - 0.5]], dtype=torch.float64)
        frame = affine.apply(affine.invert(batch.to_model[sample]), model.expand(len(single), 1, 2))
        normalized = undistort(frame, single)[which, 0].numpy()
        direction = single.rotation[which].numpy().T @ np.array([*normalized, 1.0])
        return direction / np.linalg.norm(direction)

    def patch_angle(which: int) -> float:
        rays = np.array([ray(which, number) for number in range(16)]).reshape(4, 4, 3)
        steps = [np.linalg.norm(np.diff(rays, axis=axis), axis=-1).ravel() for axis in (0, 1)]
        return float(np.concatenate(steps).mean())

    baseline = (single.centers[other] - single.centers[view]).numpy()
    squared = 0.0
    for one, two, first, second in ((view, other, patch, other_patch), (other, view, other_patch, patch)):
        normal = np.cross(baseline, ray(one, first))
        squared += (normal @ ray(two, second) / np.linalg.norm(normal) / patch_angle(two)) ** 2 / 2
    return max(LOWEST, -squared / (2 * WIDTH**2))


@pytest.mark.slow
@given(seed=st.integers(0, 10**6))
@settings(max_examples=10)
def test_the_bias_is_that_of_a_slow_reference(seed: int) -> None:
    batch = turned(make_batch(points(seed), ring(3)), seed)
    bias = bias_of(batch).reshape(2, 3, 16, 3, 16)
    generator = np.random.default_rng(seed)
    for _ in range(6):
        sample, patch, other_patch = generator.integers(0, (2, 16, 16))
        view, other = generator.permutation(3)[:2]
        expected = slow_bias(batch, sample, view, other, patch, other_patch)
        assert bias[sample, view, patch, other, other_patch].item() == pytest.approx(expected, abs=1e-6)


@given(seed=st.integers(0, 10**6), num_views=st.integers(2, 5))
@settings(max_examples=20)
def test_patches_that_show_the_same_point_may_attend_to_each_other(seed: int, num_views: int) -> None:
    batch = turned(make_batch(points(seed), ring(num_views)), seed)
    bias = bias_of(batch).reshape(2, num_views, 16, num_views, 16)
    cells = torch.div(batch.points + 0.5, 16, rounding_mode="floor").long()
    inside = ((cells >= 0) & (cells < 4)).all(-1)
    places = cells[..., 1] * 4 + cells[..., 0]
    found = [
        bias[sample, view, places[sample, view, keypoint], other, places[sample, other, keypoint]].item()
        for sample in range(2)
        for keypoint in range(batch.points.shape[2])
        for view in range(num_views)
        for other in range(num_views)
        if inside[sample, view, keypoint] and inside[sample, other, keypoint]
    ]
    # A point lies at most 0.71 patches from the center of its patch, in either view.
    assert min(found, default=0.0) > LOWEST / 2
    assert np.mean(found) > -0.7
    assert bias.mean() < -1  # zeros within views included


def test_nothing_within_a_view_or_without_calibration_and_something_elsewhere() -> None:
    batch = turned(make_batch(points(0), ring(4)), 0)
    batch = dataclasses.replace(batch, calibrated=torch.tensor([True, False]))
    bias = bias_of(batch)
    assert torch.equal(bias, bias.transpose(1, 2))
    assert (bias[1] == 0).all()
    blocks = bias[0].reshape(4, 16, 4, 16)
    for view in range(4):
        assert (blocks[view, :, view] == 0).all()
    across = blocks[:, :, :, :][~torch.eye(4, dtype=torch.bool)[:, None, :, None].expand_as(blocks)]
    assert across.min() >= LOWEST
    assert (across < -2).double().mean() > 0.2


def test_float32_is_enough_far_from_the_worlds_origin() -> None:
    batch = turned(make_batch(points(1), ring(4)), 1)
    assert batch.cameras is not None
    exact = bias_of(batch)
    rough = dataclasses.replace(
        batch, cameras=batch.cameras.to(like=torch.zeros(0, dtype=torch.float32)), to_model=batch.to_model.float()
    )
    assert bias_of(rough).dtype == torch.float32
    torch.testing.assert_close(bias_of(rough).double(), exact, atol=2e-3, rtol=0)


def test_rays_beyond_the_lens_leave_finite_biases() -> None:
    batch = make_batch(points(2), ring(3))
    assert batch.cameras is not None
    # Folds over well inside the image.
    folded = batch.cameras.replace(distortion=batch.cameras.distortion * 0 + torch.tensor([-3.0, 0, 0, 0, 0]))
    bias = bias_of(dataclasses.replace(batch, cameras=folded))
    assert torch.isfinite(bias).all()
    assert (bias.reshape(2, 3, 16, 3, 16)[:, 0, 0] == 0).all()  # a corner that no ray reaches


def test_rays_that_are_unknown_have_no_bias_and_leave_the_others_theirs() -> None:
    batch = make_batch(points(3), ring(3))
    assert batch.cameras is not None
    frame = affine.apply(affine.invert(batch.to_model), patch_centers(GRID, PATCH).double().expand(2, 3, -1, 2))
    centers, directions = rays(frame, batch.cameras)
    whole = bias_between_rays(centers, directions, GRID)
    torch.testing.assert_close(whole, bias_of(batch))
    unknown = torch.zeros(3, 16, dtype=torch.bool)
    unknown[0, [0, 5, 10]] = unknown[2, [3, 4]] = True
    some = bias_between_rays(centers, directions.masked_fill(unknown[..., None], 0), GRID)
    pairs = unknown.flatten()[:, None] | unknown.flatten()
    assert (some[:, pairs] == 0).all()
    # The angle of a patch is a mean over the rays that are left.
    torch.testing.assert_close(some[:, ~pairs], whole[:, ~pairs], rtol=0.1, atol=1e-3)


def tiny(name: str, attention: str, **arguments: object) -> MultiviewTransformer:
    torch.manual_seed(0)
    backbone = build_backbone(name, arguments={"depth": 2, "embed_dim": 48, "num_heads": 3, **arguments})
    with torch.no_grad():
        for parameter_name, parameter in backbone.named_parameters():
            if any(part in parameter_name for part in ("qkv.weight", "q_proj.weight", "k_proj.weight")):
                parameter.mul_(12)
            if "gamma" in parameter_name:  # layer scale, 1e-5 at first, hides what attention does
                parameter.fill_(0.5)
    return MultiviewTransformer(backbone, num_views=3, num_keypoints=4, attention=attention).eval()  # type: ignore[arg-type]


def cut(value: float) -> torch.Tensor:
    """A bias of `value` between any two views, 0 within."""
    other = ~torch.eye(3, dtype=torch.bool)[:, None, :, None].expand(3, 16, 3, 16).reshape(48, 48)
    return torch.where(other, value, 0.0).expand(2, -1, -1)


def test_a_bias_against_all_other_views_makes_joint_attention_per_view() -> None:
    name, arguments = "vit_tiny_patch16_224", {"class_token": False, "global_pool": "avg"}
    joint, alone = tiny(name, "joint", **arguments), tiny(name, "per_view", **arguments)
    images = torch.randn(2, 3, 3, 64, 64)
    torch.testing.assert_close(joint(images, None, None, cut(-1e4)), alone(images), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(joint(images), alone(images), atol=1e-3)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vits_dinov3"])
def test_no_bias_is_plain_attention(name: str) -> None:
    model, images = tiny(name, "joint"), torch.randn(2, 3, 3, 64, 64)
    torch.testing.assert_close(model(images, None, None, cut(0.0)), model(images), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(model(images, None, None, cut(-3.0)), model(images), atol=1e-3)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vits_dinov3"])
def test_the_bias_goes_with_the_patches_that_are_kept(name: str) -> None:
    model, images = tiny(name, "joint"), torch.randn(2, 3, 3, 64, 64)
    bias = bias_of(turned(make_batch(points(3), ring(3)), 3)).float()
    order = torch.stack([torch.randperm(16) for _ in range(6)]).reshape(2, 3, 16)
    # Kept are all, in another order.
    torch.testing.assert_close(model(images, None, order, bias), model(images, None, None, bias), atol=1e-4, rtol=1e-4)
    some = order[..., :9]
    again = some.flip(-1)
    torch.testing.assert_close(model(images, None, some, bias), model(images, None, again, bias), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(model(images, None, some, bias), model(images, None, some), atol=1e-3)


def test_an_absent_view_stays_unattended() -> None:
    model, images = tiny("vit_tiny_patch16_224", "joint"), torch.randn(2, 3, 3, 64, 64)
    bias = bias_of(make_batch(points(4), ring(3))).float()
    mask = torch.tensor([[True, False, True], [True, True, True]])
    changed = images.clone()
    changed[0, 1] = torch.randn(3, 64, 64)
    first, second = model(images, mask, None, bias), model(changed, mask, None, bias)
    torch.testing.assert_close(first[0, [0, 2]], second[0, [0, 2]])
    torch.testing.assert_close(first[1], second[1])


def test_under_autocast_it_still_runs() -> None:
    model, images = tiny("vit_tiny_patch16_224", "joint"), torch.randn(2, 3, 3, 64, 64)
    bias = bias_of(make_batch(points(5), ring(3))).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(images, None, None, bias)
    torch.testing.assert_close(rough.float(), model(images, None, None, bias), atol=0.3, rtol=0.1)


def test_a_project_without_calibration_is_not_predicted(tmp_path: Path) -> None:
    config = load_config(write_tiny_config(tmp_path / "config.yaml", generate_tiny_project(tmp_path / "project")))
    project = read_project(config)
    plain = make_spec(config, view_names=project.view_names, keypoint_names=project.keypoint_names, subject_size=None)
    epipolar = dataclasses.replace(plain, epipolar_attention=True)
    bare = dataclasses.replace(project, cameras=(None,) * len(project))
    for known, spec in ((project, plain), (project, epipolar), (bare, plain)):
        in_network_order(known, spec)
    with raises_input("no-calibration", key="model.epipolar_attention"):
        in_network_order(bare, epipolar)


def test_it_is_about_attention_between_views(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("data: {data_dir: .}\nmodel: {model_type: heatmap, epipolar_attention: true}\n")
    with raises_input("excluded-options", key="model.epipolar_attention", other="model.attention"):
        load_config(config)
