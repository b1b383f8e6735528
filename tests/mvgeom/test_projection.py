import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.errors import Expectation, raises_input
from helpers.geometry import LENSES, moved_world, random_rig, random_rotation
from helpers.optional import double_tensor, torch
from mvgeom import (
    CameraGroup,
    distort,
    epipolar_distance,
    in_image,
    project,
    rays,
    undistort,
    visible,
    world_to_camera,
)

SEEDS = st.integers(0, 2**32 - 1)


def random_points(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.uniform(-0.8, 0.8, size=(*shape, 3))


def stereo(*, lens: list[float] | None = None) -> CameraGroup:
    """Two cameras side by side, 0.2 apart, that look along z."""
    return CameraGroup(
        names=("left", "right"),
        sizes=[[640, 480]] * 2,
        matrix=[[[500, 0, 320], [0, 500, 240], [0, 0, 1]]] * 2,
        distortion=[lens or []] * 2,
        rotation=[np.eye(3)] * 2,
        translation=[[0, 0, 0], [-0.2, 0, 0]],
    )


@settings(max_examples=25)
@given(seed=SEEDS)
def test_projection_is_rotation_translation_division_lens_and_intrinsics(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cams, points = random_rig(rng, 3), random_points(rng, 7)
    camera = np.einsum("vij,kj->vki", cams.rotation, points) + cams.translation[:, None]
    np.testing.assert_allclose(world_to_camera(points, cams), camera, rtol=0, atol=1e-12)
    expected = distort(camera[..., :2] / camera[..., 2:], cams)
    np.testing.assert_allclose(project(points, cams), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("batch", [(), (2,), (1, 2)])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_leading_dimensions_are_a_loop(batch: tuple[int, ...], library: str) -> None:
    rng = np.random.default_rng(0)
    cams, points = random_rig(rng, 3, lens=14, fisheye=(False, True, False)), random_points(rng, *batch, 5)
    expected = np.stack([project(part, cams) for part in points.reshape(-1, 5, 3)]).reshape(*batch, 3, 5, 2)
    found = (
        project(torch.tensor(points), cams.to(like=double_tensor())).numpy()
        if library == "torch"
        else project(points, cams)
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(
        undistort(found, cams),
        np.stack([undistort(part, cams) for part in found.reshape(-1, 3, 5, 2)]).reshape(found.shape),
    )


@pytest.mark.parametrize("fisheye", [(False, False), (True, False)])
def test_a_batch_of_rigs_is_a_loop_over_rigs(fisheye: tuple[bool, ...]) -> None:
    rng = np.random.default_rng(1)
    rigs = [random_rig(rng, 2, lens=length, fisheye=fisheye) for length in (4, 8, 14)]
    points = random_points(rng, 3, 6)
    stacked = CameraGroup.stack(rigs)
    assert stacked.batch_shape == (3,)
    pixels = project(points, stacked)
    np.testing.assert_allclose(pixels, [project(part, rig) for part, rig in zip(points, rigs, strict=True)], atol=1e-9)
    expected = np.stack([undistort(part, rig) for part, rig in zip(pixels, rigs, strict=True)])
    np.testing.assert_allclose(undistort(pixels, stacked), expected, rtol=0, atol=1e-11)
    # One set of points in every rig, and one rig for every set of points.
    assert project(points[0], stacked).shape == (3, 2, 6, 2)
    assert project(points, rigs[0]).shape == (3, 2, 6, 2)
    np.testing.assert_allclose(project(points[0], stacked)[2], project(points[0], rigs[2]), rtol=0, atol=1e-9)


@settings(max_examples=25)
@given(seed=SEEDS)
def test_rays_pass_through_the_points_they_see(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cams, points = random_rig(rng, 3, fisheye=(True, False, False)), random_points(rng, 2, 5)
    centers, directions = rays(project(points, cams), cams)
    np.testing.assert_allclose(centers, cams.centers, rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=-1), 1, rtol=0, atol=1e-12)
    offset = points[:, None] - centers[:, None]
    distance = np.linalg.norm(offset, axis=-1, keepdims=True)
    np.testing.assert_allclose(directions * distance, offset, rtol=0, atol=1e-9)


@settings(max_examples=25)
@given(seed=SEEDS)
def test_projection_moves_with_the_world(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cams, points = random_rig(rng, 3), random_points(rng, 6)
    rotation, shift, scale = random_rotation(rng), rng.normal(size=3) * 100, float(rng.uniform(0.01, 100))
    moved = moved_world(cams, rotation, shift, scale)
    np.testing.assert_allclose(
        project(scale * points @ rotation.T + shift, moved), project(points, cams), rtol=0, atol=1e-7
    )


def test_float32_far_from_the_origin_projects_to_a_pixel() -> None:
    rng = np.random.default_rng(2)
    cams, points = random_rig(rng, 4), random_points(rng, 30)
    shift = np.array([1e5, -1e5, 1e5])
    moved = moved_world(cams, np.eye(3), shift, 1.0)
    # In float32 the points themselves are on a grid of 0.008 there; the projection adds nothing to that.
    coarse = (points + shift).astype(np.float32)
    found = project(coarse, moved)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, project(coarse.astype(np.float64), moved), rtol=0, atol=2e-3)


def test_what_a_camera_cannot_see_is_nan() -> None:
    cams = stereo(lens=[-0.4, 0, 0, 0])
    fold = 1 / np.sqrt(1.2)
    points = np.array(
        [[0.0, 0, 1], [0, 0, -1], [0, 0, 0], [0.1 + 2 * fold, 0, 2.0], [np.nan, 0, 1], [0, np.inf, 1], [1e200, 0, 1]]
    )
    pixels = project(points, cams)
    assert np.isfinite(pixels[:, 0]).all()
    assert np.isnan(pixels[:, [1, 2, 4, 5, 6]]).all()
    assert np.isnan(pixels[0, 3]).all()
    assert np.isfinite(pixels[1, 3, 0]) == (abs(0.1 + 2 * fold - 0.2) < 2 * fold)


def test_visible_means_in_front_and_inside_the_frame() -> None:
    cams = stereo()
    points = np.array([[0.0, 0, 1], [0, 0, -1], [0.7, 0, 1], [np.nan] * 3, [0, 0.481, 1.0]])
    np.testing.assert_array_equal(visible(points, cams), [[1, 0, 0, 0, 0], [1, 0, 1, 0, 0]])
    edge = np.array([[[-0.5, 0], [-0.51, 0], [639.5, 479.5], [639.51, 0], [0, np.nan]]] * 2)
    np.testing.assert_array_equal(in_image(edge, cams), [[1, 0, 1, 0, 0]] * 2)


@settings(max_examples=25)
@given(seed=SEEDS)
def test_epipolar_distance_of_one_point_is_zero_in_every_pair(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cams, points = random_rig(rng, 4, fisheye=(False, True, False, False)), random_points(rng, 5)
    distance = epipolar_distance(project(points, cams), cams)
    assert distance.shape == (6, 5)
    np.testing.assert_allclose(distance, 0, rtol=0, atol=1e-8)


def test_epipolar_distance_is_the_row_difference_of_a_rectified_pair() -> None:
    pixels = np.array([[[100.0, 50.0], [300, 240], [10, 20]], [[80.0, 53.0], [250, 240], [np.nan, 20]]])
    np.testing.assert_allclose(epipolar_distance(pixels, stereo()), [[3.0, 0.0, np.nan]], rtol=0, atol=1e-10)


def test_epipolar_distance_of_zero_has_no_gradient() -> None:
    pixels = torch.tensor([[[300.0, 240.0], [100.0, 50.0]], [[250.0, 240.0], [80.0, 53.0]]], requires_grad=True)
    distance = epipolar_distance(pixels, stereo().to(like=pixels))
    assert distance[0, 0] == 0
    distance.sum().backward()
    assert pixels.grad is not None
    assert pixels.grad[:, 0].tolist() == [[0.0, 0.0]] * 2
    np.testing.assert_allclose(pixels.grad[:, 1], [[0.0, -1.0], [0.0, 1.0]], rtol=0, atol=1e-4)


@pytest.mark.parametrize("view", [0, 1])
def test_epipolar_distance_of_the_epipole_is_nan(view: int) -> None:
    # One camera behind the other: each sees the other's center at its principal point.
    cams = stereo().replace(translation=[[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    pixels = np.array([[[100.0, 50.0], [300.0, 240.0]]] * 2)
    pixels[view, 0] = cams.matrix[view, :2, 2]
    assert np.isnan(epipolar_distance(pixels, cams)).tolist() == [[True, False]]


def test_epipolar_distance_is_in_pixels_of_each_camera_and_in_the_order_of_combinations() -> None:
    rng = np.random.default_rng(4)
    cams, points = random_rig(rng, 4, lens=0), random_points(rng, 6)
    pixels = project(points, cams) + rng.normal(size=(4, 6, 2)) * 3
    found = epipolar_distance(pixels, cams)
    for row, (i, j) in enumerate(itertools.combinations(range(4), 2)):
        squared = []
        for a, b in ((i, j), (j, i)):
            relative = cams.rotation[b] @ cams.rotation[a].T
            shift = cams.translation[b] - relative @ cams.translation[a]
            x, y, z = shift
            essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ relative
            one = np.concatenate([undistort(pixels, cams)[a], np.ones((6, 1))], axis=1)
            other = np.concatenate([undistort(pixels, cams)[b], np.ones((6, 1))], axis=1)
            line = one @ essential.T
            focal = np.sqrt(cams.matrix[b, 0, 0] * cams.matrix[b, 1, 1])
            squared.append((focal * np.sum(line * other, axis=1) / np.linalg.norm(line[:, :2], axis=1)) ** 2)
        np.testing.assert_allclose(found[row], np.sqrt(np.mean(squared, axis=0)), rtol=1e-9)


def test_gradients_equal_finite_differences_and_are_zero_where_missing() -> None:
    rng = np.random.default_rng(5)
    cams = random_rig(rng, 3, lens=14, fisheye=(False, True, False)).to(like=double_tensor())
    points = torch.tensor(random_points(rng, 4), requires_grad=True)
    poses = (cams.rotation.clone().requires_grad_(), cams.translation.clone().requires_grad_())
    assert torch.autograd.gradcheck(
        lambda points, rotation, translation: project(points, cams.replace(rotation=rotation, translation=translation)),
        (points, *poses),
        atol=1e-5,
    )
    behind = 3 * cams.centers[0]
    points = torch.stack([torch.zeros(3), torch.full((3,), torch.nan), behind]).to(torch.float64).requires_grad_()
    project(points, cams.select(["view0"])).nansum().backward()
    assert (points.grad[0] != 0).any()
    assert points.grad[1:].tolist() == [[0.0] * 3] * 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
def test_functions_compile_into_one_graph() -> None:
    rng = np.random.default_rng(6)
    cams = random_rig(rng, 3, fisheye=(False, True, False)).to(like=torch.zeros(0))
    points = torch.tensor(random_points(rng, 2, 5), dtype=torch.float32)

    @torch.compile(backend="eager", fullgraph=True)
    def there_and_back(points: torch.Tensor) -> torch.Tensor:
        return undistort(project(points, cams), cams)

    torch.testing.assert_close(there_and_back(points), undistort(project(points, cams), cams))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda cams: project(np.zeros((4, 2)), cams), raises_input("wrong-shape", argument="points", found=(4, 2))),
        (
            lambda cams: undistort(np.zeros((3, 4, 2)), cams),
            raises_input("wrong-shape", argument="points", found=(3, 4, 2)),
        ),
        (
            lambda cams: distort(np.zeros((2, 4, 3)), cams),
            raises_input("wrong-shape", argument="points", found=(2, 4, 3)),
        ),
        (
            lambda cams: project(torch.zeros(4, 3), cams),
            raises_input("wrong-array"),
        ),
        (
            lambda cams: epipolar_distance(np.zeros((1, 4, 2)), cams.select(["left"])),
            raises_input("too-few-views", found=1, expected=2),
        ),
    ],
)
def test_messages(call: object, expected: Expectation) -> None:
    with expected:
        call(stereo(lens=LENSES[5]))


def test_whole_numbers_are_taken_as_float64() -> None:
    pixels = project(np.array([[0, 0, 1], [1, 0, 2]]), stereo())
    assert pixels.dtype == np.float64
    np.testing.assert_allclose(pixels[0], [[320, 240], [570, 240]])
