"""Covariances that a network states: the head, its loss, and a network that is the same without it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal

from helpers.rigs import make_batch, make_prediction, ring
from mvgeom import project, reconstruct
from mvtrain.losses.stated import gaussian_log_likelihood, point_loss, stated_covariance_loss
from mvtrain.model.checkpoint import ModelSpec, build_model
from mvtrain.model.head import CovarianceHead
from mvtrain.model.inference import Network, Prediction, predict_frames

RIG = ring(4)
NUM_KEYPOINTS = 3


def make_head(seed: int = 0, factor: int = 2) -> CovarianceHead:
    torch.manual_seed(seed)
    head = CovarianceHead(24, NUM_KEYPOINTS, patch_size=(14, 14), downsample_factor=factor)
    torch.nn.init.normal_(head.last.weight, std=3.0)
    return head


def long_ellipses(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Covariances (..., 2, 2) of many sizes, lengths and directions."""
    random = np.random.default_rng(seed)
    factor = random.normal(size=(*shape, 2, 2)) * random.uniform(0.5, 3.0, (*shape, 1, 1))
    return torch.from_numpy(factor @ factor.swapaxes(-1, -2) + 0.2 * np.eye(2))


def stated(points_3d: np.ndarray, seed: int = 0) -> tuple[Prediction, torch.Tensor]:
    """A prediction with errors, and covariances (B, V, K, 2, 2) in full-image px^2 that it states."""
    batch = make_batch(points_3d, RIG)
    covariance = long_ellipses(tuple(batch.visibility.shape), seed)
    noise = torch.linalg.cholesky(covariance) @ torch.from_numpy(
        np.random.default_rng(seed).normal(size=(*covariance.shape[:-1], 1))
    )
    prediction = make_prediction(batch, batch.points + 0.3 * noise[..., 0])
    return replace(prediction, full_covariance=covariance), covariance


def some_points(num_frames: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (num_frames, NUM_KEYPOINTS, 3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_of_another_type_state_nearly_the_same_in_float32(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    features, logits = torch.randn(2, 24, 3, 3), torch.randn(2, NUM_KEYPOINTS, 10, 10)
    expected = make_head()(features, logits)
    found = make_head().to(dtype)(features.to(dtype), logits.to(dtype))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.2, atol=0.05)


@settings(max_examples=15, deadline=None)
@example(0, 3, 15, 15)  # a heatmap of one pixel
@given(st.integers(0, 1000), st.sampled_from([1, 2, 3]), st.integers(15, 60), st.integers(15, 60))
def test_covariances_are_those_of_ellipses(seed: int, factor: int, height: int, width: int) -> None:
    head = make_head(seed, factor)
    grid = (-(-height // 14), -(-width // 14))
    features = 5 * torch.randn(2, 24, *grid)
    logits = 20 * torch.randn(2, NUM_KEYPOINTS, max(1, height // 2**factor), max(1, width // 2**factor))
    found = head(features, logits)
    assert found.shape == (2, NUM_KEYPOINTS, 2, 2)
    sizes = torch.linalg.eigvalsh(found.double())
    assert (sizes > 0).all()
    assert torch.linalg.cond(found.double()).max() < 1e7
    deviations = found.diagonal(dim1=-2, dim2=-1).sqrt()
    assert (deviations > 0.2).all()
    assert (deviations < 56).all()


def test_every_keypoint_has_the_same_covariance_at_first() -> None:
    head = CovarianceHead(24, NUM_KEYPOINTS, patch_size=(14, 14), downsample_factor=2)
    found = head(torch.randn(4, 24, 3, 3), torch.randn(4, NUM_KEYPOINTS, 10, 10))
    torch.testing.assert_close(found, found[:1, :1].expand_as(found))


def test_features_count_where_the_heatmap_is() -> None:
    head = make_head()
    torch.nn.init.normal_(head.last.weight, std=0.1)
    logits = torch.full((1, NUM_KEYPOINTS, 21, 21), -30.0)
    logits[:, 0, 3, 17] = logits[:, 1, 17, 3] = logits[:, 2, 10, 10] = 30.0
    features = torch.randn(1, 24, 6, 6)
    changed = features.clone()
    # A patch of the second keypoint and nobody's change places, so that the mean over the view is as before.
    changed[..., 5, 0], changed[..., 0, 0] = features[..., 0, 0], features[..., 5, 0]
    before, after = head(features, logits), head(changed, logits)
    moved = (before - after).abs().amax((-2, -1))[0]
    assert moved[1] > 100 * moved[[0, 2]].max()


def test_no_gradient_leaves_the_head() -> None:
    head = make_head()
    features = torch.randn(1, 24, 3, 3, requires_grad=True)
    logits = torch.randn(1, NUM_KEYPOINTS, 10, 10, requires_grad=True)
    head(features, logits).log().abs().sum().backward()
    assert features.grad is None
    assert logits.grad is None
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_the_network_is_the_same_with_and_without_the_head() -> None:
    spec = ModelSpec(
        backbone="vit_tiny_patch16_224",
        backbone_args={"depth": 1, "embed_dim": 24, "num_heads": 2},
        attention="joint",
        view_names=RIG.names,
        keypoint_names=("a", "b", "c"),
        image_size=(64, 64),
        downsample_factor=2,
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        subject_size=None,
    )
    batch = make_batch(some_points(), RIG)._map(lambda each: each.float() if each.is_floating_point() else each)
    images = torch.randint(0, 256, batch.images.shape, dtype=torch.uint8)
    batch = replace(batch, images=images)
    gradients = []
    for with_head in (False, True):
        torch.manual_seed(0)
        model = build_model(replace(spec, covariance_head=with_head))
        network = Network.from_model(model, spec, torch.device("cpu"))
        prediction = network(batch)
        assert (prediction.full_covariance is not None) == with_head
        loss = prediction.logits.logsumexp((-2, -1)).sum()
        if with_head:
            loss = loss + stated_covariance_loss(prediction, batch)
        loss.backward()
        gradients.append({name: each.grad for name, each in model.named_parameters() if "covariance" not in name})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=0, atol=0, msg=name)
    # What predictions keep is what the network stated, in px of the full image.
    kept = predict_frames(network, [batch], torch.device("cpu")).own_covariance
    assert kept is not None
    np.testing.assert_allclose(kept, network(batch).full_covariance.detach().numpy(), rtol=1e-4)  # type: ignore[union-attr]
    scale = float(batch.to_model[0, 0, 0, 0])
    in_heatmap = model.covariance_head.last.bias.new_tensor(1.25).exp() ** 2  # type: ignore[union-attr]
    assert kept[0, 0, 0, 0, 0] == pytest.approx(float(in_heatmap) * (4 / scale) ** 2, rel=1e-4)


def test_likelihood_is_that_of_a_gaussian() -> None:
    covariance = long_ellipses((50,))
    error = torch.randn(50, 2, dtype=torch.float64) * 3
    expected = MultivariateNormal(torch.zeros(2, dtype=torch.float64), covariance).log_prob(error)
    torch.testing.assert_close(gaussian_log_likelihood(error, covariance), expected)


def test_error_in_3d_is_that_of_the_triangulation_by_covariance() -> None:
    points_3d = some_points()
    prediction, covariance = stated(points_3d)
    batch = make_batch(points_3d, RIG)
    truth = torch.from_numpy(points_3d)
    present = torch.ones(3, 4, dtype=torch.bool)
    found = reconstruct(
        prediction.full_points.numpy(), RIG, method="refined", noise=1.0, covariances=covariance.numpy()
    )
    assert batch.cameras is not None
    loss = point_loss(prediction.full_points, covariance, truth, batch.cameras, present)
    # The covariance in 3D that `reconstruct` states has the same inverse, and the same error to first order.
    squares, volumes = [], []
    for frame in range(3):
        for keypoint in range(NUM_KEYPOINTS):
            information, of_pixels = information_of(points_3d[frame, keypoint], covariance[frame, :, keypoint].numpy())
            error = found.points[frame, keypoint] - points_3d[frame, keypoint]
            squares.append(error @ information @ error)
            volumes.append(np.linalg.slogdet(information)[1] - np.linalg.slogdet(of_pixels)[1])
            np.testing.assert_allclose(
                found.std[frame, keypoint], np.sqrt(np.diag(np.linalg.inv(information))), rtol=0.05
            )
    assert float(loss) == pytest.approx(0.5 * (np.mean(squares) - np.mean(volumes)), rel=0.05)


def information_of(point: np.ndarray, covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The information about a point by finite differences, and that of precisions of 1/px^2: the slow reference."""
    step = 1e-5 * np.eye(3)
    columns = [(project((point + each)[None], RIG) - project((point - each)[None], RIG))[:, 0] / 2e-5 for each in step]
    jacobian = np.stack(columns, axis=-1)
    views = zip(jacobian, covariances, strict=True)
    information = sum(each.T @ np.linalg.inv(covariance) @ each for each, covariance in views)
    return np.asarray(information), np.asarray(sum(each.T @ each for each in jacobian))


def test_the_loss_is_least_where_covariances_are_those_of_the_errors() -> None:
    points_3d = some_points(400)
    prediction, covariance = stated(points_3d)
    batch = make_batch(points_3d, RIG)
    scale = batch.to_model[:, :, None, :, :2]
    true = torch.linalg.inv(scale) @ (0.09 * covariance) @ torch.linalg.inv(scale).mT

    def loss(of: torch.Tensor) -> float:
        return float(stated_covariance_loss(replace(prediction, full_covariance=of), batch))

    least = loss(true)
    for factor in (0.6, 0.8, 1.3, 1.8):
        assert loss(factor * true) > least
    assert loss(true.mean((0, 1, 2)).expand_as(true)) > least
    unit = float(true.diagonal(dim1=-2, dim2=-1).mean())
    assert loss(unit * torch.eye(2, dtype=true.dtype).expand_as(true)) > least


def test_views_and_labels_that_are_not_there_do_not_count() -> None:
    points_3d = some_points()
    points_3d[1, 0] = np.nan
    prediction, covariance = stated(np.nan_to_num(points_3d))
    batch = make_batch(points_3d, RIG)
    view_mask = torch.ones(3, 4, dtype=torch.bool)
    view_mask[2, 3] = False
    batch = replace(batch, view_mask=view_mask, visibility=batch.visibility * view_mask[..., None])
    spoiled = prediction.full_points.clone()
    spoiled[2, 3] += 1000.0
    spoiled[1, :, 0] -= 1000.0
    other = replace(prediction, full_points=spoiled)
    assert float(stated_covariance_loss(other, batch)) == float(stated_covariance_loss(prediction, batch))
    nothing = replace(batch, visibility=torch.zeros_like(batch.visibility), calibrated=torch.zeros(3, dtype=torch.bool))
    weights = covariance.clone().requires_grad_()
    loss = stated_covariance_loss(replace(prediction, full_covariance=weights), nothing)
    loss.backward()
    assert loss.item() == 0
    assert weights.grad is not None
    assert not weights.grad.any()
    uncalibrated = replace(batch, cameras=None)
    assert np.isfinite(float(stated_covariance_loss(prediction, uncalibrated)))


def test_gradient_is_that_of_finite_differences() -> None:
    points_3d = some_points(1)
    prediction, covariance = stated(points_3d)
    batch = make_batch(points_3d, RIG)

    def loss(deviations: torch.Tensor) -> torch.Tensor:
        scaled = covariance * deviations[..., :, None] * deviations[..., None, :]
        return stated_covariance_loss(replace(prediction, full_covariance=scaled), batch)

    deviations = torch.full((*covariance.shape[:-1],), 1.1, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(loss, (deviations,))
