"""The bundle adjuster: its Jacobian against finite differences, its optimum against SciPy's, robust losses, gauge."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from helpers.boards import BOARD, arc_of_cameras, film
from helpers.errors import raises_input
from helpers.geometry import FISHEYE, LENSES
from mvgeom import project
from mvgeom.calibration.boards import object_points
from mvgeom.calibration.bundle import NUM_POSE, Scene, Step, Views, linearize, residuals
from mvgeom.calibration.lens_jacobian import project_with_jacobian
from mvgeom.calibration.lens_prior import LensPrior
from mvgeom.calibration.schur import adjust, propagate_lens_errors

NO_FACE = np.zeros((0, NUM_POSE))
lenses = st.sampled_from([*((length, False) for length in LENSES), (4, True)])


def board_problem(
    lens: int = 5, *, fisheye: bool = False, frames: int = 4, noise: float = 0.0, faces: tuple[int, ...] | None = None
) -> tuple[Scene, Views]:
    """Three cameras and some boards of 8 corners, some of them missing; the scene is the truth."""
    coefficients = FISHEYE if fisheye else LENSES[lens]
    cameras = arc_of_cameras(3, distortion=tuple(coefficients), fisheye=fisheye)
    filmed = film(cameras, frames, noise=noise, seed=lens)
    points = filmed.points[:, :, ::7]
    points[0, 0, :2] = np.nan
    camera, frame = np.nonzero(np.isfinite(points).all(-1).sum(-1) >= 4)
    seen = np.isfinite(points[camera, frame]).all(-1)
    views = Views(
        camera=camera,
        block=frame,
        pixels=np.where(seen[..., None], points[camera, frame], 0),
        weights=seen.astype(float),
        num_cameras=3,
        num_blocks=frames,
    )
    scene = Scene(
        cameras=cameras,
        rotation=filmed.rotation,
        position=filmed.position,
        object_points=object_points(BOARD)[::7],
        faces=None if faces is None else np.array(faces),
    )
    return scene, views


def point_problem(num_points: int = 30, *, noise: float = 0.0) -> tuple[Scene, Views]:
    """Three cameras and single points, each point in two or three views."""
    cameras = arc_of_cameras(3)
    rng = np.random.default_rng(1)
    world = rng.uniform(-0.3, 0.3, (num_points, 3))
    pixels = project(world, cameras) + noise * rng.normal(size=(3, num_points, 2))
    seen = rng.random((3, num_points)) < 0.8
    seen[:2] = True
    camera, point = np.nonzero(seen)
    views = Views(
        camera=camera,
        block=point,
        pixels=pixels[camera, point][:, None],
        weights=np.ones((len(camera), 1)),
        num_cameras=3,
        num_blocks=num_points,
    )
    return Scene(cameras=cameras, rotation=None, position=world, object_points=np.zeros((1, 3))), views


def moved(scene: Scene, seed: int, size: float = 1.0, *, reference: int | None = 0) -> Scene:
    rng = np.random.default_rng(seed)
    width = scene.camera_size
    sizes = np.array([*[0.01] * NUM_POSE, *[8.0] * 4, *[0.01] * (width - NUM_POSE - 4)])
    camera_step = size * sizes * rng.normal(size=(len(scene.cameras), width))
    if reference is not None:
        camera_step[reference, :NUM_POSE] = 0
    block_step = 0.01 * rng.normal(size=(len(scene.position), scene.block_size))
    face_step = 0.01 * rng.normal(size=(scene.num_moving_faces, NUM_POSE))
    return scene.moved(Step(camera_step, size * block_step, size * face_step))


@settings(max_examples=40)
@given(lens=lenses, seed=st.integers(0, 10_000), scale=st.floats(0.2, 2.0))
def test_lens_jacobian_is_that_of_finite_differences(lens: tuple[int, bool], seed: int, scale: float) -> None:
    length, fisheye = lens
    rng = np.random.default_rng(seed)
    distortion = np.array(FISHEYE if fisheye else LENSES[length]) * scale
    matrix = np.array([[900.0, 2.0, 640], [0, 950, 500], [0, 0, 1]])
    points = np.column_stack([rng.uniform(-0.5, 0.5, (6, 2)), np.ones(6)]) * rng.uniform(1, 3, (6, 1))
    points[0, :2] = 0  # the axis, where a fisheye's angle over radius needs care

    def pixels(point_step: np.ndarray, lens_step: np.ndarray) -> np.ndarray:
        changed = matrix.copy()
        changed[[0, 1, 0, 1], [0, 1, 2, 2]] += lens_step[:4]
        return project_with_jacobian(points + point_step, changed, distortion + lens_step[4:], fisheye=fisheye).pixels

    found = project_with_jacobian(points, matrix, distortion, fisheye=fisheye)
    none = np.zeros(4 + len(distortion))
    for axis in range(3):
        step = 1e-6 * np.eye(3)[axis]
        slope = (pixels(step, none) - pixels(-step, none)) / 2e-6
        np.testing.assert_allclose(found.by_point[..., axis], slope, rtol=1e-5, atol=1e-4)
    for parameter in range(len(none)):
        size = 1e-3 if parameter < 4 else 1e-6
        step = size * np.eye(len(none))[parameter]
        slope = (pixels(np.zeros(3), step) - pixels(np.zeros(3), -step)) / (2 * size)
        np.testing.assert_allclose(found.by_lens[..., parameter], slope, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("lens", "fisheye"), [*((length, False) for length in LENSES), (4, True)])
def test_pixels_are_those_of_opencv_and_of_project(lens: int, fisheye: bool) -> None:
    scene, _ = board_problem(lens, fisheye=fisheye)
    cameras = scene.cameras.select(["cam1"])
    world = scene.world_points(np.array([0]))[0]
    local = world @ cameras.rotation[0].T + cameras.translation[0]
    distortion = cameras.distortion[0]
    found = project_with_jacobian(local, cameras.matrix[0], distortion, fisheye=fisheye).pixels
    np.testing.assert_allclose(found, project(world, cameras)[0], atol=1e-8)
    if fisheye:
        expected, _ = cv2.fisheye.projectPoints(
            local[:, None], np.zeros(3), np.zeros(3), cameras.matrix[0], distortion[:4]
        )
    else:
        expected, _ = cv2.projectPoints(local, np.zeros(3), np.zeros(3), cameras.matrix[0], distortion)
    np.testing.assert_allclose(found, expected.reshape(-1, 2), atol=1e-8)


@settings(max_examples=25)
@given(lens=lenses, seed=st.integers(0, 10_000), faces=st.sampled_from([None, (0, 0, 0, 1, 1, 1, 2, 2)]))
def test_bundle_jacobian_is_that_of_finite_differences(
    lens: tuple[int, bool], seed: int, faces: tuple[int, ...] | None
) -> None:
    check_jacobian(*board_problem(lens[0], fisheye=lens[1], faces=faces), seed)


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_jacobian_of_points_is_that_of_finite_differences(seed: int) -> None:
    check_jacobian(*point_problem(), seed)


def check_jacobian(scene: Scene, views: Views, seed: int) -> None:
    """Compare derivatives with central differences near the scene."""
    scene = moved(scene, seed)
    rng = np.random.default_rng(seed)
    found = linearize(scene, views)
    np.testing.assert_array_equal(found.residuals, residuals(scene, views))
    assert (found.by_camera[views.weights == 0] == 0).all()
    # A random direction at a time, in all parameters of all cameras, blocks and faces.
    scale = np.array([*[1e-6] * NUM_POSE, *[1e-3] * 4, *[1e-6] * (scene.camera_size - NUM_POSE - 4)])
    for _ in range(3):
        camera_step = scale * rng.normal(size=(3, scene.camera_size))
        block_step = 1e-6 * rng.normal(size=(len(scene.position), scene.block_size))
        face_step = 1e-6 * rng.normal(size=(scene.num_moving_faces, NUM_POSE))
        ahead, behind = (
            residuals(scene.moved(Step(s * camera_step, s * block_step, s * face_step)), views) for s in (1, -1)
        )
        expected = np.einsum("gpij,gj->gpi", found.by_camera, camera_step[views.camera])
        expected += np.einsum("gpij,gj->gpi", found.by_block, block_step[views.block])
        expected += found.by_face @ face_step.reshape(-1)
        np.testing.assert_allclose((ahead - behind) / 2, expected, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("lens", [0, 5, 14])
def test_exact_observations_give_the_truth_back(lens: int) -> None:
    truth, views = board_problem(lens, frames=12)
    free = np.ones((3, truth.camera_size), dtype=bool)
    free[0, :NUM_POSE] = False
    # Higher coefficients trade with each other in views as few as these: what they predict is what counts.
    free[:, NUM_POSE + 4 + min(lens, 5) :] = False
    start = moved(truth, 3)
    start = Scene(
        cameras=start.cameras.replace(
            distortion=np.concatenate([start.cameras.distortion[:, :5], truth.cameras.distortion[:, 5:]], axis=1)
        ),
        rotation=start.rotation,
        position=start.position,
        object_points=start.object_points,
    )
    solution = adjust(start, views, free)
    assert solution.converged
    assert solution.undetermined == 0
    assert solution.cost < 1e-12
    np.testing.assert_allclose(solution.scene.cameras.matrix, truth.cameras.matrix, atol=1e-3)
    np.testing.assert_allclose(solution.scene.cameras.rotation, truth.cameras.rotation, atol=1e-6)
    np.testing.assert_allclose(solution.scene.position, truth.position, atol=1e-6)


@pytest.mark.parametrize("faces", [None, (0, 0, 0, 0, 1, 1, 1, 1)])
def test_optimum_and_uncertainty_are_those_of_dense_least_squares(faces: tuple[int, ...] | None) -> None:
    truth, views = board_problem(4, frames=6, noise=0.5, faces=faces)
    free = np.ones((3, truth.camera_size), dtype=bool)
    free[0, :NUM_POSE] = False
    free[:, NUM_POSE + 4 + 2 :] = False  # two coefficients
    solution = adjust(moved(truth, 0, 0.3), views, free, tolerance=1e-14)
    scene = solution.scene
    used = np.flatnonzero(free)
    num_blocks = len(scene.position)

    def split(x: np.ndarray) -> Step:
        camera_step = np.zeros(free.size)
        camera_step[used] = x[: len(used)]
        poses = x[len(used) :].reshape(-1, NUM_POSE)
        return Step(camera_step.reshape(free.shape), poses[:num_blocks], poses[num_blocks:])

    start = np.zeros(len(used) + NUM_POSE * (num_blocks + scene.num_moving_faces))
    expected = least_squares(lambda x: residuals(scene.moved(split(x)), views).ravel(), start)
    assert solution.cost == pytest.approx(expected.cost, rel=1e-9)
    reference = np.linalg.inv(expected.jac.T @ expected.jac)[: len(used), : len(used)]
    covariance = solution.covariance.reshape(free.size, free.size)[np.ix_(used, used)]
    scale = np.sqrt(np.diag(reference))
    np.testing.assert_allclose(covariance / np.outer(scale, scale), reference / np.outer(scale, scale), atol=1e-3)
    assert (solution.covariance.reshape(free.size, free.size)[~free.reshape(-1)] == 0).all()


@pytest.mark.parametrize("loss", ["huber", "soft_l1", "cauchy"])
def test_robust_losses_bear_outliers(loss: str) -> None:
    truth, views = board_problem(4, frames=10, noise=0.2)
    pixels = views.pixels.copy()
    pixels[:, 0] += 60.0  # one corner of every view
    views = Views(
        camera=views.camera,
        block=views.block,
        pixels=pixels,
        weights=views.weights,
        num_cameras=3,
        num_blocks=views.num_blocks,
    )
    free = np.zeros((3, truth.camera_size), dtype=bool)
    free[1:, :NUM_POSE] = True
    start = moved(truth, 0, 0.0)

    def error(**options: object) -> float:
        found = adjust(start, views, free, **options).scene.cameras  # type: ignore[arg-type]
        return float(np.abs(found.rotation - truth.cameras.rotation).max())

    assert error(loss=loss, loss_scale=0.5) < 0.25 * error()


@pytest.mark.parametrize("loss", ["linear", "huber", "soft_l1", "cauchy"])
def test_losses_are_those_of_scipy_on_the_length_of_residuals(loss: str) -> None:
    truth, views = point_problem(noise=2.0)
    free = np.zeros((3, truth.camera_size), dtype=bool)
    free[1, :3] = True
    solution = adjust(truth, views, free, loss=loss, loss_scale=1.5, tolerance=1e-13, max_iterations=500)  # type: ignore[arg-type]
    num_points = len(truth.position)

    def lengths(x: np.ndarray) -> np.ndarray:
        step = np.zeros((3, truth.camera_size))
        step[1, :3] = x[:3]
        scene = solution.scene.moved(Step(step, x[3:].reshape(num_points, 3), NO_FACE))
        return np.linalg.norm(residuals(scene, views), axis=-1).ravel()

    start = np.zeros(3 + 3 * num_points)
    here = least_squares(lengths, start, loss=loss, f_scale=1.5, max_nfev=1).cost
    best = least_squares(lengths, start, loss=loss, f_scale=1.5, max_nfev=50).cost
    assert solution.cost == pytest.approx(here, rel=1e-9)
    assert solution.cost == pytest.approx(best, rel=1e-5)


def test_points_alone_leave_seven_directions_open() -> None:
    truth, views = point_problem(noise=0.5)
    free = np.zeros((3, truth.camera_size), dtype=bool)
    free[:, :NUM_POSE] = True
    assert adjust(truth, views, free).undetermined == 7
    free[0] = False
    assert adjust(truth, views, free).undetermined == 1


def dense_of_cameras(scene: Scene, views: Views, free: np.ndarray) -> np.ndarray:
    """Derivatives (R, free parameters) of all residuals, without what the blocks can take up."""
    linear = linearize(scene, views)
    kept = []
    for block in range(views.num_blocks):
        rows = np.flatnonzero(views.block == block)
        by_block = linear.by_block[rows].reshape(-1, scene.block_size)
        by_camera = np.zeros((len(rows), *linear.residuals.shape[1:], *free.shape))
        for row, view in enumerate(rows):
            by_camera[row, ..., views.camera[view], :] = linear.by_camera[view]
        basis, _ = np.linalg.qr(by_block)
        slopes = by_camera.reshape(len(basis), -1)[:, free.reshape(-1)]
        kept.append(slopes - basis @ (basis.T @ slopes))
    return np.concatenate(kept)


@pytest.mark.parametrize(("corners", "open_directions"), [(0, 6), (1, 4), (2, 2), (8, 0)])
@pytest.mark.parametrize("shared_lens", [False, True])
def test_what_nothing_determines_has_a_large_deviation(corners: int, open_directions: int, shared_lens: bool) -> None:
    """The third camera sees few corners of one board: its pose is open, and what the others know stays known."""
    scene, views = board_problem(4, frames=6)
    last = np.flatnonzero(views.camera == 2)
    weights = views.weights.copy()
    weights[last] = 0
    weights[last[0], :corners] = 1
    views = dataclasses.replace(views, weights=weights)
    free = np.zeros((3, scene.camera_size), dtype=bool)
    free[1:, :NUM_POSE] = True
    free[:2, NUM_POSE : NUM_POSE + 4] = shared_lens
    found = adjust(scene, views, free, max_iterations=0)
    assert found.undetermined == open_directions

    slopes = dense_of_cameras(scene, views, free)
    scale = np.linalg.norm(slopes, axis=0)
    scale = np.where(scale > 0, scale, 1)
    _, values, directions = np.linalg.svd(slopes / scale, full_matrices=False)
    known = values > 1e-7 * values[0]
    assert (~known).sum() == open_directions
    expected = np.sqrt((directions[known] ** 2 / values[known, None] ** 2).sum(axis=0)) / scale
    has_part = np.abs(directions[~known]).max(axis=0, initial=0) > 1e-6
    spread = np.sqrt(np.diag(found.covariance.reshape(free.size, -1)))[free.reshape(-1)]
    assert np.isfinite(found.covariance).all()
    np.testing.assert_allclose(spread[~has_part], expected[~has_part], rtol=1e-3)
    assert (spread * scale > 1e4)[has_part].all()  # a parameter that is the only unknown one has 1 at the most


@pytest.mark.parametrize("hold", [False, True])
def test_the_frame_of_the_world_has_no_deviation(hold: bool) -> None:
    """Points leave the world open, by convention, which is not the same as a camera that they leave open."""
    scene, views = point_problem(noise=0.5)
    free = np.zeros((3, scene.camera_size), dtype=bool)
    free[:, :NUM_POSE] = True
    if hold:
        free[0] = False
    weights = views.weights.copy()
    weights[np.flatnonzero(views.camera == 2)[1:]] = 0
    few = dataclasses.replace(views, weights=weights)
    whole, found = adjust(scene, views, free, max_iterations=0), adjust(scene, few, free, max_iterations=0)
    assert (whole.undetermined, found.undetermined) == ((1, 5) if hold else (7, 11))
    assert (np.diagonal(whole.covariance.reshape(free.size, -1)) < 1e-4).all()

    def turn_of(view: int, covariance: np.ndarray) -> np.ndarray:
        """Standard deviations of the rotation of a camera from the first one."""
        change = np.zeros((3, 3, scene.camera_size))
        change[:, view, :3] = np.eye(3)
        change[:, 0, :3] = -scene.cameras.rotation[view] @ scene.cameras.rotation[0].T
        flat = change.reshape(3, -1)
        return np.sqrt(np.diag(flat @ covariance.reshape(free.size, -1) @ flat.T))

    assert (turn_of(1, found.covariance) < 0.1).all()
    assert (turn_of(2, found.covariance) > 10).all()
    assert (turn_of(2, whole.covariance) < 0.01).all()


@pytest.mark.parametrize("faces", [None, (0, 0, 0, 0, 1, 1, 1, 1)])
def test_errors_of_held_lenses_go_into_the_poses(faces: tuple[int, ...] | None) -> None:
    truth, views = board_problem(4, frames=6, faces=faces)
    free = np.zeros((3, truth.camera_size), dtype=bool)
    free[1:, :NUM_POSE] = True
    exact = propagate_lens_errors(truth, views, free, np.zeros((*free.shape, *free.shape)), loss="linear", loss_scale=1)
    np.testing.assert_allclose(exact, adjust(truth, views, free, max_iterations=0).covariance, rtol=1e-6, atol=1e-15)
    for camera, parameter, size in ((0, 0, 2.0), (1, 2, 1.0), (2, 4, 0.002)):
        wrong = np.zeros(free.shape)
        wrong[camera, NUM_POSE + parameter] = size
        step = Step(wrong, np.zeros((len(truth.position), NUM_POSE)), np.zeros((truth.num_moving_faces, NUM_POSE)))
        moved_by = adjust(truth.moved(step), views, free, tolerance=1e-14).scene.cameras
        lenses = np.einsum("vc,wd->vcwd", wrong, wrong)
        found = propagate_lens_errors(truth, views, free, lenses, loss="linear", loss_scale=1) - exact
        turns = Rotation.from_matrix(moved_by.rotation @ np.swapaxes(truth.cameras.rotation, 1, 2)).as_rotvec()
        change = np.concatenate([turns, moved_by.translation - truth.cameras.translation], axis=1)
        stated = np.sqrt(np.diagonal(found.reshape(free.size, -1)).reshape(free.shape))
        np.testing.assert_allclose(stated[:, NUM_POSE:], wrong[:, NUM_POSE:], atol=1e-9)
        np.testing.assert_allclose(stated[:, :NUM_POSE], np.abs(change), rtol=0.05, atol=0.02 * np.abs(change).max())


def test_cameras_of_a_group_change_their_lens_together() -> None:
    scene, views = board_problem(noise=0.2)
    free = np.ones((3, scene.camera_size), dtype=bool)
    free[0, :NUM_POSE] = False
    start = moved(scene, 3, 0.3)
    found = adjust(start, views, free, groups=np.array([0, 1, 0]), square=np.ones(3, dtype=bool))
    change = found.scene.cameras.matrix - start.cameras.matrix
    np.testing.assert_allclose(change[:, 0, 0], change[:, 1, 1], atol=1e-9)
    np.testing.assert_allclose(change[0, 0, 0], change[2, 0, 0], atol=1e-9)
    assert abs(change[0, 0, 0] - change[1, 0, 0]) > 1e-3
    assert abs(change[0, 0, 2] - change[2, 0, 2]) > 1e-3  # principal points are each camera's own
    bent = found.scene.cameras.distortion - start.cameras.distortion
    np.testing.assert_allclose(bent[0], bent[2], atol=1e-9)
    focal = found.covariance[:, NUM_POSE, :, NUM_POSE]
    np.testing.assert_allclose(focal[0, 0], focal[0, 2])
    assert found.cost >= adjust(start, views, free).cost


def test_a_prior_counts_as_observations() -> None:
    scene, views = board_problem(noise=0.2)
    free = np.zeros((3, scene.camera_size), dtype=bool)
    free[:, NUM_POSE:] = True
    without = adjust(scene, views, free)
    place = NUM_POSE + 2  # cx
    variance = without.covariance[1, place, 1, place]
    mean, precision = np.zeros(free.shape), np.zeros((free.size, free.size))
    mean[1, place] = without.scene.cameras.matrix[1, 0, 2] + 0.2
    index = free.shape[1] + place
    precision[index, index] = 1 / variance
    found = adjust(scene, views, free, prior=LensPrior(mean=mean, precision=precision))
    # As uncertain as the observations: half way, with half of the variance.
    np.testing.assert_allclose(found.scene.cameras.matrix[1, 0, 2], mean[1, place] - 0.1, atol=5e-3)
    np.testing.assert_allclose(found.covariance[1, place, 1, place], variance / 2, rtol=0.02)
    assert found.cost > without.cost


def test_mistakes() -> None:
    truth, views = board_problem()
    free = np.ones((3, truth.camera_size), dtype=bool)
    with raises_input("unknown-choice", argument="loss", found="l1"):
        adjust(truth, views, free, loss="l1")  # type: ignore[arg-type]
    turned = truth.moved(Step(np.zeros((3, truth.camera_size)), np.zeros((4, NUM_POSE)), NO_FACE))
    away = Scene(
        cameras=turned.cameras,
        rotation=turned.rotation,
        position=turned.position - 10 * turned.cameras.rotation[0, 2],
        object_points=turned.object_points,
    )
    with pytest.raises(ValueError, match="points start behind their cameras"):
        adjust(away, views, free)
