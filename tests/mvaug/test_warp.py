"""Warping: positions to 0.05 px, averaging where an image shrinks."""

from __future__ import annotations

import cv2
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings

from helpers.errors import raises_input
from mvaug.warp import shrink_factors, warp_image

seeds = st.integers(0, 2**32 - 1)


def blob(size: tuple[int, int], center: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """A Gaussian of light on black, (H, W, 3) uint8."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    offset = np.stack([x - center[0], y - center[1]], axis=-1)
    light = 250 * np.exp(-0.5 * np.einsum("...i,ij,...j", offset, np.linalg.inv(covariance), offset))
    return np.repeat(np.rint(light).astype(np.uint8)[..., None], 3, axis=2)


def centroid(image: np.ndarray) -> np.ndarray:
    light = image[..., 0].astype(np.float64)
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    return np.array([(light * x).sum(), (light * y).sum()]) / light.sum()


def placing(linear: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The (2, 3) map with this linear part that takes source to target."""
    return np.column_stack([linear, target - linear @ source])


def rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def error_of_a_blob(linear: np.ndarray, covariance: np.ndarray, seed: int) -> np.ndarray:
    """(2,) px by which the centroid of a warped blob misses where the map puts its center."""
    generator = np.random.default_rng(seed)
    source_size = tuple(int(n) for n in generator.integers(300, 420, 2))
    source = np.array(source_size) / 2 + generator.uniform(-8, 8, 2)
    target = np.array([100.0, 90.0]) + generator.uniform(-10, 10, 2)
    image = blob(source_size, source, covariance)
    return centroid(warp_image(image, placing(linear, source, target), (200, 180))) - target


any_linear_map = given(
    angle=st.floats(-np.pi, np.pi), scale_x=st.floats(0.15, 2.0), scale_y=st.floats(0.15, 2.0), seed=seeds
)
# Shrinks x by 6.4 and leaves y: a blob of 10 px becomes 1.6 px wide and stays 10 px high.
ANISOTROPIC = {"angle": 0.015625, "scale_x": 0.15625, "scale_y": 1.0, "seed": 0}


@any_linear_map
@example(**ANISOTROPIC)
@settings(max_examples=60, deadline=None)
def test_a_blob_lands_where_the_map_says(angle, scale_x, scale_y, seed):
    """Blobs that are round in the output, 5 px there, whatever the map makes of the source's axes."""
    linear = rotation(angle) @ np.diag([scale_x, scale_y])
    error = error_of_a_blob(linear, 25 * np.linalg.inv(linear.T @ linear), seed)
    np.testing.assert_allclose(error, 0, atol=0.03)


@any_linear_map
@example(**ANISOTROPIC)
@settings(max_examples=60, deadline=None)
def test_an_elongated_shape_is_off_by_what_bilinear_interpolation_costs(angle, scale_x, scale_y, seed):
    """Blobs that are round in the source: the output's are up to 13 times as long as wide, and down to 1.5 px wide.

    Bilinear interpolation leaves the part sinc(f)^2 of the spectrum's first image at f cycles per source px. Resampled
    near 1:1 that is a ripple of relative amplitude d^2 exp(-2 (pi w d)^2), w the width in px and d = |1 - f|, at most
    1 / (2 e (pi w)^2). Where the grids are turned against each other, the two images' ripple runs along the shape, and
    moves the centroid of a shape of length l by at most 2 exp(-1/2) l times that: 0.0226 l / w^2 px.
    """
    linear = rotation(angle) @ np.diag([scale_x, scale_y])
    variances, axes = np.linalg.eigh(100 * linear @ linear.T)
    width, length = np.sqrt(variances)
    along = np.abs(axes.T @ error_of_a_blob(linear, 100 * np.eye(2), seed))
    assert along[0] <= 0.05
    assert along[1] <= 0.03 + 0.0226 * length / width**2


def test_opencv_alone_is_as_far_off_on_the_elongated_shape():
    """The same output shape from a map that averages nothing, in float64: the interpolation, not the averaging."""
    x, y = np.meshgrid(np.arange(300), np.arange(320))
    source, target = np.array([150.3, 160.8]), np.array([100.4, 91.2])
    light = 250 * np.exp(-((x - source[0]) ** 2) / (2 * (10 / 6) ** 2) - (y - source[1]) ** 2 / (2 * 10**2))
    matrix = placing(rotation(0.015625) @ np.diag([6 * 0.15625, 1.0]), source, target)
    assert shrink_factors(matrix) == (1, 1)
    warped = cv2.warpAffine(light, matrix, (200, 180), flags=cv2.INTER_LINEAR)
    assert 0.02 < abs(centroid(warped[..., None])[1] - target[1]) < 0.03 + 0.0226 * 10 / 1.5625**2


def test_resizing_follows_the_pixel_convention():
    """x becomes (x + 0.5) s - 0.5: the same as OpenCV's area resize by a whole factor."""
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    matrix = np.array([[0.25, 0, 0.5 * 0.25 - 0.5], [0, 0.25, 0.5 * 0.25 - 0.5]])
    expected = cv2.resize(image, (40, 30), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(warp_image(image, matrix, (40, 30)), expected)


def test_outside_is_black_and_fades_over_one_pixel():
    image = np.full((10, 10, 3), 200, dtype=np.uint8)
    warped = warp_image(image, np.array([[1, 0, 5.5], [0, 1, 0.0]]), (20, 10))
    assert (warped[:, :5] == 0).all()
    assert (warped[:, 5] == 100).all()
    assert (warped[:, 6:15] == 200).all()
    assert (warped[:, 16:] == 0).all()


def test_shrinking_averages_instead_of_aliasing():
    """A fine checkerboard becomes gray, not moiré."""
    board = ((np.indices((512, 640)).sum(0) % 2) * 255).astype(np.uint8)
    image = np.repeat(board[..., None], 3, axis=2)
    matrix = placing(rotation(0.1) * 0.3, np.array([319.5, 255.5]), np.array([63.5, 63.5]))
    smooth = warp_image(image, matrix, (128, 128))[30:98, 30:98]
    assert smooth.std() < 12
    assert warp_image(image, matrix, (128, 128), antialias=False)[30:98, 30:98].std() > 30


@pytest.mark.parametrize(
    ("scale", "expected"), [(2.0, 1), (1.0, 1), (0.51, 1), (0.5, 2), (0.34, 2), (1 / 3, 3), (0.1, 10)]
)
def test_averaging_starts_at_a_factor_of_two(scale, expected):
    assert shrink_factors(placing(rotation(0.7) * scale, np.zeros(2), np.zeros(2))) == (expected, expected)


@given(seed=seeds)
@settings(max_examples=40, deadline=None)
def test_reading_only_the_visible_part_changes_nothing(seed):
    """The averaged path cuts out what the output shows; against averaging the whole image."""
    generator = np.random.default_rng(seed)
    image = generator.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    linear = rotation(generator.uniform(-0.5, 0.5)) * 0.45
    matrix = placing(linear, generator.uniform(0, 240, 2), np.array([20.0, 20.0]))
    small = cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA)
    from_small = np.column_stack([matrix[:, :2] * 2, matrix[:, 2] + matrix[:, :2] @ [0.5, 0.5]])
    expected = warp_image(small, from_small, (40, 40), antialias=False)
    np.testing.assert_allclose(warp_image(image, matrix, (40, 40)).astype(int), expected, atol=1)


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 200, 3), (200, 3, 3), (50, 60), (50, 60, 1)])
@pytest.mark.parametrize("scale", [0.1, 1.0, 7.0])
def test_any_shape_is_accepted_and_kept(shape, scale):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    warped = warp_image(image, np.array([[scale, 0, 0], [0, scale, 0.0]]), (32, 24))
    assert warped.shape == (24, 32, *shape[2:])
    assert warped.dtype == np.uint8


def test_an_image_far_outside_the_output_is_black():
    image = np.full((64, 64, 3), 255, dtype=np.uint8)
    for scale in (0.2, 1.0):
        assert not warp_image(image, np.array([[scale, 0, 1e5], [0, scale, -1e5]]), (16, 16)).any()


IMAGE = np.zeros((20, 30, 3), np.uint8)


@pytest.mark.parametrize(
    ("code", "image", "matrix", "size"),
    [
        ("wrong-array", IMAGE / 255, np.eye(2, 3), (15, 10)),
        ("wrong-array", IMAGE.tolist(), np.eye(2, 3), (15, 10)),
        ("wrong-array", IMAGE[:0], np.eye(2, 3), (15, 10)),
        ("wrong-shape", IMAGE, np.eye(3), (15, 10)),
        ("out-of-range", IMAGE, np.eye(2, 3), (15, 0)),
        ("out-of-range", IMAGE, np.eye(2, 3), (15.5, 10)),
    ],
)
def test_what_cannot_be_warped_is_refused(code, image, matrix, size):
    with raises_input(code):
        warp_image(image, matrix, size)
