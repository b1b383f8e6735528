import math
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mvtrain.config.schema import ModelConfig
from mvtrain.losses.geometric import pairwise_projection_loss, reprojection_heatmap_mse
from mvtrain.losses.heatmap import (
    GRADIENT_SCALES,
    GUIDE_WEIGHT,
    HEATMAP_LOSSES,
    gaussian_factors,
    heatmap_mse,
    starvation_guide,
    target_factors,
)


def slow_target(point: np.ndarray, visibility: int, height: int, width: int, sigma: float = 1.25) -> np.ndarray:
    if visibility == 1:
        return np.full((height, width), 1 / (height * width))
    rows, columns = np.mgrid[:height, :width]
    target = np.exp(-((columns - point[0]) ** 2 + (rows - point[1]) ** 2) / (2 * sigma**2))
    return target / target.sum()


def slow_loss(kind: str, heatmap: np.ndarray, target: np.ndarray) -> float:
    if kind == "mse":
        return float(((heatmap - target) ** 2).sum())

    def divergence(p: np.ndarray, q: np.ndarray) -> float:
        return float(sum(a * math.log(a / b) for a, b in zip(p.flat, q.flat, strict=True) if a > 1e-300))

    if kind == "kl":
        return divergence(target, heatmap)
    middle = (heatmap + target) / 2
    return 0.5 * divergence(heatmap, middle) + 0.5 * divergence(target, middle)


def random_case(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 3, 4, 9, 12, dtype=torch.float64, generator=generator)
    points = 14 * torch.rand(2, 3, 4, 2, dtype=torch.float64, generator=generator) - 1
    visibility = torch.randint(0, 3, (2, 3, 4), generator=generator)
    return logits, points, visibility


@pytest.mark.parametrize("kind", HEATMAP_LOSSES)
@given(seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_loss_equals_the_slow_reference(kind: str, seed: int) -> None:
    logits, points, visibility = random_case(seed)
    target_x, target_y = target_factors(points, visibility, (9, 12))
    loss = HEATMAP_LOSSES[kind](logits, target_x, target_y, visibility > 0)
    heatmaps = torch.softmax(logits.flatten(-2), -1).reshape(logits.shape).numpy()
    expected = [
        slow_loss(kind, heatmaps[place], slow_target(points[place].numpy(), int(visibility[place]), 9, 12))
        for place in np.ndindex(2, 3, 4)
        if visibility[place] > 0
    ]
    assert loss.item() == pytest.approx(np.mean(expected) if expected else 0, rel=1e-9)


@pytest.mark.parametrize("kind", HEATMAP_LOSSES)
def test_gradient_matches_finite_differences(kind: str) -> None:
    logits, points, visibility = (part[:1, :2, :2] for part in random_case(0))
    target_x, target_y = target_factors(points, visibility, (9, 12))
    assert torch.autograd.gradcheck(
        lambda x: HEATMAP_LOSSES[kind](x, target_x, target_y, visibility > 0), logits.clone().requires_grad_()
    )


@pytest.mark.parametrize("kind", HEATMAP_LOSSES)
def test_a_batch_without_labels_costs_nothing_and_has_zero_gradient(kind: str) -> None:
    logits, points, visibility = random_case(1)
    target_x, target_y = target_factors(points, visibility, (9, 12))
    logits.requires_grad_()
    loss = HEATMAP_LOSSES[kind](logits, target_x, target_y, torch.zeros_like(visibility, dtype=torch.bool))
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("kind", HEATMAP_LOSSES)
@pytest.mark.parametrize("peak", [0.0, 1e4])
def test_gradient_is_finite_for_extreme_heatmaps(kind: str, peak: float) -> None:
    logits = torch.zeros(1, 1, 1, 16, 16)
    logits[..., 15, 15] = peak
    logits.requires_grad_()
    target_x, target_y = target_factors(torch.zeros(1, 1, 1, 2), torch.full((1, 1, 1), 2), (16, 16))
    loss = HEATMAP_LOSSES[kind](logits, target_x, target_y, torch.ones(1, 1, 1, dtype=torch.bool))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def guide_gradient(logits: torch.Tensor, target_x: torch.Tensor, target_y: torch.Tensor) -> torch.Tensor:
    logits = logits.clone().requires_grad_()
    valid = torch.ones(logits.shape[:-2], dtype=torch.bool)
    starvation_guide(logits, target_x, target_y, valid).backward()
    assert logits.grad is not None
    return logits.grad


@given(seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_the_guide_is_the_divergence_times_the_share_of_the_target_that_is_missed(seed: int) -> None:
    logits, points, visibility = random_case(seed)
    target_x, target_y = target_factors(points, visibility, (9, 12))
    loss = starvation_guide(logits, target_x, target_y, visibility > 0)
    heatmaps = torch.softmax(logits.flatten(-2), -1).reshape(logits.shape).numpy()
    expected = []
    for place in np.ndindex(2, 3, 4):
        if visibility[place] > 0:
            target = slow_target(points[place].numpy(), int(visibility[place]), 9, 12)
            missed = np.maximum(target - heatmaps[place], 0).sum()
            expected.append(missed * slow_loss("kl", heatmaps[place], target))
    assert loss.item() == pytest.approx(np.mean(expected) if expected else 0, rel=1e-9)


@pytest.mark.parametrize("side", [16, 32, 64, 128])
def test_the_guide_keeps_the_gradient_of_flat_heatmaps_whatever_their_size(side: int) -> None:
    # Without it the gradient of mse is proportional to 1 / (h w).
    target_x, target_y = target_factors(torch.full((1, 2), side / 2), torch.tensor([2]), (side, side))
    flat = torch.zeros(1, side, side)
    target = target_y[..., :, None] * target_x[..., None, :]
    # A heatmap with a peak, a standard deviation beside the target's.
    beside_x, beside_y = gaussian_factors(torch.full((1, 2), side / 2 + 1.25), (side, side))
    peaked = (beside_y[..., :, None] * beside_x[..., None, :]).clamp(min=1e-30).log().requires_grad_()
    heatmap_mse(peaked, target_x, target_y, torch.ones(1, dtype=torch.bool)).backward()
    assert peaked.grad is not None
    alive = GUIDE_WEIGHT * guide_gradient(flat, target_x, target_y).norm()
    assert 0.1 < alive / peaked.grad.norm() < 10
    # It pulls towards the target: downhill means up where the target is above the heatmap.
    assert (guide_gradient(flat, target_x, target_y)[target > 2 / side**2] < 0).all()


def test_the_guide_fades_where_the_peak_is_right() -> None:
    target_x, target_y = target_factors(torch.tensor([[10.3, 7.6]]), torch.tensor([2]), (24, 24))
    target = (target_y[..., :, None] * target_x[..., None, :]).double()
    strengths = []
    for share in (0.0, 0.5, 0.9, 1.0):
        mixed = share * target + (1 - share) / 24**2
        strengths.append(guide_gradient(mixed.log(), target_x.double(), target_y.double()).norm().item())
    # Twice as near is a fourth of the pull: the divergence's gradient and its weight both shrink.
    assert strengths[1] == pytest.approx(strengths[0] / 4, rel=0.01)
    assert strengths[2] == pytest.approx(strengths[0] / 100, rel=0.02)
    assert strengths[3] == pytest.approx(0, abs=1e-6)


@given(x=st.floats(-1e4, 1e4), y=st.floats(-1e4, 1e4))
def test_targets_sum_to_one_wherever_the_label_is(x: float, y: float) -> None:
    along_x, along_y = gaussian_factors(torch.tensor([x, y]), (20, 30))
    assert along_x.sum().item() == pytest.approx(1, abs=1e-5)
    assert along_y.sum().item() == pytest.approx(1, abs=1e-5)


@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_reprojection_loss_is_the_heatmap_mse_of_its_gaussian(seed: int) -> None:
    # The scale of both losses is the same: the factored sum equals the sum over pixels.
    _, points, visibility = random_case(seed)
    reprojected = points + torch.randn(points.shape, dtype=points.dtype, generator=torch.Generator().manual_seed(seed))
    target_x, target_y = target_factors(points, visibility, (9, 12))
    along_x, along_y = gaussian_factors(reprojected, (9, 12))
    as_logits = (along_y[..., :, None] * along_x[..., None, :]).log()
    expected = heatmap_mse(as_logits, target_x, target_y, visibility == 2)
    actual = reprojection_heatmap_mse(reprojected, target_x, target_y, visibility == 2, size=(9, 12))
    assert actual.item() == pytest.approx(expected.item(), rel=1e-9, abs=1e-12)


def test_reprojection_loss_ignores_points_that_could_not_be_triangulated() -> None:
    _, points, visibility = random_case(3)
    visibility = torch.full_like(visibility, 2)
    target_x, target_y = target_factors(points, visibility, (9, 12))
    reprojected = (points + 1).requires_grad_()
    holes = torch.zeros(points.shape[:-1], dtype=torch.bool)
    holes[0, 0] = True
    with_holes = torch.where(holes[..., None], torch.nan, reprojected)
    loss = reprojection_heatmap_mse(with_holes, target_x, target_y, visibility == 2, size=(9, 12))
    loss.backward()
    without = reprojection_heatmap_mse(reprojected, target_x, target_y, (visibility == 2) & ~holes, size=(9, 12))
    assert loss.item() == pytest.approx(without.item())
    assert reprojected.grad is not None
    assert (reprojected.grad[0, 0] == 0).all()
    assert torch.isfinite(reprojected.grad).all()


def test_pairwise_loss_against_the_slow_reference() -> None:
    generator = torch.Generator().manual_seed(0)
    labeled = torch.randn(2, 3, 4, 3, dtype=torch.float64, generator=generator)
    predicted = labeled + 0.2 * torch.randn(2, 3, 4, 3, dtype=torch.float64, generator=generator)
    labeled[0, 1, 2] = torch.nan
    predicted[1, 0, 0] = torch.nan
    weights = torch.rand(2, 3, 4, dtype=torch.float64, generator=generator)
    weights[1, 2, 3] = 0
    loss = pairwise_projection_loss(predicted, labeled, weights, scale=2.0)
    total = weight_sum = 0.0
    for place in np.ndindex(2, 3, 4):
        squared = float((((predicted[place] - labeled[place]) / 2) ** 2).sum())
        if math.isfinite(squared):
            total += float(weights[place]) * squared
            weight_sum += float(weights[place])
    assert loss.item() == pytest.approx(total / weight_sum)


def test_pairwise_loss_is_zero_with_zero_gradient_where_predictions_equal_labels() -> None:
    labeled = torch.randn(1, 3, 4, 3)
    predicted = labeled.clone().requires_grad_()
    loss = pairwise_projection_loss(predicted, labeled, torch.ones(1, 3, 4))
    loss.backward()
    assert loss == 0
    assert predicted.grad is not None
    assert (predicted.grad == 0).all()


def test_one_poisoned_pair_does_not_poison_the_mean() -> None:
    labeled = torch.zeros(1, 3, 1, 3)
    predicted = torch.full((1, 3, 1, 3), 0.1)
    labeled[0, 1] = torch.nan
    predicted.requires_grad_()
    loss = pairwise_projection_loss(predicted, labeled, torch.ones(1, 3, 1))
    loss.backward()
    assert loss.item() == pytest.approx(0.03)
    assert predicted.grad is not None
    assert torch.isfinite(predicted.grad).all()
    assert (predicted.grad[0, 1] == 0).all()


def test_a_triangulation_that_is_far_off_counts_linearly() -> None:
    def loss(distance: float) -> float:
        predicted = torch.tensor([distance, 0, 0]).reshape(1, 1, 1, 3)
        return pairwise_projection_loss(predicted, torch.zeros(1, 1, 1, 3), torch.ones(1, 1, 1)).item()

    assert loss(0.5) == pytest.approx(0.25)
    assert loss(1.0) == pytest.approx(1.0)
    assert loss(100.0) == pytest.approx(199.0)


@pytest.mark.parametrize("poison", ["labels", "weights"])
def test_no_valid_pair_costs_nothing(poison: str) -> None:
    predicted = torch.randn(1, 3, 2, 3, requires_grad=True)
    labeled = torch.full((1, 3, 2, 3), torch.nan if poison == "labels" else 0.0)
    weights = torch.zeros(1, 3, 2) if poison == "weights" else torch.ones(1, 3, 2)
    loss = pairwise_projection_loss(predicted, labeled, weights)
    loss.backward()
    assert loss == 0
    assert predicted.grad is not None
    assert (predicted.grad == 0).all()


def test_every_heatmap_loss_can_be_chosen_and_has_a_scale() -> None:
    choices = get_args(get_type_hints(ModelConfig)["heatmap_loss_type"])
    assert set(choices) == set(HEATMAP_LOSSES) == set(GRADIENT_SCALES)
