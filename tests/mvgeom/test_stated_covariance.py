"""Points by covariances of the observations: the least possible error, and nothing else than weights where alike."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.boards import arc_of_cameras
from helpers.errors import raises_input
from mvgeom import project, projected_covariance, projection_jacobian, reconstruct
from mvgeom.stated_covariance import mean_precision, refine_by_covariance

RIG = arc_of_cameras(4)


def scene(seed: int, num_rows: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """World points (N, 3, 3), observations (N, V, 3, 2) and their covariances (N, V, 3, 2, 2), long and turned."""
    random = np.random.default_rng(seed)
    world = random.uniform(-0.2, 0.2, (num_rows, 3, 3)) + np.array([0, 0, 1.5])
    exact = project(world, RIG)
    angle, sizes = random.uniform(0, np.pi, exact.shape[:-1]), random.uniform(0.3, 4.0, exact.shape)
    axis = np.stack([np.cos(angle), np.sin(angle)], -1)
    other = np.stack([-np.sin(angle), np.cos(angle)], -1)
    factor = np.stack([axis * sizes[..., :1], other * sizes[..., 1:]], -1)
    noise = (factor @ random.normal(size=(*exact.shape, 1)))[..., 0]
    return world, exact + noise, factor @ factor.swapaxes(-1, -2)


def test_errors_are_those_that_covariances_promise() -> None:
    world, points, covariances = scene(0)
    found = reconstruct(points, RIG, method="refined", noise=1.0, covariances=covariances)
    standardized = (found.points - world) / found.std
    assert np.sqrt(np.mean(standardized**2)) == pytest.approx(1, abs=0.05)
    alike = reconstruct(points, RIG, method="refined", noise=1.0, weights=mean_precision(covariances))
    assert np.mean((found.points - world) ** 2) < 0.9 * np.mean((alike.points - world) ** 2)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from(["robust", "refined", "linear"]))
def test_equal_variances_along_all_directions_are_weights(seed: int, method: str) -> None:
    _, points, _ = scene(seed, 5)
    weights = np.random.default_rng(seed).uniform(0.2, 3.0, points.shape[:-1])
    weights[0, 1, 0] = 0
    covariances = np.full((*points.shape, 2), np.nan)
    covariances[weights > 0] = np.eye(2) / weights[weights > 0][:, None, None]
    one = reconstruct(points, RIG, method=method, noise=2.0, weights=weights)  # type: ignore[arg-type]
    other = reconstruct(points, RIG, method=method, noise=2.0, covariances=covariances)  # type: ignore[arg-type]
    np.testing.assert_allclose(other.points, one.points, atol=1e-6)
    np.testing.assert_allclose(other.std, one.std, rtol=1e-4)
    np.testing.assert_array_equal(other.num_views, one.num_views)
    np.testing.assert_allclose(other.error, one.error, atol=1e-3)


@given(st.integers(0, 10_000), st.floats(0.01, 100))
@settings(max_examples=20)
def test_the_unit_of_the_world_changes_nothing_else(seed: int, unit: float) -> None:
    _, points, covariances = scene(seed, 5)
    scaled = RIG.replace(translation=RIG.translation * unit)
    one = reconstruct(points, RIG, covariances=covariances)
    other = reconstruct(points, scaled, covariances=covariances)
    np.testing.assert_allclose(other.points, one.points * unit, rtol=1e-5, atol=1e-7 * unit)
    np.testing.assert_allclose(other.std, one.std * unit, rtol=1e-5)


def test_a_point_that_is_not_observed_twice_is_missing() -> None:
    _, points, covariances = scene(1, 5)
    covariances[0, :3] = np.nan
    covariances[1, 1:, 0] = -np.eye(2)
    points[2, :, 1] = np.nan
    found = reconstruct(points, RIG, covariances=covariances)
    missing = ~np.isfinite(found.points).all(-1)
    assert missing[0].all()
    assert missing[1, 0]
    assert missing[2, 1]
    assert missing.sum() == 5
    assert np.isfinite(found.std[~missing]).all()


def test_no_point_without_depth() -> None:
    world, points, covariances = scene(1, 1)
    used = np.zeros(points.shape[1:3], dtype=bool)
    used[0] = True
    moved, spread = refine_by_covariance(world[0], points[0], RIG, covariances[0], used)
    assert np.isnan(moved).all()
    assert np.isnan(spread).all()


def test_jacobian_is_that_of_the_projection() -> None:
    world = scene(2, 3)[0]
    jacobian, step = projection_jacobian(world, RIG), 1e-5
    for axis in range(3):
        shift = step * np.eye(3)[axis]
        difference = (project(world + shift, RIG) - project(world - shift, RIG)) / (2 * step)
        np.testing.assert_allclose(jacobian[..., axis], difference, rtol=1e-5, atol=1e-3)
    unit = np.broadcast_to(np.eye(3), (*world.shape, 3))
    np.testing.assert_allclose(projected_covariance(world, unit, RIG), jacobian @ jacobian.swapaxes(-1, -2))
    world[0, 0] = np.nan
    assert np.isnan(projection_jacobian(world, RIG)[0, :, 0]).all()


def test_wrong_arguments_are_refused() -> None:
    _, points, covariances = scene(3, 2)
    with raises_input("wrong-shape", argument="covariances"):
        reconstruct(points, RIG, covariances=covariances[:1])
    with raises_input("excluded-options", other="covariances"):
        reconstruct(points, RIG, weights=np.ones(points.shape[:-1]), covariances=covariances)
