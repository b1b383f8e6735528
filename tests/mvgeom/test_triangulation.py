import inspect
import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mvgeom
from helpers.errors import Expectation, raises_input
from helpers.geometry import moved_world, random_rig, random_rotation, slow_triangulate
from helpers.optional import double_tensor, torch
from mvgeom import (
    CameraGroup,
    covariance,
    pair_parallax,
    project,
    projected_covariance,
    rays,
    reprojection_error,
    triangulate,
    triangulate_pairs,
    triangulate_robust,
    undistort,
)

SEEDS = st.integers(0, 2**32 - 1)


def random_points(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.uniform(-0.8, 0.8, size=(*shape, 3))


def noisy(rng: np.random.Generator, points: np.ndarray, cams: CameraGroup, sigma: float = 1.0) -> np.ndarray:
    pixels = project(points, cams)
    return pixels + rng.normal(size=pixels.shape) * sigma


def in_line(*, apart: float = 0.2, facing: bool = False) -> CameraGroup:
    """Two cameras `apart` along z that look along z, or towards each other."""
    turned = np.diag([-1.0, 1.0, -1.0]) if facing else np.eye(3)
    return CameraGroup(
        names=("near", "far"),
        sizes=[[640, 480]] * 2,
        matrix=[[[500, 0, 320], [0, 500, 240], [0, 0, 1]]] * 2,
        distortion=[[]] * 2,
        rotation=[np.eye(3), turned],
        translation=[np.zeros(3), -turned @ np.array([0, 0, 10.0 if facing else -apart])],
    )


@pytest.mark.parametrize("num_views", [2, 3, 6])
@pytest.mark.parametrize("refine_steps", [0, 1, 2])
@settings(max_examples=10)
@given(seed=SEEDS)
def test_triangulate_inverts_project(num_views: int, refine_steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    fisheye = tuple(bool(flag) for flag in rng.integers(0, 2, num_views))
    cams, points = random_rig(rng, num_views, lens=14, fisheye=fisheye), random_points(rng, 2, 6)
    pixels = project(points, cams)
    np.testing.assert_allclose(triangulate(pixels, cams, refine_steps=refine_steps), points, rtol=0, atol=1e-10)
    for pair in np.moveaxis(triangulate_pairs(pixels, cams), -3, 0):
        np.testing.assert_allclose(pair, points, rtol=0, atol=1e-9)
    np.testing.assert_allclose(triangulate_robust(pixels, cams).points, points, rtol=0, atol=1e-10)


@settings(max_examples=25)
@given(seed=SEEDS)
def test_the_linear_solution_equals_a_singular_value_decomposition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cams, points = random_rig(rng, 4), random_points(rng, 2, 5)
    pixels, weights = noisy(rng, points, cams, 3.0), rng.uniform(0.1, 2, size=(2, 4, 5))
    pixels[0, 1, 2], weights[1, 3, 1], pixels[1, :3, 0] = np.nan, 0, np.nan
    found = triangulate(pixels, cams, weights, refine_steps=0)
    np.testing.assert_allclose(found, slow_triangulate(pixels, cams, weights), rtol=0, atol=1e-9)
    assert np.isnan(found[1, 0]).all()
    assert np.isnan(found).sum() == 3


@settings(max_examples=25)
@given(seed=SEEDS)
def test_pairs_equal_triangulation_from_two_views(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cams, points = random_rig(rng, 4), random_points(rng, 2, 5)
    pixels, weights = noisy(rng, points, cams, 3.0), rng.uniform(0.1, 2, size=(2, 4, 5))
    found = triangulate_pairs(pixels, cams, weights)
    assert found.shape == (2, 6, 5, 3)
    for row, pair in enumerate(itertools.combinations(range(4), 2)):
        two = cams.select([cams.names[view] for view in pair])
        expected = triangulate(pixels[:, list(pair)], two, weights[:, list(pair)], refine_steps=0)
        np.testing.assert_allclose(found[:, row], expected, rtol=0, atol=1e-9)


@settings(max_examples=25)
@given(seed=SEEDS)
def test_triangulation_moves_with_the_world(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cams, points = random_rig(rng, 3), random_points(rng, 6)
    pixels = noisy(rng, points, cams)
    rotation, shift, scale = random_rotation(rng), rng.normal(size=3) * 100, float(10 ** rng.uniform(-3, 3))
    moved = moved_world(cams, rotation, shift, scale)
    expected = scale * triangulate(pixels, cams) @ rotation.T + shift
    np.testing.assert_allclose(triangulate(pixels, moved), expected, rtol=0, atol=1e-9 * (scale + 100))
    expected = scale * triangulate_pairs(pixels, cams) @ rotation.T + shift
    np.testing.assert_allclose(triangulate_pairs(pixels, moved), expected, rtol=0, atol=1e-7 * (scale + 100))
    covariances = scale**2 * rotation @ covariance(points, cams) @ rotation.T
    np.testing.assert_allclose(
        covariance(scale * points @ rotation.T + shift, moved), covariances, rtol=1e-5, atol=1e-7 * scale**2
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_rig_far_from_the_origin_loses_only_the_digits_of_the_coordinates(dtype: type) -> None:
    rng = np.random.default_rng(0)
    cams, points = random_rig(rng, 4), random_points(rng, 50)
    pixels = noisy(rng, points, cams)
    expected = triangulate(pixels, cams)
    shift = np.array([1e5, -1e5, 1e5])
    moved = moved_world(cams, np.eye(3), shift, 1.0)
    found = triangulate(pixels.astype(dtype), moved)
    assert found.dtype == dtype
    np.testing.assert_allclose(found - shift, expected, rtol=0, atol=3e5 * np.finfo(dtype).eps)
    # Cameras stored in float32 are other cameras, 0.01 off; the solver still sees what they see.
    coarse = moved.to(dtype=np.float32)
    pixels = project(points + shift, coarse.to(dtype=np.float64))
    found = triangulate(pixels.astype(dtype), coarse)
    np.testing.assert_allclose(found, points + shift, rtol=0, atol=3e5 * np.finfo(np.float32).eps)


@settings(max_examples=25)
@given(seed=SEEDS)
def test_the_order_of_cameras_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cams, points = random_rig(rng, 4, fisheye=(False, True, False, False)), random_points(rng, 5)
    pixels = noisy(rng, points, cams)
    order = rng.permutation(4)
    shuffled = cams.select([cams.names[view] for view in order])
    np.testing.assert_allclose(triangulate(pixels[order], shuffled), triangulate(pixels, cams), rtol=0, atol=1e-9)
    straight, found = triangulate_robust(pixels, cams), triangulate_robust(pixels[order], shuffled)
    np.testing.assert_allclose(found.points, straight.points, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(found.inliers, straight.inliers[order])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_missing_observation_leaves_everything_else_bit_identical(dtype: type) -> None:
    rng = np.random.default_rng(1)
    cams = random_rig(rng, 4)
    pixels = noisy(rng, random_points(rng, 3, 7), cams).astype(dtype)
    holed = pixels.copy()
    holed[1, 2, 3] = np.nan
    whole, found = triangulate(pixels, cams), triangulate(holed, cams)
    others = np.ones((3, 7), dtype=bool)
    others[1, 3] = False
    np.testing.assert_array_equal(found[others], whole[others])
    assert np.isfinite(found).all()
    assert (found[1, 3] != whole[1, 3]).any()
    whole, found = triangulate_pairs(pixels, cams), triangulate_pairs(holed, cams)
    for row, pair in enumerate(itertools.combinations(range(4), 2)):
        np.testing.assert_array_equal(found[:, row][others], whole[:, row][others])
        if 2 in pair:
            assert np.isnan(found[1, row, 3]).all()
        else:
            np.testing.assert_array_equal(found[1, row, 3], whole[1, row, 3])


def test_weight_zero_or_nan_removes_an_observation_as_nan_coordinates_do() -> None:
    rng = np.random.default_rng(2)
    cams = random_rig(rng, 3)
    pixels = noisy(rng, random_points(rng, 4), cams)
    holed, weights = pixels.copy(), np.ones((3, 4))
    holed[1, 2] = np.nan
    holed[0, 3, 1] = np.nan
    weights[1, 2], weights[0, 3] = 0, np.nan
    np.testing.assert_array_equal(triangulate(pixels, cams, weights), triangulate(holed, cams))
    np.testing.assert_array_equal(triangulate_pairs(pixels, cams, weights), triangulate_pairs(holed, cams))
    np.testing.assert_array_equal(
        triangulate_robust(pixels, cams, weights).points, triangulate_robust(holed, cams).points
    )


def test_fewer_than_two_observations_give_nan() -> None:
    cams = random_rig(np.random.default_rng(3), 3)
    pixels = project(np.zeros((4, 3)), cams)
    pixels[1:, 1], pixels[:, 2], pixels[2, 3] = np.nan, np.nan, np.nan
    found = triangulate(pixels, cams)
    np.testing.assert_array_equal(np.isnan(found[:, 0]), [False, True, True, False])
    assert np.isnan(triangulate(pixels[:1], cams.select(["view0"]))).all()
    assert np.isnan(triangulate_robust(pixels, cams).points[1:3]).all()


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("batch", [(), (2,), (1, 2)])
def test_leading_dimensions_are_a_loop(batch: tuple[int, ...], library: str) -> None:
    rng = np.random.default_rng(4)
    cams = random_rig(rng, 3, fisheye=(False, True, False))
    pixels = noisy(rng, random_points(rng, *batch, 5), cams)
    weights = rng.uniform(0.5, 1, size=(*batch, 3, 5))
    flat, flat_weights = pixels.reshape(-1, 3, 5, 2), weights.reshape(-1, 3, 5)
    if library == "torch":
        args, rig = (torch.tensor(pixels), torch.tensor(weights)), cams.to(like=double_tensor())
    else:
        args, rig = (pixels, weights), cams
    for function in (triangulate, triangulate_pairs):
        expected = np.stack([function(part, cams, weight) for part, weight in zip(flat, flat_weights, strict=True)])
        found = np.asarray(function(args[0], rig, args[1]))
        np.testing.assert_allclose(found, expected.reshape(*batch, *expected.shape[1:]), rtol=0, atol=1e-10)
    expected = np.stack([triangulate_robust(part, cams).points for part in flat])
    found = np.asarray(triangulate_robust(args[0], rig).points)
    np.testing.assert_allclose(found, expected.reshape(*batch, 5, 3), rtol=0, atol=1e-10)


def test_a_batch_of_rigs_is_a_loop_over_rigs() -> None:
    rng = np.random.default_rng(5)
    rigs = [random_rig(rng, 3, lens=length) for length in (4, 5, 8)]
    stacked, points = CameraGroup.stack(rigs), random_points(rng, 3, 4)
    pixels = noisy(rng, points, stacked)
    for function in (triangulate, triangulate_pairs, pair_parallax):
        expected = [function(part, rig) for part, rig in zip(pixels, rigs, strict=True)]
        np.testing.assert_allclose(function(pixels, stacked), expected, rtol=0, atol=1e-9)
    expected = [covariance(part, rig) for part, rig in zip(points, rigs, strict=True)]
    np.testing.assert_allclose(covariance(points, stacked), expected, rtol=1e-9)


@settings(max_examples=15)
@given(seed=SEEDS)
def test_refinement_lowers_the_reprojection_error_to_its_minimum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Cameras at uneven distances: the linear solution favors the far ones.
    cams, points = random_rig(rng, 4, distance=(2.5, 20.0), focal=(600.0, 2000.0)), random_points(rng, 8)
    pixels, weights = noisy(rng, points, cams, 2.0), rng.uniform(0.2, 1, size=(4, 8))

    def cost(world: np.ndarray) -> np.ndarray:
        return np.sum(weights * reprojection_error(world, pixels, cams) ** 2, axis=0)

    costs = [cost(triangulate(pixels, cams, weights, refine_steps=steps)) for steps in (0, 1, 2, 10)]
    for before, after in itertools.pairwise(costs):
        assert (after <= before * 1.001 + 1e-9).all()
    np.testing.assert_allclose(costs[2], costs[3], rtol=1e-3, atol=1e-6)
    best = triangulate(pixels, cams, weights, refine_steps=10)
    for direction in np.eye(3):
        for step in (-1e-3, 1e-3):
            assert (cost(best + step * direction) >= costs[3] * (1 - 1e-6)).all()


def test_one_step_is_one_step_and_reaches_the_optimum() -> None:
    rng = np.random.default_rng(11)
    cams, points = random_rig(rng, 4, distance=(2.5, 20.0), focal=(600.0, 2000.0)), random_points(rng, 200)
    pixels = noisy(rng, points, cams, 2.0)
    costs = [
        np.sum(reprojection_error(triangulate(pixels, cams, refine_steps=steps), pixels, cams) ** 2)
        for steps in (0, 1, 2, 10)
    ]
    linear, one, two, best = (cost - costs[-1] for cost in costs)
    assert best == 0
    assert one < 0.1 * linear
    assert two < 0.1 * one
    assert triangulate(pixels, cams).tolist() == triangulate(pixels, cams, refine_steps=1).tolist()


def test_no_step_raises_the_reprojection_error_of_contradictory_observations() -> None:
    rng = np.random.default_rng(35)
    # Fisheye cameras next to the subject and far from it: an unguarded step raises the error of several in a hundred.
    cams, points = random_rig(rng, 4, fisheye=True, distance=(1.2, 20.0), focal=(300, 600)), random_points(rng, 2000)
    pixels = noisy(rng, points, cams, 100.0)
    # A pixel that no ray maps to takes no part.
    pixels = np.where(np.isfinite(undistort(pixels, cams)), pixels, np.nan)
    costs = []
    for steps in range(4):
        error = reprojection_error(triangulate(pixels, cams, refine_steps=steps), pixels, cams)
        costs.append(np.nansum(error**2, axis=0))
    for before, after in itertools.pairwise(costs):
        assert (after <= before * 1.001).all()


def test_covariance_is_what_noise_does_to_the_points() -> None:
    rng = np.random.default_rng(6)
    cams, points = random_rig(rng, 4, distance=(3.0, 12.0)), random_points(rng, 3)
    sigma = np.array([0.5, 1.0, 1.5, 2.0])[:, None] * np.ones((4, 3))
    pixels = project(points, cams) + sigma[..., None] * rng.normal(size=(4000, 4, 3, 2))
    spread = triangulate(pixels, cams, 1 / sigma**2, refine_steps=2) - points
    empirical = np.einsum("nki,nkj->kij", spread, spread) / len(spread)
    expected = covariance(points, cams, sigma)
    np.testing.assert_allclose(empirical, expected, rtol=0, atol=0.08 * np.abs(expected).max())
    np.testing.assert_allclose(covariance(points, cams, 2.0), 4 * covariance(points, cams), rtol=1e-12)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_projected_covariance_is_what_uncertain_points_do_to_their_projections(library: str) -> None:
    rng = np.random.default_rng(16)
    cams, points = random_rig(rng, 3, lens=5, distance=(3.0, 12.0)), random_points(rng, 2)
    factor = rng.normal(size=(2, 3, 3)) * 1e-3
    covariances = factor @ np.swapaxes(factor, -1, -2)
    moved = points + np.einsum("kij,nkj->nki", factor, rng.normal(size=(20000, 2, 3)))
    spread = project(moved, cams) - project(points, cams)
    empirical = np.einsum("nvki,nvkj->vkij", spread, spread) / len(spread)
    if library == "torch":
        like = double_tensor()
        found = projected_covariance(torch.tensor(points), torch.tensor(covariances), cams.to(like=like)).numpy()
    else:
        found = projected_covariance(points, covariances, cams)
    np.testing.assert_allclose(empirical, found, rtol=0, atol=0.05 * np.abs(found).max())


def test_projected_covariance_is_missing_where_the_projection_is() -> None:
    rng = np.random.default_rng(17)
    cams, points = in_line(), random_points(rng, 3)
    points[0, 2], points[1] = -5.0, np.nan  # behind the cameras; missing
    found = projected_covariance(points, np.tile(np.eye(3), (3, 1, 1)), cams)
    np.testing.assert_array_equal(np.isnan(found).all((-2, -1)), np.isnan(project(points, cams)).any(-1))


def test_covariance_counts_only_views_that_saw_the_point() -> None:
    rng = np.random.default_rng(7)
    cams, points = random_rig(rng, 3), random_points(rng, 2)
    observed = np.array([[True, True], [True, False], [False, False]])
    found = covariance(points, cams, observed=observed)
    two = cams.select(["view0", "view1"])
    np.testing.assert_allclose(found[0], covariance(points, two)[0], rtol=1e-9)
    assert np.isnan(found[1]).all()
    assert np.isnan(covariance(np.full((1, 3), np.nan), cams)).all()


def test_one_view_has_no_covariance_and_two_have() -> None:
    """The determinant of one view's information is 0 but for rounding, which is positive for every other point."""
    rng = np.random.default_rng(8)
    cams, points = random_rig(rng, 3), random_points(rng, 500)
    for view in range(3):
        observed = np.arange(3)[:, None] == view
        assert np.isnan(covariance(points, cams, observed=np.broadcast_to(observed, (3, 500)))).all()
        assert np.isfinite(covariance(points, cams, observed=np.broadcast_to(~observed, (3, 500)))).all()


def test_parallax_is_the_angle_between_viewing_lines() -> None:
    rng = np.random.default_rng(8)
    cams, points = random_rig(rng, 3), random_points(rng, 4)
    pixels = project(points, cams)
    pixels[1, 2] = np.nan
    found = pair_parallax(pixels, cams)
    _, directions = rays(pixels, cams)
    for row, (i, j) in enumerate(itertools.combinations(range(3), 2)):
        cosine = np.abs(np.sum(directions[i] * directions[j], axis=-1))
        np.testing.assert_allclose(found[row], np.degrees(np.arccos(cosine)), rtol=0, atol=1e-6)
    assert np.isnan(found[[0, 2], 2]).all()
    assert np.isfinite(found[1]).all()


@pytest.mark.parametrize("facing", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_too_little_parallax_gives_nan(facing: bool, dtype: type) -> None:
    cams = in_line(facing=facing)
    points = np.array([[0.0, 0.0, 5.0], [0.5, 0.5, 5.0], [1.5, 1.5, 5.0]])
    pixels = project(points, cams).astype(dtype)
    angles = pair_parallax(pixels, cams)[0]
    assert angles[0] < 1e-3
    assert (np.diff(angles) > 0.1).all()
    assert (angles <= 90).all()
    for function in (triangulate, lambda *args, **kwargs: triangulate_pairs(*args, **kwargs)[0]):
        assert np.isnan(function(pixels, cams)[0]).all()
        for index in (1, 2):
            kept = function(pixels, cams, min_parallax_deg=float(angles[index]) * 0.99)[index]
            np.testing.assert_allclose(kept, points[index], rtol=0, atol=1e-3 if dtype == np.float32 else 1e-9)
            assert np.isnan(function(pixels, cams, min_parallax_deg=float(angles[index]) * 1.01)[index]).all()


def test_one_pair_with_parallax_is_enough() -> None:
    line = in_line()
    aside = in_line().replace(translation=np.array([[0.0, 0, 0], [-3, 0, 0]])).select(["far"]).replace(names=("aside",))
    three = CameraGroup(
        names=(*line.names, *aside.names),
        **{
            field: np.concatenate([getattr(line, field), getattr(aside, field)])
            for field in ("sizes", "matrix", "distortion", "rotation", "translation")
        },
    )
    points = np.array([[0.0, 0.0, 5.0]])
    np.testing.assert_allclose(triangulate(project(points, three), three), points, rtol=0, atol=1e-10)
    pairs = triangulate_pairs(project(points, three), three)
    assert np.isnan(pairs[0]).all()
    np.testing.assert_allclose(pairs[1:, 0], [points[0]] * 2, rtol=0, atol=1e-9)


def test_reprojection_error_is_a_distance_in_pixels() -> None:
    rng = np.random.default_rng(9)
    cams, points = random_rig(rng, 3), random_points(rng, 2, 4)
    pixels = project(points, cams)
    shifted = pixels + np.array([3.0, -4.0])
    shifted[1, 2, 3] = np.nan
    found = reprojection_error(points, shifted, cams)
    assert found.shape == (2, 3, 4)
    assert np.isnan(found[1, 2, 3])
    np.testing.assert_allclose(found[np.isfinite(found)], 5.0, rtol=0, atol=1e-9)
    exact = torch.tensor(points, requires_grad=True)
    reprojection_error(exact, torch.tensor(pixels), cams.to(like=double_tensor())).sum().backward()
    assert torch.isfinite(exact.grad).all()


@settings(max_examples=15)
@given(seed=SEEDS)
def test_robust_triangulation_finds_the_outlier_views(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cams, points = random_rig(rng, 5), random_points(rng, 6)
    pixels = noisy(rng, points, cams, 0.5)
    outliers = np.zeros((5, 6), dtype=bool)
    for keypoint in range(6):
        outliers[rng.choice(5, size=rng.integers(0, 3), replace=False), keypoint] = True
    angle = rng.uniform(0, 2 * np.pi, size=(5, 6, 1))
    wrong = pixels + rng.uniform(60, 200, size=(5, 6, 1)) * np.concatenate([np.cos(angle), np.sin(angle)], axis=-1)
    pixels = np.where(outliers[..., None], wrong, pixels)
    # An outlier along its epipolar lines may agree with one other view by chance; three views never do.
    result = triangulate_robust(pixels, cams, threshold=8.0)
    clean = triangulate(np.where(outliers[..., None], np.nan, pixels), cams, refine_steps=2)
    agree = (result.inliers == ~outliers).all(axis=0)
    assert agree.mean() >= 0.8
    np.testing.assert_allclose(result.points[agree], clean[agree], rtol=0, atol=1e-9)
    np.testing.assert_allclose(result.error, reprojection_error(result.points, pixels, cams), rtol=0, atol=1e-9)
    assert (result.error[result.inliers] <= 8.0 * 1.5).all()


def test_inliers_are_looked_up_around_the_point_all_of_them_agree_on() -> None:
    rng = np.random.default_rng(19)
    cams, points = random_rig(rng, 5, distance=(3.0, 9.0)), random_points(rng, 400)
    result = triangulate_robust(noisy(rng, points, cams, 2.0), cams, threshold=6.0)
    # The pair that won leaves one observation in a thousand on the wrong side of the threshold.
    assert ((result.error <= 6.0) == result.inliers).mean() > 0.9995


def test_two_views_that_contradict_each_other_give_nan() -> None:
    rng = np.random.default_rng(10)
    cams = random_rig(rng, 2)
    pixels = project(np.zeros((2, 3)), cams)
    pixels[0, 1, 1] += 80
    result = triangulate_robust(pixels, cams, threshold=10.0)
    assert np.isfinite(result.points[0]).all()
    assert np.isnan(result.points[1]).all()
    np.testing.assert_array_equal(result.inliers, [[True, False], [True, False]])


def test_golden_opencv_triangulate_points() -> None:
    rng = np.random.default_rng(11)
    cams, points = random_rig(rng, 2), random_points(rng, 20)
    pixels = project(points, cams)
    poses = np.concatenate([cams.rotation, cams.translation[..., None]], axis=-1)
    normalized = undistort(pixels, cams)
    homogeneous = cv2.triangulatePoints(poses[0], poses[1], normalized[0].T.copy(), normalized[1].T.copy())
    np.testing.assert_allclose(triangulate(pixels, cams), (homogeneous[:3] / homogeneous[3]).T, rtol=0, atol=1e-9)


@pytest.mark.parametrize("function", [triangulate, triangulate_pairs])
def test_gradients_equal_finite_differences(function: object) -> None:
    rng = np.random.default_rng(12)
    cams = random_rig(rng, 3, lens=14, fisheye=(False, True, False)).to(like=double_tensor())
    pixels = torch.tensor(noisy(rng, random_points(rng, 1), cams.to(like=np.zeros(0))))
    weights = torch.tensor(rng.uniform(0.5, 1, size=(3, 1)))

    def solve(pixels: torch.Tensor, weights: torch.Tensor, *fields: torch.Tensor) -> torch.Tensor:
        matrix, distortion, rotation, translation = fields
        rig = cams.replace(matrix=matrix, distortion=distortion, rotation=rotation, translation=translation)
        return function(pixels, rig, weights)

    inputs = (pixels, weights, cams.matrix, cams.distortion, cams.rotation, cams.translation)
    inputs = tuple(value.clone().requires_grad_() for value in inputs)
    assert torch.autograd.gradcheck(solve, inputs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("function", [triangulate, triangulate_pairs, lambda *args: triangulate_robust(*args).points])
def test_gradients_are_finite_and_zero_where_missing(function: object, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(13)
    cams = random_rig(rng, 3)
    pixels = torch.tensor(noisy(rng, random_points(rng, 5), cams), dtype=dtype)
    weights = torch.ones(3, 5, dtype=dtype)
    pixels[0, 0], pixels[:2, 1], weights[2, 2], weights[0, 3] = torch.nan, torch.nan, 0, torch.nan
    pixels[1, 4] = 1e7
    pixels, weights = pixels.requires_grad_(), weights.requires_grad_()
    function(pixels, cams.to(like=pixels.detach()), weights).nansum().backward()
    gone = torch.zeros(3, 5, dtype=torch.bool)
    gone[0, 0], gone[:, 1], gone[2, 2], gone[0, 3], gone[1, 4] = True, True, True, True, True
    for gradient in (pixels.grad.abs().sum(-1), weights.grad):
        assert torch.isfinite(gradient).all()
        assert (gradient[gone] == 0).all()
    assert (pixels.grad[~gone].abs().sum(-1) > 0).all()


def test_a_loss_that_is_nan_somewhere_does_not_poison_the_gradient() -> None:
    rng = np.random.default_rng(14)
    cams = random_rig(rng, 3).to(like=torch.zeros(0))
    pixels = torch.tensor(project(np.zeros((2, 3)), cams.to(like=np.zeros(0))), dtype=torch.float32)
    pixels[:2, 0] = torch.nan
    pixels.requires_grad_()
    world = triangulate(pixels, cams)
    world.sum().backward()
    assert torch.isnan(world[0]).all()
    assert torch.isfinite(pixels.grad).all()
    assert (pixels.grad[:, 0] == 0).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
def test_triangulation_compiles_into_one_graph() -> None:
    rng = np.random.default_rng(15)
    cams = random_rig(rng, 3).to(like=torch.zeros(0))
    pixels = project(torch.tensor(random_points(rng, 4), dtype=torch.float32), cams)

    @torch.compile(backend="eager", fullgraph=True)
    def both(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return triangulate(pixels, cams), triangulate_pairs(pixels, cams)

    for found, expected in zip(both(pixels), (triangulate(pixels, cams), triangulate_pairs(pixels, cams)), strict=True):
        torch.testing.assert_close(found, expected)


def test_autocast_does_not_coarsen_anything() -> None:
    rng = np.random.default_rng(16)
    cams = random_rig(rng, 3).to(like=torch.zeros(0))
    points = torch.tensor(random_points(rng, 4), dtype=torch.float32)
    pixels = project(points, cams)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(project(points, cams), pixels, rtol=0, atol=0)
        torch.testing.assert_close(triangulate(pixels, cams), triangulate(pixels, cams.to()), rtol=0, atol=0)
        torch.testing.assert_close(triangulate(pixels, cams), points, rtol=0, atol=1e-5)
        torch.testing.assert_close(triangulate_pairs(pixels, cams)[0], points, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (
            lambda cams: triangulate(np.zeros((2, 4, 2)), cams),
            raises_input("wrong-shape", argument="points", found=(2, 4, 2)),
        ),
        (
            lambda cams: triangulate_pairs(np.zeros((1, 4, 2)), cams.select(["view1"])),
            raises_input("too-few-views", found=1, expected=2),
        ),
        (
            lambda cams: triangulate_robust(np.zeros((3, 4, 2)), cams, threshold=0.0),
            raises_input("out-of-range", argument="threshold"),
        ),
        (lambda cams: triangulate(torch.zeros(3, 4, 2), cams), raises_input("wrong-array")),
        (
            lambda cams: covariance(np.zeros((4, 2)), cams),
            raises_input("wrong-shape", argument="points_3d", found=(4, 2)),
        ),
    ],
)
def test_messages(call: object, expected: Expectation) -> None:
    with expected:
        call(random_rig(np.random.default_rng(17), 3))


def observing() -> list[str]:
    """Names of the public functions whose required arguments are observations, cameras and world points."""
    names = []
    for name in mvgeom.__all__:
        function = getattr(mvgeom, name)
        if not inspect.isfunction(function):
            continue
        required = {each.name for each in inspect.signature(function).parameters.values() if each.default is each.empty}
        if {"points", "cams"} <= required <= {"points", "cams", "points_3d"}:
            names.append(name)
    return names


@pytest.mark.parametrize("name", observing())
def test_observations_of_another_number_of_views_are_refused(name: str) -> None:
    cams, function = random_rig(np.random.default_rng(18), 3), getattr(mvgeom, name)
    others = {"points_3d": np.zeros((4, 3))} if "points_3d" in inspect.signature(function).parameters else {}
    for views in (1, 2, 4):
        with raises_input("wrong-shape", found=(views, 4, 2)):
            function(points=np.zeros((views, 4, 2)), cams=cams, **others)


def test_a_tenth_of_a_degree_of_parallax_is_enough_by_default() -> None:
    angles = np.array([0.09, 0.11])
    cams = random_rig(np.random.default_rng(19), 2, lens=0).replace(
        rotation=[np.eye(3)] * 2, translation=[[0.0, 0.0, 0.0], [-0.1, 0.0, 0.0]]
    )
    points = np.stack([np.full(2, 0.05), np.zeros(2), 0.05 / np.tan(np.radians(angles / 2))], axis=-1)
    pixels = project(points, cams)
    robust = triangulate_robust(pixels, cams).points
    for found in (triangulate(pixels, cams), robust, triangulate_pairs(pixels, cams)[0]):
        assert np.isfinite(found).all(-1).tolist() == [False, True]


@pytest.mark.parametrize(("shift", "is_inlier"), [(7.0, True), (14.0, False)])
def test_ten_pixels_separate_outliers_by_default(shift: float, is_inlier: bool) -> None:
    rng = np.random.default_rng(20)
    cams, points = random_rig(rng, 5, lens=0), random_points(rng, 6)
    pixels = project(points, cams)
    pixels[0, :, 0] += shift
    assert (triangulate_robust(pixels, cams).inliers[0] == is_inlier).all()


def test_robust_triangulation_leaves_observations_of_weight_0_out_like_missing_ones() -> None:
    rng = np.random.default_rng(21)
    cams, points = random_rig(rng, 5, lens=0), random_points(rng, 6)
    pixels, weights = project(points, cams) + rng.normal(size=(5, 6, 2)), rng.uniform(0.5, 1.0, (5, 6))
    weights[0] = 0.0
    missing = np.where((weights > 0)[..., None], pixels, np.nan)
    found, expected = triangulate_robust(pixels, cams, weights), triangulate_robust(missing, cams, weights)
    np.testing.assert_allclose(found.points, expected.points, rtol=0, atol=1e-12)
    assert found.inliers.tolist() == expected.inliers.tolist() == [[False] * 6] + [[True] * 6] * 4
    unweighted = triangulate_robust(missing, cams)
    assert not unweighted.inliers[0].any()
    assert np.isnan(unweighted.error[0]).all()
