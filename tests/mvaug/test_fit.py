"""Closed-form fits: exact where the points say so, defined where they do not, the same in NumPy and torch."""

from __future__ import annotations

import cv2
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from helpers.errors import raises_input
from mvaug.fit import fit_affine, fit_residual, fit_similarity

FITS = [fit_similarity, fit_affine]
coordinates = st.floats(-500, 500, allow_nan=False, width=32)
seeds = st.integers(0, 2**32 - 1)


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ np.swapaxes(matrix[..., :2], -1, -2) + matrix[..., None, :, 2]


def random_affine(generator: np.random.Generator) -> np.ndarray:
    return np.column_stack([np.eye(2) + generator.uniform(-0.7, 0.7, (2, 2)), generator.uniform(-200, 200, 2)])


def general_points(generator: np.random.Generator, count: int) -> np.ndarray:
    """A cloud with a fat triangle in it."""
    base = np.array([[0.0, 0], [100, 10], [20, 90]])
    return np.concatenate([base, generator.uniform(-100, 150, (count - 3, 2))]) + generator.uniform(-800, 800, 2)


@given(seed=seeds, count=st.integers(3, 20))
@settings(max_examples=60, deadline=None)
def test_affine_recovers_any_affine_from_general_points(seed, count):
    generator = np.random.default_rng(seed)
    matrix, source = random_affine(generator), general_points(generator, count)
    np.testing.assert_allclose(fit_affine(source, apply(matrix, source)), matrix, atol=1e-8)


@given(seed=seeds, count=st.integers(2, 20), fit=st.sampled_from(FITS))
@settings(max_examples=60, deadline=None)
def test_both_fits_recover_any_similarity_from_two_points_on(seed, count, fit):
    generator = np.random.default_rng(seed)
    a, b = generator.uniform(-1, 1, 2) + 0.1
    matrix = np.array([[a, -b, 30.0], [b, a, -70.0]])
    source = np.concatenate([[[0, 0], [50, 20]], generator.uniform(-100, 100, (count - 2, 2))])
    np.testing.assert_allclose(fit(source, apply(matrix, source)), matrix, atol=1e-9)


@given(seed=seeds, count=st.integers(4, 12))
@settings(max_examples=40, deadline=None)
def test_similarity_is_the_weighted_least_squares_optimum(seed, count):
    """Against a slow readable reference: the normal equations of a, b, tx, ty solved by lstsq."""
    generator = np.random.default_rng(seed)
    source, target = generator.normal(0, 100, (2, count, 2))
    weights = generator.uniform(0.1, 2, count)
    x, y, zero, one = source[:, 0], source[:, 1], np.zeros(count), np.ones(count)
    rows = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    root = np.sqrt(np.concatenate([weights, weights]))
    a, b, tx, ty = np.linalg.lstsq(rows * root[:, None], target.T.reshape(-1) * root, rcond=None)[0]
    np.testing.assert_allclose(fit_similarity(source, target, weights=weights), [[a, -b, tx], [b, a, ty]], atol=1e-8)


@given(seed=seeds, count=st.integers(4, 12))
@settings(max_examples=40, deadline=None)
def test_affine_of_a_round_cloud_is_the_weighted_least_squares_optimum(seed, count):
    generator = np.random.default_rng(seed)
    source = general_points(generator, count)
    target = generator.normal(0, 100, (count, 2))
    weights = generator.uniform(0.5, 2, count)
    rows = np.column_stack([source, np.ones(count)]) * np.sqrt(weights)[:, None]
    expected = np.linalg.lstsq(rows, target * np.sqrt(weights)[:, None], rcond=None)[0].T
    np.testing.assert_allclose(fit_affine(source, target, weights=weights), expected, atol=1e-6)


@pytest.mark.parametrize("fit", FITS)
def test_no_point_gives_the_identity(fit):
    points = np.full((4, 2), np.nan)
    np.testing.assert_array_equal(fit(points, points, np.zeros(4, dtype=bool)), np.eye(2, 3))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("count", [1, 5])
def test_points_at_one_place_give_the_translation(fit, count):
    source = np.full((count, 2), 1234.5678)
    target = source + np.random.default_rng(0).normal(0, 3, (count, 2))
    expected = np.column_stack([np.eye(2), (target - source).mean(0)])
    np.testing.assert_allclose(fit(source, target), expected, atol=1e-9)


@given(seed=seeds, count=st.integers(2, 10))
@settings(max_examples=40, deadline=None)
def test_affine_of_points_on_a_line_is_the_similarity(seed, count):
    generator = np.random.default_rng(seed)
    along = np.concatenate([[0.0, 100.0], generator.uniform(0, 100, count - 2)])
    direction = generator.normal(size=2)
    source = along[:, None] * direction / np.linalg.norm(direction) + 300
    target = apply(np.array([[0.9, -0.3, 5], [0.3, 0.9, 8.0]]), source)
    np.testing.assert_allclose(fit_affine(source, target), fit_similarity(source, target), atol=1e-7)


def test_a_sliver_follows_the_similarity_instead_of_a_wild_shear():
    source = np.array([[0.0, 0], [50, 0.5], [100, 0]])
    target = source + np.array([[0, 0], [0, 3.0], [0, 0]])
    free = np.linalg.solve(np.column_stack([source, np.ones(3)]), target).T
    assert abs(free[1, 1]) > 6
    shrunk = fit_affine(source, target)
    assert abs(shrunk[1, 1] - 1) < 0.1
    assert abs(shrunk[0, 1]) < 0.1


def test_shrinking_sets_in_smoothly():
    """As a triangle flattens the map must not jump: neighboring heights give neighboring maps."""
    heights = np.geomspace(0.01, 60, 4000)
    source = np.zeros((len(heights), 3, 2))
    source[:, 1, 0] = 50
    source[:, 2, 0] = 100
    source[:, 1, 1] = heights
    target = source * np.array([1.1, 0.8])
    assert np.abs(np.diff(fit_affine(source, target)[:, :, :2], axis=0)).max() < 5e-3


def test_shrinking_sets_in_without_a_kink():
    """Next to the height at which it sets in, the map differs from least squares by the square of the distance."""
    source = np.array([[0.0, 0], [50, 0], [100, 0]])
    target = np.array([[0.0, 0], [57, 3], [100, 5]])

    def deviation(height):
        flat = source.copy()
        flat[1, 1] = height
        goal = target.copy()
        goal[1, 1] += 2 * height
        free = np.linalg.solve(np.column_stack([flat, np.ones(3)]), goal).T
        return np.abs(fit_affine(flat, goal) - free).max()

    low, high = 0.01, 200.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if deviation(middle) > 1e-9 else (low, middle)
    assert 0.1 < low < 100
    ratio = deviation(low * (1 - 2e-2)) / deviation(low * (1 - 1e-2))
    assert 3.6 < ratio < 4.6


@given(seed=seeds, fit=st.sampled_from(FITS), dtype=st.sampled_from([np.float32, np.float64]))
@settings(max_examples=40, deadline=None)
def test_masked_points_have_no_influence_whatever_they_hold(seed, fit, dtype):
    generator = np.random.default_rng(seed)
    source, target = generator.normal(0, 100, (2, 3, 6, 2)).astype(dtype)
    mask = generator.random((3, 6)) < 0.7
    result = fit(np.where(mask[..., None], source, np.nan), np.where(mask[..., None], target, np.inf), mask)
    assert result.dtype == dtype
    assert np.isfinite(result).all()
    for index in range(3):
        kept = mask[index]
        np.testing.assert_allclose(
            result[index],
            fit(source[index][kept], target[index][kept]),
            rtol=1e-3 if dtype == np.float32 else 1e-8,
            atol=1e-2 if dtype == np.float32 else 1e-8,
        )


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("batch", [(), (2,), (1, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_equals_numpy(fit, batch, dtype):
    generator = np.random.default_rng(0)
    source, target = generator.normal(0, 100, (2, *batch, 7, 2))
    mask = generator.random((*batch, 7)) < 0.8
    weights = generator.uniform(0.1, 1, (*batch, 7))
    tensors = [torch.as_tensor(array, dtype=dtype) for array in (source, target)]
    result = fit(*tensors, torch.as_tensor(mask), weights=torch.as_tensor(weights, dtype=dtype))
    assert result.dtype == dtype
    assert result.shape == (*batch, 2, 3)
    expected = fit(source, target, mask, weights=weights)
    np.testing.assert_allclose(
        result.numpy(), expected, **({"rtol": 1e-9} if dtype == torch.float64 else {"atol": 2e-3})
    )
    residual = fit_residual(result, *tensors, torch.as_tensor(mask))
    np.testing.assert_allclose(residual.numpy(), fit_residual(expected, source, target, mask), rtol=1e-4)


@pytest.mark.parametrize("fit", FITS)
def test_gradients_are_exact(fit):
    generator = torch.Generator().manual_seed(0)
    source, target = (torch.randn(2, 5, 2, dtype=torch.float64, generator=generator, requires_grad=True) for _ in "pq")
    # The second set is flat, so that the shrinking is part of what is checked.
    flat = torch.tensor([[[1.0, 1.0]], [[1.0, 0.05]]], dtype=torch.float64)
    weights = torch.rand(2, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p, q, w: fit(p * flat, q, weights=w), (source, target, weights))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("num_valid", [0, 1, 2, 3])
def test_gradients_at_missing_points_are_zero_and_never_nan(fit, num_valid):
    source, target = np.random.default_rng(1).normal(0, 50, (2, 5, 2))
    source[num_valid:], target[num_valid:] = np.nan, np.nan
    source, target = (torch.tensor(points, requires_grad=True) for points in (source, target))
    mask = torch.arange(5) < num_valid
    matrix = fit(source, target, mask)
    (matrix.sum() + fit_residual(matrix, source, target, mask)).backward()
    for points in (source, target):
        assert torch.isfinite(points.grad).all()
        assert (points.grad[num_valid:] == 0).all()


@given(points=hnp.arrays(np.float64, (6, 2), elements=coordinates), fit=st.sampled_from(FITS))
@settings(max_examples=60, deadline=None)
def test_unmoved_points_give_the_identity(points, fit):
    """Whatever the cloud: general, flat, coincident."""
    matrix = fit(points, points)
    np.testing.assert_allclose(apply(matrix, points), points, atol=1e-6)
    assert fit_residual(matrix, points, points) < 1e-6


def test_residual_is_the_root_mean_square_distance():
    source = np.zeros((3, 2))
    target = np.array([[3.0, 4.0], [0, 0], [np.nan, 7]])
    mask = np.array([True, True, False])
    assert fit_residual(np.eye(2, 3), source, target, mask) == pytest.approx(np.sqrt(12.5))
    assert fit_residual(np.eye(2, 3), source, target, np.zeros(3, dtype=bool)) == 0


def test_similarity_agrees_with_opencv_on_clean_pairs():
    generator = np.random.default_rng(5)
    source = generator.uniform(0, 600, (17, 2))
    target = apply(np.array([[1.1, -0.4, 20], [0.4, 1.1, -50.0]]), source)
    expected, _ = cv2.estimateAffinePartial2D(source, target)
    np.testing.assert_allclose(fit_similarity(source, target), expected, atol=1e-4)


POINTS = np.array([[0.0, 0], [10, 0], [0, 10], [7, 8]])


@pytest.mark.parametrize("fit", FITS)
def test_lists_and_whole_numbers_are_points(fit):
    expected = fit(POINTS, 2 * POINTS)
    for points in (POINTS.tolist(), POINTS.astype(int)):
        np.testing.assert_allclose(fit(points, 2 * POINTS, [True] * 4, weights=[1] * 4), expected, atol=1e-12)
    assert fit_residual(expected.tolist(), POINTS.tolist(), (2 * POINTS).astype(int)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("wrong-shape", (POINTS[:, :1], POINTS)),
        ("wrong-shape", (POINTS, POINTS[:3])),
        ("wrong-shape", (POINTS, POINTS, [True])),
        ("bad-number", ([["a", 1]], POINTS[:1])),
        ("wrong-array", (POINTS, torch.tensor(POINTS))),
    ],
)
def test_points_that_do_not_fit_each_other_are_refused(code, arguments):
    for function in (fit_similarity, fit_affine, lambda *rest: fit_residual(np.eye(2, 3), *rest)):
        with raises_input(code):
            function(*arguments)


def test_a_matrix_that_is_no_affine_map_is_refused():
    with raises_input("wrong-shape", argument="matrix"):
        fit_residual(np.eye(3), POINTS, POINTS)


def test_a_missing_point_that_counts_has_no_residual():
    """Not 0, which is that of a perfect fit."""
    missing = np.where([[False], [True], [False], [False]], np.nan, POINTS)
    assert np.isnan(fit_residual(np.eye(2, 3), missing, POINTS))
    assert fit_residual(np.eye(2, 3), missing, POINTS, np.isfinite(missing).all(-1)) == 0
