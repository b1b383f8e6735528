import dataclasses
from itertools import combinations

import numpy as np
import pytest
import torch

from helpers.rigs import make_batch, make_prediction, ring
from mvgeom import affine, project, rays, triangulate
from mvtrain.losses import LOSSES
from mvtrain.losses.heatmap import heatmap_mse, target_factors
from mvtrain.model.decode import model_to_heatmap


def pose(seed: int = 0, num_samples: int = 2, num_keypoints: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (num_samples, num_keypoints, 3))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("num_views", [2, 4])
def test_labels_as_predictions_cost_nothing(name: str, num_views: int) -> None:
    batch = make_batch(pose(), ring(num_views))
    assert LOSSES[name](make_prediction(batch, batch.points), batch, 1.0).item() == pytest.approx(0, abs=1e-9)


def test_a_pose_error_of_one_camera_does_not_make_right_predictions_wrong() -> None:
    # Labels and predictions are triangulated alike, so an imperfect calibration displaces both alike.
    batch = make_batch(pose(), ring())
    assert batch.cameras is not None
    shift = torch.zeros_like(batch.cameras.translation)
    shift[:, 2] = 0.3
    batch = dataclasses.replace(batch, cameras=batch.cameras.replace(translation=batch.cameras.translation + shift))
    loss = LOSSES["supervised_pairwise_projections"](make_prediction(batch, batch.points), batch, 1.0)
    assert loss.item() == pytest.approx(0, abs=1e-9)


def test_pairwise_loss_against_a_loop_over_pairs() -> None:
    cameras = ring(3)
    batch = make_batch(pose(), cameras)
    noise = torch.randn(batch.points.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    prediction = make_prediction(batch, batch.points + noise)
    batch.visibility[0, 1, 2] = 0
    batch.visibility[1, 0, 3] = 1
    labels = affine.apply(affine.invert(batch.to_model), batch.points).numpy()
    labels[batch.visibility.numpy() != 2] = np.nan
    total = weight_sum = 0.0
    for pair in combinations(range(3), 2):
        two = cameras.select([cameras.names[view] for view in pair])
        truth = triangulate(labels[:, pair], two, refine_steps=0)
        predicted = triangulate(prediction.frame_points.numpy()[:, pair], two, refine_steps=0)
        _, directions = rays(labels[:, pair], two)
        cosine = (directions[:, 0] * directions[:, 1]).sum(-1) / np.linalg.norm(directions, axis=-1).prod(1)
        weights = 1 - cosine**2
        squared = ((truth - predicted) ** 2).sum(-1) / 4
        known = np.isfinite(squared)
        total += (weights[known] * squared[known]).sum()
        weight_sum += weights[known].sum()
    loss = LOSSES["supervised_pairwise_projections"](prediction, batch, 2.0)
    assert loss.item() == pytest.approx(total / weight_sum, rel=1e-6)


def test_reprojection_loss_against_its_definition() -> None:
    cameras = ring(3)
    batch = make_batch(pose(), cameras)
    noise = torch.randn(batch.points.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    prediction = make_prediction(batch, batch.points + noise)
    points_3d = triangulate(prediction.frame_points.numpy(), cameras)
    reprojected = affine.apply(batch.to_model, torch.from_numpy(project(points_3d, cameras)))
    size = (16, 16)
    target_x, target_y = target_factors(model_to_heatmap(batch.points, 2), batch.visibility, size)
    own_x, own_y = target_factors(model_to_heatmap(reprojected, 2), batch.visibility, size)
    logits = (own_y[..., :, None] * own_x[..., None, :]).log()
    expected = heatmap_mse(logits, target_x, target_y, batch.visibility == 2)
    loss = LOSSES["supervised_reprojection_heatmap_mse"](prediction, batch, 1.0)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_matches_finite_differences(name: str) -> None:
    batch = make_batch(pose(num_samples=1, num_keypoints=2), ring(3))
    batch.visibility[0, 0, 0] = 0
    noise = 0.5 * torch.randn(batch.points.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def loss(points: torch.Tensor) -> torch.Tensor:
        return LOSSES[name](make_prediction(batch, points), batch, 1.0)

    # Undistortion iterates without a gradient and takes one differentiable step: fast mode compares along directions.
    assert torch.autograd.gradcheck(loss, (batch.points + noise).requires_grad_(), eps=1e-4, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", ["no label", "one view", "a view missing", "uncalibrated", "wild predictions"])
def test_missing_data_gives_finite_losses_and_gradients(name: str, case: str) -> None:
    batch = make_batch(pose(), ring())
    start = batch.points.clone()
    if case == "no label":
        batch.visibility[:] = 0
    elif case == "one view":
        batch.visibility[:, 1:] = 0
    elif case == "a view missing":
        mask = torch.ones(2, 4, dtype=torch.bool)
        mask[0, 2] = False
        batch.visibility[0, 2] = 0
        batch = dataclasses.replace(batch, view_mask=mask)
    elif case == "uncalibrated":
        batch.calibrated[0] = False
    else:
        start = start * 50 - 700
    points = (start + 0.3).requires_grad_()
    loss = LOSSES[name](make_prediction(batch, points), batch, 1.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert points.grad is not None
    assert torch.isfinite(points.grad).all()
    if case == "no label":
        assert loss == 0
        assert (points.grad == 0).all()
    if case == "a view missing":
        assert (points.grad[0, 2] == 0).all()
    if case == "uncalibrated":
        assert (points.grad[0] == 0).all()
        assert (points.grad[1] != 0).any()


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_normalized_pairwise_loss_means_the_same_in_any_unit(unit: float) -> None:
    cameras = ring()
    scaled = cameras.replace(translation=cameras.translation * unit)
    batch = make_batch(pose() * unit, scaled)
    prediction = make_prediction(batch, batch.points + 0.5)
    loss = LOSSES["supervised_pairwise_projections"](prediction, batch, unit)
    reference = make_batch(pose(), cameras)
    expected = LOSSES["supervised_pairwise_projections"](
        make_prediction(reference, reference.points + 0.5), reference, 1.0
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_permuting_samples_changes_nothing() -> None:
    batch = make_batch(pose(num_samples=4), ring())
    points = batch.points + torch.randn(batch.points.shape, generator=torch.Generator().manual_seed(0)).double()
    order = torch.tensor([2, 0, 3, 1])
    shuffled = dataclasses.replace(batch, points=batch.points[order])
    for loss in LOSSES.values():
        first = loss(make_prediction(batch, points), batch, 1.0)
        second = loss(make_prediction(shuffled, points[order]), shuffled, 1.0)
        assert first.item() == pytest.approx(second.item(), rel=1e-9)
