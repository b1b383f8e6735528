import pickle
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.errors import Expectation, raises_input
from helpers.geometry import FISHEYE, LENSES, random_rig
from helpers.optional import torch
from mvgeom import CameraGroup, affine, invertible_radius, project

SEEDS = st.integers(0, 2**32 - 1)


def valid(**changes: object) -> dict[str, object]:
    """Arguments of a group of two cameras, some of them changed."""
    arguments = {
        "names": ["left", "right"],
        "sizes": [[640, 480]] * 2,
        "matrix": [[[500, 0, 320], [0, 500, 240], [0, 0, 1]]] * 2,
        "distortion": [[]] * 2,
        "rotation": [np.eye(3)] * 2,
        "translation": [[0, 0, 0], [1, 0, 0]],
    }
    return arguments | changes


def random_points(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.uniform(-0.8, 0.8, size=(*shape, 3))


@settings(max_examples=25)
@given(seed=SEEDS)
def test_selected_cameras_project_as_before(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cams, points = random_rig(rng, 4, fisheye=(False, True, False, True)), random_points(rng, 5)
    order = [int(view) for view in rng.permutation(4)[: rng.integers(1, 5)]]
    chosen = cams.select([cams.names[view] for view in order])
    assert chosen.names == tuple(cams.names[view] for view in order)
    assert len(chosen) == len(order)
    np.testing.assert_allclose(project(points, chosen), project(points, cams)[order], rtol=0, atol=1e-9)


@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("fisheye", [(False, False, False), (False, True, False), (True, False, True)])
def test_turned_cameras_project_to_the_pixels_of_turned_images(
    lens: int, quarters: int, fisheye: tuple[bool, ...]
) -> None:
    rng = np.random.default_rng(quarters)
    cams = random_rig(rng, 3, lens=lens, fisheye=fisheye)
    if quarters % 2:  # no lens model has these for such images
        distortion, matrix = cams.distortion.copy(), cams.matrix.copy()
        distortion[..., 12:] = 0
        matrix[..., 0, 1] = 0
        cams = cams.replace(distortion=distortion, matrix=matrix)
    points = random_points(rng, 40)
    expected = project(points, cams)
    sizes = np.broadcast_to(cams.sizes, (3, 2))
    for _ in range(quarters):
        expected[1] = np.stack([sizes[1, 1] - 1 - expected[1, :, 1], expected[1, :, 0]], axis=-1)
        sizes = np.stack([sizes[0], sizes[1, ::-1], sizes[2]])
    turned = cams.turn({"view1": 90 * quarters - 360})
    np.testing.assert_array_equal(turned.sizes, sizes)
    np.testing.assert_allclose(project(points, turned), expected, rtol=0, atol=1e-8)
    back = turned.turn({"view1": 360 - 90 * quarters})
    np.testing.assert_allclose(project(points, back), project(points, cams), rtol=0, atol=1e-8)
    on_torch = cams.to(like=torch.zeros(1, dtype=torch.float64)).turn({"view1": 90 * quarters})
    np.testing.assert_allclose(project(points, on_torch.to(like=points)), expected, rtol=0, atol=1e-8)


def test_turns_that_no_camera_has_are_refused() -> None:
    cams = CameraGroup(**valid())  # type: ignore[arg-type]
    with raises_input("out-of-range", view="left", found=45):
        cams.turn({"left": 45})
    with raises_input("missing-view"):
        cams.turn({"top": 90})
    skewed = cams.matrix.copy()
    skewed[1, 0, 1] = 3
    with raises_input("unsupported-camera", view="right"):
        cams.replace(matrix=skewed).turn({"right": 270})
    tilted = cams.replace(distortion=np.full((2, 14), 0.01))
    with raises_input("unsupported-camera", view="left"):
        tilted.turn({"left": 90})
    tilted.turn({"left": 180})


@settings(max_examples=25)
@given(seed=SEEDS)
def test_cropped_and_resized_cameras_project_to_mapped_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cams, points = random_rig(rng, 3), random_points(rng, 5)
    pixels = project(points, cams)
    offset = rng.uniform(-50, 200, size=(3, 2))
    np.testing.assert_allclose(project(points, cams.crop(offset)), pixels - offset[:, None], rtol=0, atol=1e-9)
    sizes = rng.integers(50, 2000, size=(3, 2)).astype(float)
    resized = cams.resize(sizes)
    np.testing.assert_array_equal(resized.sizes, sizes)
    expected = affine.apply(affine.resize(cams.sizes, sizes), pixels)
    np.testing.assert_allclose(project(points, resized), expected, rtol=0, atol=1e-8)
    np.testing.assert_allclose(project(points, resized.resize(cams.sizes)), pixels, rtol=0, atol=1e-8)


def test_crops_may_differ_from_sample_to_sample() -> None:
    rng = np.random.default_rng(0)
    cams, points = random_rig(rng, 3), random_points(rng, 5)
    offset = rng.uniform(0, 100, size=(4, 3, 2))
    cropped = cams.crop(offset)
    assert cropped.batch_shape == (4,)
    np.testing.assert_allclose(project(points, cropped), project(points, cams) - offset[:, :, None], rtol=0, atol=1e-9)


def test_centers_are_where_cameras_are() -> None:
    rng = np.random.default_rng(1)
    cams = random_rig(rng, 3)
    at_center = np.einsum("vij,vj->vi", cams.rotation, cams.centers) + cams.translation
    np.testing.assert_allclose(at_center, 0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cameras_move_to_torch_and_back(dtype: torch.dtype) -> None:
    rng = np.random.default_rng(2)
    cams, points = random_rig(rng, 3, fisheye=(True, False, False)), random_points(rng, 5)
    there = cams.to(like=torch.zeros(0, dtype=dtype))
    assert {getattr(there, field).dtype for field in ("sizes", "matrix", "distortion", "rotation")} == {dtype}
    back = there.to(like=np.zeros(0))
    assert back.matrix.dtype == np.float64
    np.testing.assert_allclose(project(points, back), project(points, cams), rtol=0, atol=1e-2)
    assert back.fisheye == cams.fisheye
    assert cams.to(dtype=np.float32).matrix.dtype == np.float32


def test_lists_become_float64_and_short_distortions_are_padded() -> None:
    cams = CameraGroup(**valid(distortion=[LENSES[5], [0.1, 0, 0, 0]]))
    assert cams.matrix.dtype == np.float64
    np.testing.assert_array_equal(cams.distortion, [LENSES[5], [0.1, 0, 0, 0, 0]])
    assert CameraGroup(**valid(distortion=[[0.1] * 6, []])).distortion.shape == (2, 8)
    assert cams.fisheye == (False, False)
    assert cams.batch_shape == ()


@pytest.mark.parametrize("dtype", [np.int32, np.uint16, bool])
def test_integers_lose_no_fractions(dtype: type) -> None:
    group = random_rig(np.random.default_rng(0), 2)
    fields = {
        "sizes": np.array([[640, 480]] * 2),
        "matrix": np.array([[[500, 0, 320], [0, 500, 240], [0, 0, 1]]] * 2),
        "distortion": np.ones((2, 4), dtype=dtype),
        "rotation": np.array([np.eye(3, dtype=dtype)] * 2),
        "translation": np.zeros((2, 3), dtype=dtype),
    }
    whole = group.replace(**fields)
    floating = group.replace(**{field: array.astype(np.float64) for field, array in fields.items()})
    for field in fields:
        assert getattr(whole, field).dtype == np.float64
    np.testing.assert_array_equal(whole.crop([[0.5, 0.25]] * 2).matrix, floating.crop([[0.5, 0.25]] * 2).matrix)
    np.testing.assert_array_equal(whole.resize([[333, 250]] * 2).matrix, floating.resize([[333, 250]] * 2).matrix)
    np.testing.assert_array_equal(invertible_radius(whole), invertible_radius(floating))


def test_integers_take_the_dtype_of_the_others_and_floats_are_not_copied() -> None:
    group = random_rig(np.random.default_rng(0), 2)
    torch_group = group.to(like=torch.zeros(0, dtype=torch.float32))
    sizes = torch.tensor([[640, 480]] * 2)
    mixed = torch_group.replace(sizes=sizes)
    assert mixed.sizes.dtype == torch.float32
    assert mixed.resize(sizes // 2).matrix.dtype == torch.float32
    assert mixed.matrix is torch_group.matrix
    assert group.replace(sizes=group.sizes.astype(int)).matrix is group.matrix


def test_stacking_pads_distortion_and_keeps_projection() -> None:
    rng = np.random.default_rng(3)
    rigs = [random_rig(rng, 2, lens=length) for length in (0, 5, 14)]
    stacked = CameraGroup.stack(rigs)
    assert stacked.distortion.shape == (3, 2, 14)
    points = random_points(rng, 4)
    np.testing.assert_allclose(project(points, stacked), [project(points, rig) for rig in rigs], rtol=0, atol=1e-9)


def test_groups_can_be_pickled_after_use() -> None:
    rng = np.random.default_rng(4)
    cams, points = random_rig(rng, 2), random_points(rng, 3)
    pixels = project(points, cams)
    np.testing.assert_array_equal(project(points, pickle.loads(pickle.dumps(cams))), pixels)


@pytest.mark.parametrize("change", [CameraGroup.replace, CameraGroup._unchecked])
def test_a_changed_group_does_not_keep_the_old_lens(change: Callable[..., CameraGroup]) -> None:
    cams = CameraGroup(**valid(distortion=[[-0.4, 0, 0, 0]] * 2))
    points = np.array([[2.0, 0.0, 1.5]])
    assert np.isnan(project(points, cams)[0]).all()
    assert np.isfinite(project(points, change(cams, distortion=np.zeros((2, 4))))).all()


def test_a_group_cannot_be_changed_in_place() -> None:
    with pytest.raises(AttributeError):
        CameraGroup(**valid()).names = ("a", "b")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"names": []}, raises_input("too-few-views", found=0, expected=1)),
        ({"names": ["left", "left"]}, raises_input("duplicate-name", argument="names")),
        ({"names": ["left"]}, raises_input("wrong-shape", argument="sizes", found=(2, 2))),
        ({"matrix": [np.eye(2)] * 2}, raises_input("wrong-shape", argument="matrix", found=(2, 2, 2))),
        (
            {"distortion": np.zeros((2, 6))},
            raises_input("wrong-shape", argument="distortion", found=(2, 6)),
        ),
        ({"distortion": [[0.0] * 15] * 2}, raises_input("wrong-shape", argument="distortion", found=(2, 15))),
        ({"fisheye": (True,)}, raises_input("wrong-shape", argument="fisheye", found=(1,))),
        (
            {"translation": [[0, 0, 0], [1, np.nan, 0]]},
            raises_input("not-finite", argument="translation", view="right"),
        ),
        ({"matrix": [np.eye(3), np.full((3, 3), np.inf)]}, raises_input("not-finite", argument="matrix", view="right")),
        ({"distortion": [[np.nan, 0, 0, 0], FISHEYE]}, raises_input("not-finite", argument="distortion", view="left")),
        (
            {"matrix": np.zeros((3, 2, 3, 3)), "translation": np.zeros((4, 2, 3))},
            raises_input("wrong-shape", argument="batch"),
        ),
    ],
)
def test_messages_of_wrong_groups(changes: dict[str, object], expected: Expectation) -> None:
    with expected:
        CameraGroup(**valid(**changes))


def test_messages_of_wrong_names_and_stacks() -> None:
    cams = CameraGroup(**valid())
    with raises_input("missing-view", view="top", found=("left", "right")):
        cams.select(["left", "top", "back"])
    other = CameraGroup(**valid(names=["left", "top"]))
    with raises_input("cameras-differ"):
        CameraGroup.stack([cams, other])
    fisheye = CameraGroup(**valid(fisheye=(True, False)))
    with raises_input("cameras-differ"):
        CameraGroup.stack([cams, fisheye])
    with raises_input("too-few-views", argument="groups", found=0, expected=1):
        CameraGroup.stack([])
