"""Factors of standard deviations from views that are left out."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.errors import raises_input
from helpers.geometry import random_rig
from mvgeom import CameraGroup, project
from mvgeom.left_out import deviation_factor


def observed(seed: int, num_views: int = 4, num_points: int = 800) -> tuple[np.ndarray, CameraGroup]:
    """Observations with a noise of 1.5 px, and their cameras."""
    rng = np.random.default_rng(seed)
    rig = random_rig(rng, num_views)
    world = rng.uniform(-0.5, 0.5, (num_points, 3))
    return project(world, rig) + rng.normal(0, 1.5, (num_views, num_points, 2)), rig


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), num_views=st.integers(3, 5), stated=st.sampled_from([1.0, 1.25, 1.5]))
def test_a_noise_stated_too_small_is_made_up_for(seed: int, num_views: int, stated: float) -> None:
    points, rig = observed(seed, num_views)
    found = deviation_factor(points, rig, np.full(points.shape[:2], stated))
    # What lies beyond 4 stated deviations is taken for an outlier and does not count: of a noise of 1.5 times the
    # stated one, 3 %, all of it from the tail that the factor is read from.
    assert 0.8 < found * stated / 1.5 < 1.1


def test_errors_that_one_view_keeps_are_seen() -> None:
    points, rig = observed(1)
    points[2] += [4.0, 1.5]
    right = deviation_factor(points, rig, np.full(points.shape[:2], 1.5))
    assert right > 1.2


def test_wild_observations_do_not_count() -> None:
    points, rig = observed(2)
    wild = points.copy()
    wild[1, ::10] += 300
    noise = np.full(points.shape[:2], 1.5)
    assert deviation_factor(wild, rig, noise) < 1.15


def test_without_enough_data_nothing_is_changed() -> None:
    points, rig = observed(3, num_points=40)
    assert deviation_factor(points, rig, np.full(points.shape[:2], 0.1)) == 1.0
    points, rig = observed(3, num_views=2)
    assert deviation_factor(points, rig, np.full(points.shape[:2], 0.1)) == 1.0
    points, rig = observed(3)
    assert deviation_factor(points * np.nan, rig, np.full(points.shape[:2], 0.1)) == 1.0
    assert deviation_factor(points, rig, np.full(points.shape[:2], np.nan)) == 1.0
    with raises_input("wrong-shape", argument="points"):
        deviation_factor(points[:3], rig, np.full((3, points.shape[1]), 1.0))
