"""Arrays as other programs hand them over: masked, of the other byte order, wider than float64, of objects."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import mvgeom
from helpers.geometry import CameraGroup, random_rig
from mvgeom.calibration import Chessboard, from_points

Keypoints = Callable[[np.ndarray, CameraGroup], np.ndarray]

FUNCTIONS: dict[str, Keypoints] = {
    "triangulate": mvgeom.triangulate,
    "triangulate_robust": lambda points, cams: mvgeom.triangulate_robust(points, cams).points,
    "triangulate_pairs": mvgeom.triangulate_pairs,
    "reconstruct": lambda points, cams: mvgeom.reconstruct(points, cams).points,
    "undistort": mvgeom.undistort,
    "boxes.from_keypoints": lambda points, cams: mvgeom.boxes.from_keypoints(points),
}
"""Functions of keypoints (N, V, K, 2) and their cameras."""


@pytest.fixture(scope="module")
def recording() -> tuple[np.ndarray, CameraGroup]:
    """Keypoints (6, 3, 2, 2) of three cameras, of which one is 80 px beside its place."""
    cams = random_rig(np.random.default_rng(0), num_views=3)
    world = np.random.default_rng(1).uniform(-0.2, 0.2, (6, 2, 3))
    points = mvgeom.project(world, cams)
    points[2, 1, 0] += 80
    return points, cams


@pytest.mark.parametrize("name", FUNCTIONS)
def test_masked_keypoints_are_missing(name: str, recording: tuple[np.ndarray, CameraGroup]) -> None:
    points, cams = recording
    missing = points.copy()
    missing[2, 1, 0] = np.nan
    masked = np.ma.masked_array(points, mask=np.isnan(missing))
    found = FUNCTIONS[name](masked, cams)
    assert not isinstance(found, np.ma.MaskedArray)
    np.testing.assert_array_equal(found, FUNCTIONS[name](missing, cams))


@pytest.mark.parametrize("dtype", [">f8", ">f4", np.longdouble, object])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_numbers_of_any_layout_are_read(name: str, dtype: type, recording: tuple[np.ndarray, CameraGroup]) -> None:
    points, cams = recording
    points = points.astype(np.float32)
    found = FUNCTIONS[name](points.astype(dtype), cams)
    np.testing.assert_allclose(found, FUNCTIONS[name](points, cams), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", ["triangulate", "robust", "reconstruct"])
def test_masked_weights_remove_keypoints(method: str, recording: tuple[np.ndarray, CameraGroup]) -> None:
    points, cams = recording
    weights = np.ones(points.shape[:3])
    weights[2, 1, 0] = np.nan
    masked = np.ma.masked_array(np.ones(points.shape[:3]), mask=np.isnan(weights))
    function = {
        "triangulate": lambda each: mvgeom.triangulate(points, cams, each),
        "robust": lambda each: mvgeom.triangulate_robust(points, cams, each).points,
        "reconstruct": lambda each: mvgeom.reconstruct(points, cams, weights=each).points,
    }[method]
    np.testing.assert_array_equal(function(masked), function(weights))
    np.testing.assert_array_equal(function(weights.tolist()), function(weights))


def test_masked_corners_of_a_board_are_missing() -> None:
    board = Chessboard(columns=3, rows=4, square_size=1.0)
    points = np.ma.masked_array(np.ones((1, 2, 12, 2)), mask=False)
    points[0, 1] = np.ma.masked
    assert from_points(("cam",), np.array([[100.0, 100]]), board, points).seen.tolist() == [[True, False]]
