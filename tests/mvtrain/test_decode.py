import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.rigs import make_batch, ring
from mvtrain.losses.heatmap import target_factors
from mvtrain.model.decode import SIGMA, decode, heatmap_covariance, heatmap_to_model, model_to_heatmap
from mvtrain.model.inference import to_prediction


def gaussian_logits(x: float, y: float, height: int, width: int, sigma: float = SIGMA) -> torch.Tensor:
    columns, rows = torch.arange(width).double(), torch.arange(height).double()
    return -0.5 * (((columns - x) / sigma) ** 2 + ((rows[:, None] - y) / sigma) ** 2)


def correlated_logits(x: float, y: float, height: int, width: int, covariance: torch.Tensor) -> torch.Tensor:
    columns, rows = torch.meshgrid(torch.arange(width).double(), torch.arange(height).double(), indexing="xy")
    offset = torch.stack([columns - x, rows - y], dim=-1)
    return -0.5 * torch.einsum("...i,ij,...j->...", offset, torch.linalg.inv(covariance), offset)


@settings(max_examples=200)
@given(
    size=st.tuples(st.integers(4, 40), st.integers(4, 40)),
    where=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_gaussian_anywhere_is_decoded_without_bias(size: tuple[int, int], where: tuple[float, float]) -> None:
    height, width = size
    # From the outer edge of the first pixel to the outer edge of the last.
    x, y = where[0] * width - 0.5, where[1] * height - 0.5
    points, confidence = decode(gaussian_logits(x, y, height, width))
    assert points.tolist() == pytest.approx([x, y], abs=0.002)
    assert confidence > 0.99


def test_a_flat_background_does_not_move_the_point() -> None:
    peak = torch.softmax(gaussian_logits(5.3, 6.2, 64, 64).flatten(), -1)
    heatmap = 0.3 * peak + 0.7 / 64**2
    points, confidence = decode(heatmap.log().reshape(64, 64))
    assert points.tolist() == pytest.approx([5.3, 6.2], abs=0.15)
    assert 0.3 < confidence < 0.35


def test_confidence_is_low_for_flat_and_for_ambiguous_heatmaps() -> None:
    flat = decode(torch.zeros(64, 64))[1]
    two_peaks = torch.logaddexp(gaussian_logits(10, 10, 64, 64), gaussian_logits(50, 40, 64, 64))
    assert flat < 0.03
    assert decode(two_peaks)[1] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("x", "y"), [(10.2, 7.7), (-0.4, 3.0), (19.3, 19.4)])
def test_gradient_matches_finite_differences(x: float, y: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = gaussian_logits(x, y, 20, 20) + 0.05 * torch.randn(20, 20, generator=generator).double()
    logits.requires_grad_()
    decode(logits)[0].sum().backward()
    assert logits.grad is not None
    step = torch.randn(20, 20, generator=generator).double()
    with torch.no_grad():
        ahead, behind = (decode(logits + sign * 1e-2 * step)[0].sum().double() for sign in (1, -1))
    assert (logits.grad * step).sum().item() == pytest.approx(((ahead - behind) / 2e-2).item(), rel=0.02)


def test_gradients_are_finite_for_any_logits() -> None:
    logits = (100 * torch.randn(50, 16, 16, generator=torch.Generator().manual_seed(0))).requires_grad_()
    decode(logits)[0].square().sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@given(factor=st.integers(1, 3), x=st.floats(-10, 500))
def test_heatmap_px_and_model_px_are_inverse(factor: int, x: float) -> None:
    point = torch.tensor([x, 2 * x], dtype=torch.float64)
    torch.testing.assert_close(heatmap_to_model(model_to_heatmap(point, factor), factor), point)


def test_heatmap_pixels_cover_the_model_pixels_below_them() -> None:
    # Heatmap pixel 0 at factor 2 covers model pixels 0 to 3, whose middle is 1.5.
    assert heatmap_to_model(torch.zeros(2), 2).tolist() == [1.5, 1.5]


@settings(max_examples=60)
@given(factor=st.integers(1, 3), where=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_label_comes_back_from_its_target_at_any_downsample_factor(factor: int, where: tuple[float, float]) -> None:
    # The existing system is off by 1 heatmap px at factor 3 and by 3 px near borders.
    height, width, stride = 96, 128, 2**factor
    label = torch.tensor([where[0] * width - 0.5, where[1] * height - 0.5], dtype=torch.float64)
    size = (height // stride, width // stride)
    target_x, target_y = target_factors(model_to_heatmap(label, factor), torch.tensor(2), size)
    points, _ = decode((target_y[:, None] * target_x).log())
    torch.testing.assert_close(heatmap_to_model(points.double(), factor), label, atol=0.05 * stride, rtol=0)


def test_confidence_falls_with_the_share_of_mass_elsewhere() -> None:
    peak = torch.softmax(gaussian_logits(20, 20, 64, 64).flatten(), -1)
    confidences = [
        decode(((1 - share) * peak + share / 64**2).log().reshape(64, 64))[1].item() for share in (0, 0.2, 0.5, 1.0)
    ]
    assert confidences == sorted(confidences, reverse=True)
    assert confidences[0] > 0.99
    assert confidences[-1] < 0.03


@settings(max_examples=60)
@given(where=st.tuples(st.floats(0, 1), st.floats(0, 1)), size=st.tuples(st.integers(9, 40), st.integers(9, 40)))
def test_covariance_of_a_target_is_its_width_also_at_the_border(
    where: tuple[float, float], size: tuple[int, int]
) -> None:
    height, width = size
    logits = gaussian_logits(where[0] * width - 0.5, where[1] * height - 0.5, height, width)
    covariance = heatmap_covariance(logits, decode(logits)[0])
    torch.testing.assert_close(covariance, SIGMA**2 * torch.eye(2), atol=0.01, rtol=0)


@settings(max_examples=60)
@given(
    widths=st.tuples(st.floats(1.0, 2.2), st.floats(1.0, 2.2)),
    correlation=st.floats(-0.7, 0.7),
    offset=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
)
def test_covariance_of_a_known_gaussian(
    widths: tuple[float, float], correlation: float, offset: tuple[float, float]
) -> None:
    (a, b), mixed = widths, correlation * widths[0] * widths[1]
    expected = torch.tensor([[a**2, mixed], [mixed, b**2]], dtype=torch.float64)
    logits = correlated_logits(30 + offset[0], 25 + offset[1], 48, 64, expected)
    covariance = heatmap_covariance(logits, decode(logits)[0]).double()
    torch.testing.assert_close(covariance, expected, atol=0.01 * max(a, b) ** 2, rtol=0)


def test_covariance_is_of_the_peak_and_not_of_the_whole_heatmap() -> None:
    peak = torch.softmax(gaussian_logits(20.3, 30.1, 64, 64).flatten(), -1)
    second = torch.softmax(gaussian_logits(55, 8, 64, 64).flatten(), -1)
    logits = (0.7 * peak + 0.3 * second).log().reshape(64, 64)
    covariance = heatmap_covariance(logits, decode(logits)[0])
    torch.testing.assert_close(covariance, SIGMA**2 * torch.eye(2), atol=0.01, rtol=0)


def test_covariance_of_any_heatmap_is_finite_symmetric_and_not_negative() -> None:
    logits = 100 * torch.randn(50, 16, 12, generator=torch.Generator().manual_seed(0))
    logits[0] = 0
    covariance = heatmap_covariance(logits, decode(logits)[0])
    assert torch.isfinite(covariance).all()
    assert torch.equal(covariance, covariance.mT)
    assert (torch.linalg.eigvalsh(covariance) > -1e-5).all()


def test_a_prediction_carries_its_covariance_in_model_px() -> None:
    batch = make_batch(np.random.default_rng(0).uniform(-1, 1, (2, 5, 3)), ring(3))
    size = (32, 32)
    target_x, target_y = target_factors(model_to_heatmap(batch.points, 1), batch.visibility, size)
    prediction = to_prediction((target_y[..., :, None] * target_x[..., None, :]).log(), batch, 1)
    covariance = prediction.model_covariance
    assert covariance.shape == (*batch.visibility.shape, 2, 2)
    torch.testing.assert_close(
        covariance, (2 * SIGMA) ** 2 * torch.eye(2, dtype=covariance.dtype).expand_as(covariance), atol=0.05, rtol=0
    )
    torch.testing.assert_close(prediction.model_points.double(), batch.points, atol=0.02, rtol=0)
