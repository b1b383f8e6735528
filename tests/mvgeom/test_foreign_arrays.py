"""Arrays as other programs hand them over: masked, of the other byte order, wider than float64, lists, tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import mvgeom
from helpers.errors import raises_input
from helpers.geometry import CameraGroup, random_rig
from mvgeom.calibration import Chessboard, axes_from_points, floor_from_points, from_points, match_points

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

AFFINE, BOXES = np.array([[[1.5, 0.1, 3.0], [-0.1, 1.4, 2.0]]]), np.array([[1.0, 2, 3, 4], [2, 2, 6, 3]])

RIG = random_rig(np.random.default_rng(0), num_views=3)
PLACES = np.array([[0.0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0.1, 0.1, 0.02]])
COVARIANCES = np.tile(np.diag([1e-4, 2e-4, 3e-4]), (4, 1, 1))

OTHERS: dict[str, tuple[Callable[[object], np.ndarray], np.ndarray]] = {
    "boxes.clip": (lambda given: mvgeom.boxes.clip(given, (4, 5)), BOXES),
    "boxes.with_aspect": (lambda given: mvgeom.boxes.with_aspect(given, 1.2), BOXES),
    "boxes.iou": (lambda given: mvgeom.boxes.iou(given, given), BOXES),
    "boxes.smooth": (lambda given: mvgeom.boxes.smooth(given, sigma=1.0), BOXES),
    "affine.apply": (lambda given: mvgeom.affine.apply(given, [[[1.0, 2.0]]]), AFFINE),
    "affine.compose": (lambda given: mvgeom.affine.compose(given, given), AFFINE),
    "affine.invert": (mvgeom.affine.invert, AFFINE),
    "affine.to_3x3": (mvgeom.affine.to_3x3, AFFINE),
    "affine.from_3x3": (mvgeom.affine.from_3x3, mvgeom.affine.to_3x3(AFFINE)),
    "affine.from_box": (lambda given: mvgeom.affine.from_box(given, (8, 8)), BOXES),
    "affine.resize": (lambda given: mvgeom.affine.resize(given, (8, 8)), BOXES[:, 2:]),
    "affine.translate": (mvgeom.affine.translate, BOXES[:, :2]),
    "projected_covariance": (lambda given: mvgeom.projected_covariance(PLACES, given, RIG), COVARIANCES),
    "match_points": (lambda given: match_points(given, PLACES).rotation, PLACES[::-1].copy()),
    "match_points, positions": (lambda given: match_points(PLACES, given).rotation, PLACES[::-1].copy()),
    "axes_from_points": (lambda given: axes_from_points(PLACES[0], PLACES[1], given).rotation, PLACES[3]),
    "floor_from_points": (lambda given: floor_from_points(given, RIG).rotation, PLACES),
}
"""Functions of other arrays, with an array."""


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


@pytest.mark.parametrize("name", [*FUNCTIONS, *OTHERS])
def test_lists_are_as_good_as_arrays_and_what_is_neither_is_named(
    name: str, recording: tuple[np.ndarray, CameraGroup]
) -> None:
    points, cams = recording
    function, array = OTHERS[name] if name in OTHERS else (lambda given: FUNCTIONS[name](given, cams), points)
    np.testing.assert_array_equal(function(array.tolist()), function(array))
    table = pd.DataFrame(array.reshape(-1, array.shape[-1]))
    for wrong, code in [(table, "wrong-array"), ("points.csv", "wrong-array"), ([[1.0, 2.0], [3.0]], "bad-number")]:
        with raises_input(code):
            function(wrong)


@pytest.mark.parametrize("name", ["projected_covariance", "match_points", "axes_from_points", "floor_from_points"])
def test_arrays_of_another_shape_are_named(name: str) -> None:
    function, array = OTHERS[name]
    with raises_input("wrong-shape"):
        function(array[..., :2])


@pytest.mark.parametrize("field", ["sizes", "matrix", "distortion", "rotation", "translation"])
def test_cameras_take_lists_and_name_what_is_neither(field: str, recording: tuple[np.ndarray, CameraGroup]) -> None:
    cams = recording[1]
    array = getattr(cams, field)
    np.testing.assert_array_equal(getattr(cams.replace(**{field: array.tolist()}), field), array)
    table = pd.DataFrame(array.reshape(len(cams), -1))
    for wrong, code in [(table, "wrong-array"), ("rig.toml", "wrong-array"), ([["a"]] * len(cams), "bad-number")]:
        with raises_input(code, argument=field):
            cams.replace(**{field: wrong})


def test_lists_beside_cameras_of_torch_become_tensors(recording: tuple[np.ndarray, CameraGroup]) -> None:
    torch = pytest.importorskip("torch")
    points, cams = recording
    like = torch.zeros(1, dtype=torch.float32)
    found = mvgeom.triangulate(points.tolist(), cams.to(like=like))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), mvgeom.triangulate(points, cams), atol=1e-4)


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
