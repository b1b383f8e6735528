"""Geometry of clicks against brute force: epipolar curves, projections with their covariance, and who disagrees."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from helpers.rigs import ring
from helpers.tiny import generate_tiny_project
from mvgeom import CameraGroup, affine, project, rays, triangulate
from mvtrain.label.geometry import (
    CLICK_NOISE,
    DISAGREEMENT,
    LEAST_NOISE,
    ClickNoise,
    FrameRig,
    compare_views,
    epipolar_curves,
    estimate_noise,
    squared_residuals,
)
from mvtrain.label.journal import JOURNAL_FOLDER
from mvtrain.label.run_label import project_config
from mvtrain.label.store import LabelStore

SIZE = 1000


def fisheye_ring(num_views: int) -> CameraGroup:
    cameras = ring(num_views, size=SIZE)
    return cameras.replace(distortion=np.tile([0.05, -0.01, 0.0, 0.0], (num_views, 1)), fisheye=(True,) * num_views)


def rig_of(cameras: CameraGroup, *, cropped: bool = False) -> FrameRig:
    """Images that are whole, or crops of another size per view."""
    count = len(cameras)
    boxes = np.tile([0.0, 0.0, SIZE, SIZE], (count, 1))
    sizes = np.full((count, 2), float(SIZE))
    if cropped:
        boxes = np.stack([[150.0 + 10 * view, 200, 600 + 20 * view, 500] for view in range(count)])
        sizes = np.stack([[300.0, 250.0 + 10 * view] for view in range(count)])
    return FrameRig(cameras=cameras, crop_to_full=affine.invert(affine.from_box(boxes, sizes)), sizes=sizes)


def stored(rig: FrameRig, world: np.ndarray) -> np.ndarray:
    return rig.to_stored(project(world, rig.cameras))


RIGS = {
    "lenses": rig_of(ring(5, size=SIZE)),
    "crops": rig_of(ring(4, size=SIZE), cropped=True),
    "fisheye": rig_of(fisheye_ring(3)),
    "two views": rig_of(ring(2, size=SIZE)),
}


def distance_to(curve: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Distance of (m, 2) points from a line through (n, 2) points."""
    start, step = curve[:-1], np.diff(curve, axis=0)
    share = np.clip(((points[:, None] - start) * step).sum(-1) / np.maximum((step**2).sum(-1), 1e-12), 0, 1)
    return np.linalg.norm(points[:, None] - (start + share[..., None] * step), axis=-1).min(1)


@pytest.mark.parametrize("name", RIGS)
def test_curves_are_the_images_of_the_viewing_ray(name: str) -> None:
    rig = RIGS[name]
    for world in np.random.default_rng(0).normal(0, 0.8, (6, 3)):
        clicks = stored(rig, world[None])[:, 0]
        for view in range(len(rig.sizes)):
            curves = epipolar_curves(rig, view, clicks[view])
            assert curves[view] == []
            full = affine.apply(rig.crop_to_full[:, None], np.tile(clicks[view], (len(rig.sizes), 1))[:, None, None])
            centers, directions = rays(full[:, 0], rig.cameras)
            depths = np.geomspace(0.05, 500, 3000)[:, None]
            images = stored(rig, centers[view] + depths * directions[view, 0])
            for other in set(range(len(rig.sizes))) - {view}:
                inside = np.all((images[other] >= -0.5) & (images[other] <= rig.sizes[other] - 0.5), axis=-1)
                if not inside.any():
                    assert curves[other] == []
                    continue
                for piece in curves[other]:
                    assert np.all((piece >= -0.501) & (piece <= rig.sizes[other] - 0.499))
                distances = [distance_to(piece, images[other][inside]) for piece in curves[other]]
                assert np.min(distances, axis=0).max() < 0.3
                # ... and the point itself is on it.
                if np.all((clicks[other] >= -0.5) & (clicks[other] <= rig.sizes[other] - 0.5)):
                    assert min(distance_to(piece, clicks[other][None])[0] for piece in curves[other]) < 0.05


def test_a_click_without_a_viewing_ray_has_no_curve() -> None:
    assert epipolar_curves(RIGS["lenses"], 0, np.array([np.nan, 3.0])) == [[]] * 5


@pytest.mark.parametrize("name", RIGS)
def test_exact_clicks_in_two_views_are_projected_exactly(name: str) -> None:
    rig = RIGS[name]
    points = stored(rig, np.random.default_rng(1).normal(0, 0.8, (7, 3)))
    clicks = np.where(np.arange(len(points))[:, None, None] < 2, points, np.nan)
    agreement = compare_views(rig, clicks)
    np.testing.assert_allclose(agreement.projections, points, atol=1e-4)
    assert np.nanmax(agreement.errors) < 1e-4
    assert not agreement.disagrees.any()


@pytest.mark.parametrize("name", ["lenses", "crops"])
def test_covariances_are_those_of_repeated_clicks(name: str) -> None:
    rig = RIGS[name]
    generator = np.random.default_rng(2)
    point = stored(rig, np.array([[0.3, -0.4, 0.2]]))
    repeated = np.repeat(point, 4000, axis=1)
    clicks = repeated + generator.normal(0, CLICK_NOISE, repeated.shape)
    clicks[2:] = np.nan
    agreement = compare_views(rig, clicks, threshold=100)
    exact = np.where(np.arange(len(point))[:, None, None] < 2, point, np.nan)
    expected = compare_views(rig, exact).covariances[:, 0]
    for view in range(len(point)):
        found = np.cov(agreement.projections[view].T)
        np.testing.assert_allclose(found, expected[view], rtol=0.15, atol=0.03)


def test_accepted_projections_are_as_good_as_clicks() -> None:
    """Median distance from the truth below 1.5 times the click noise, over all pairs of clicked views."""
    rig = RIGS["lenses"]
    generator = np.random.default_rng(3)
    points = stored(rig, generator.normal(0, 0.8, (200, 3)))
    distances = []
    for pair in itertools.combinations(range(5), 2):
        clicks = np.full_like(points, np.nan)
        clicks[list(pair)] = points[list(pair)] + generator.normal(0, CLICK_NOISE, (2, 200, 2))
        others = [view for view in range(5) if view not in pair]
        distances.append(np.linalg.norm(compare_views(rig, clicks).projections - points, axis=-1)[others])
    assert np.median(distances) < 1.5 * CLICK_NOISE


@pytest.mark.parametrize("wrong", range(5))
def test_the_view_that_disagrees_is_named_and_left_out(wrong: int) -> None:
    rig = RIGS["lenses"]
    generator = np.random.default_rng(4)
    points = stored(rig, generator.normal(0, 0.8, (4, 3)))
    clicks = points + generator.normal(0, 0.3, points.shape)
    clicks[wrong, 1] += 40.0
    agreement = compare_views(rig, clicks)
    assert agreement.disagrees.tolist() == [False, True, False, False]
    assert np.flatnonzero(agreement.suspects[:, 1]).tolist() == [wrong]
    assert not agreement.suspects[:, [0, 2, 3]].any()
    np.testing.assert_allclose(agreement.projections[:, 1], points[:, 1], atol=1.5)
    assert agreement.errors[wrong, 1] > 50


def test_two_views_that_contradict_each_other_are_both_named() -> None:
    rig = RIGS["lenses"]
    clicks = np.full((5, 1, 2), np.nan)
    clicks[:2] = stored(rig, np.zeros((1, 3)))[:2] + np.array([[[0.0, 40.0]], [[0.0, -40.0]]])
    agreement = compare_views(rig, clicks)
    assert agreement.disagrees.tolist() == [True]
    assert np.flatnonzero(agreement.suspects[:, 0]).tolist() == [0, 1]
    assert np.isfinite(agreement.projections).all()


def test_of_three_views_those_are_named_without_which_the_others_agree() -> None:
    """Brute force over the views: a click moved along one epipolar line leaves two that can be wrong."""
    rig = RIGS["lenses"]
    generator = np.random.default_rng(5)
    for _ in range(20):
        points = stored(rig, generator.normal(0, 0.8, (1, 3)))
        clicks = np.where(np.arange(5)[:, None, None] < 3, points, np.nan)
        clicks[2] += generator.normal(0, 25, 2)
        agreement = compare_views(rig, clicks)
        if not agreement.disagrees[0]:
            continue
        expected = []
        for view in range(3):
            kept = np.where(np.arange(5)[:, None, None] == view, np.nan, clicks)
            full = affine.apply(rig.crop_to_full, kept)
            errors = np.linalg.norm(stored(rig, triangulate(full, rig.cameras, refine_steps=3)) - kept, axis=-1)
            if np.nanmax(errors) <= DISAGREEMENT:
                expected.append(view)
        assert np.flatnonzero(agreement.suspects[:, 0]).tolist() == (expected or [0, 1, 2])


def test_two_wrong_views_of_five_are_found() -> None:
    rig = RIGS["lenses"]
    points = stored(rig, np.array([[0.2, 0.1, -0.3]]))
    clicks = points.copy()
    clicks[0] += 60.0
    clicks[3, :, 0] -= 70.0
    agreement = compare_views(rig, clicks)
    assert np.flatnonzero(agreement.suspects[:, 0]).tolist() == [0, 3]
    np.testing.assert_allclose(agreement.projections, points, atol=0.1)


def test_a_view_without_an_image_gets_no_projection() -> None:
    rig = RIGS["lenses"]
    sizes = rig.sizes.copy()
    sizes[4] = 0
    partial = FrameRig(cameras=rig.cameras, crop_to_full=rig.crop_to_full, sizes=sizes)
    clicks = stored(rig, np.zeros((1, 3)))
    clicks[2:] = np.nan
    assert np.isnan(compare_views(partial, clicks).projections[4]).all()
    assert epipolar_curves(partial, 0, clicks[0, 0])[4] == []


def test_one_click_has_no_projection() -> None:
    rig = RIGS["lenses"]
    clicks = np.full((5, 2, 2), np.nan)
    clicks[0] = stored(rig, np.zeros((1, 3)))[0]
    agreement = compare_views(rig, clicks)
    assert np.isnan(agreement.projections).all()
    assert np.isnan(agreement.covariances).all()
    assert not agreement.disagrees.any()


def residuals(rig: FrameRig, noise: float, num_keypoints: int, clicks: int, seed: int = 0) -> tuple:
    """Squared distances of clicks with this noise in some views of each keypoint."""
    generator = np.random.default_rng(seed)
    points = stored(rig, generator.uniform(-0.5, 0.5, (num_keypoints, 3)))
    points += generator.normal(0, noise, points.shape)
    order = np.argsort(generator.random(points.shape[:2]), axis=0)
    return squared_residuals(rig.cameras, rig.crop_to_full, np.where((order < clicks)[..., None], points, np.nan))


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("clicks", [2, 3, 4])
@pytest.mark.parametrize("name", ["lenses", "crops"])
def test_the_noise_of_clicks_is_learned_from_their_distances(name: str, clicks: int, noise: float) -> None:
    squares, freedoms = residuals(RIGS[name], noise, 400, clicks)
    assert freedoms.tolist() == [2 * clicks - 3] * 400
    assert estimate_noise(squares, freedoms) == pytest.approx(noise, rel=0.15)


def test_wrong_clicks_do_not_move_the_noise() -> None:
    squares, freedoms = residuals(RIGS["lenses"], 1.0, 400, 3)
    squares[:80] += 1e4
    assert estimate_noise(squares, freedoms) == pytest.approx(1.0, rel=0.3)


def test_few_labels_leave_the_expected_noise_and_exact_ones_do_not_give_none() -> None:
    nothing = np.zeros(0)
    assert estimate_noise(nothing, nothing) == CLICK_NOISE
    for noise in (0.0, 4.0):
        few = estimate_noise(*residuals(RIGS["lenses"], noise, 2, 2))
        assert 0.8 < few < 1.6
    assert estimate_noise(*residuals(RIGS["lenses"], 0.0, 4000, 5)) == LEAST_NOISE
    rig = RIGS["lenses"]
    squares, freedoms = squared_residuals(rig.cameras, rig.crop_to_full, np.full((5, 3, 2), np.nan))
    assert squares.tolist() == freedoms.tolist() == [0] * 3


def test_frames_of_one_rig_are_learned_from_together() -> None:
    rig = RIGS["crops"]
    generator = np.random.default_rng(5)
    points = stored(rig, generator.uniform(-0.5, 0.5, (12, 3))).reshape(-1, 4, 3, 2).swapaxes(0, 1)
    points = points + generator.normal(0, 1.5, points.shape)
    points[1, 0, 2] = points[2, :-1, 1] = np.nan
    maps = np.stack([rig.crop_to_full] * 4) + generator.uniform(0, 20, (4, 1, 1, 1)) * np.eye(2, 3)[:, 2:]
    together = squared_residuals(rig.cameras, maps, points)
    alone = [squared_residuals(rig.cameras, *each) for each in zip(maps, points, strict=True)]
    for found, expected in zip(together, zip(*alone, strict=True), strict=True):
        np.testing.assert_allclose(found, np.stack(expected), rtol=1e-9)
    assert together[1][2, 1] == 0


def test_clicks_are_compared_by_the_cameras_of_their_own_session(tmp_path: Path) -> None:
    """Of two sessions, the second has a camera that was turned since it was calibrated."""
    root = generate_tiny_project(tmp_path / "project", num_sessions=2, num_frames=6)
    path = root / "calibrations" / "session2.toml"
    cameras = CameraGroup.load(path)
    turn = Rotation.from_euler("y", 5, degrees=True).as_matrix()
    rotation, translation = cameras.rotation.copy(), cameras.translation.copy()
    rotation[0], translation[0] = turn @ rotation[0], turn @ translation[0]
    cameras.replace(rotation=rotation, translation=translation).save(path)
    (root / JOURNAL_FOLDER).mkdir()
    store = LabelStore(project_config(root))
    noise = ClickNoise(store)
    sessions = np.array(store.project.sessions)
    for session, limits in (("session1", (0.0, 0.5)), ("session2", (2.0, 50.0))):
        rows = sessions == session
        squares, freedoms = noise._squares[rows].sum(), noise._freedoms[rows].sum()
        assert freedoms > 0
        assert limits[0] < np.sqrt(squares / freedoms) < limits[1]
