import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mvtrain.model.decode import SIGMA, decode, heatmap_to_model, model_to_heatmap


def gaussian_logits(x: float, y: float, height: int, width: int, sigma: float = SIGMA) -> torch.Tensor:
    columns, rows = torch.arange(width).double(), torch.arange(height).double()
    return -0.5 * (((columns - x) / sigma) ** 2 + ((rows[:, None] - y) / sigma) ** 2)


@settings(max_examples=200)
@given(
    size=st.tuples(st.integers(12, 40), st.integers(12, 40)),
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
