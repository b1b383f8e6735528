"""2D geometric augmentation: where each transform puts a point, and that it acts on the full image."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from helpers.errors import raises_input
from mvaug.geometric import GEOMETRIC, draw_model_maps
from mvaug.presets import parse_imgaug
from mvgeom import affine

SIZE = (200, 100)
UNIT = np.eye(2, 3)


def map_of(imgaug: dict, full_to_model: np.ndarray = UNIT, size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    """The one map, model px to model px, that a geometric pipeline draws for one view."""
    maps, _ = draw_model_maps(parse_imgaug(imgaug).geometric, full_to_model[None], size, np.random.default_rng(seed))
    return maps[0]


def at(matrix: np.ndarray, x: float, y: float) -> np.ndarray:
    return affine.apply(matrix, np.array([[x, y]]))[0]


def always(name: str, **kwargs) -> dict:
    return {name: {"p": 1.0, "kwargs": kwargs}}


@pytest.mark.parametrize(
    ("imgaug", "point", "expected"),
    [
        (always("Rotate", rotate=90), (99.5, 0), (149, 49.5)),
        (always("Affine", rotate=90), (99.5, 0), (149, 49.5)),
        (always("Affine", scale=2), (99.5, 39.5), (99.5, 29.5)),
        (always("Affine", scale={"x": 2}), (109.5, 39.5), (119.5, 39.5)),
        (always("Affine", translate_percent={"x": 0.1, "y": -0.2}), (0, 0), (20, -20)),
        (always("Affine", translate_px=7), (0, 0), (7, 7)),
        (always("Affine", shear=45), (99.5, 39.5), (109.5, 39.5)),
        (always("Affine", shear={"y": 45}), (89.5, 49.5), (89.5, 39.5)),
        (always("ShearX", shear=45), (99.5, 39.5), (109.5, 39.5)),
        (always("ShearY", shear=45), (89.5, 49.5), (89.5, 39.5)),
        (always("ScaleX", scale=0.5), (0, 0), (49.75, 0)),
        (always("ScaleY", scale=0.5), (0, 0), (0, 24.75)),
        (always("TranslateX", percent=0.25), (0, 0), (50, 0)),
        (always("TranslateY", px=-3), (0, 0), (0, -3)),
        (always("Fliplr"), (0, 0), (199, 0)),
        (always("Flipud"), (0, 0), (0, 99)),
        # Outer borders: half a pixel outside the first and the last pixel's center.
        (always("Rot90", k=1), (-0.5, -0.5), (199.5, -0.5)),
        (always("Rot90", k=1), (199.5, -0.5), (199.5, 99.5)),
        (always("Rot90", k=2), (-0.5, -0.5), (199.5, 99.5)),
        (always("Rot90", k=3), (-0.5, -0.5), (-0.5, 99.5)),
        (always("Rot90", k=-1), (-0.5, -0.5), (-0.5, 99.5)),
        (always("CropAndPad", percent=-0.25), (49.5, 24.5), (-0.5, -0.5)),
        (always("CropAndPad", percent=0.5), (-0.5, -0.5), (49.5, 24.5)),
        (always("CropAndPad", px=-10), (9.5, 9.5), (-0.5, -0.5)),
        (always("Crop", percent=0.25), (149.5, 74.5), (199.5, 99.5)),
        (always("Pad", percent=0.5, keep_size=False), (199.5, 99.5), (149.5, 74.5)),
    ],
)
def test_where_a_point_goes(imgaug, point, expected):
    np.testing.assert_allclose(at(map_of(imgaug), *point), expected, atol=1e-9)


@given(
    angle=st.floats(-180, 180),
    scale=st.tuples(st.floats(0.1, 3), st.floats(0.1, 3)),
    size=st.tuples(st.integers(16, 400), st.integers(16, 400)),
)
@settings(max_examples=50, deadline=None)
def test_a_rotation_is_rigid_in_the_full_image_however_the_input_is_stretched(angle, scale, size):
    full_to_model = np.array([[scale[0], 0, 12.0], [0, scale[1], -7.0]])
    to_model = affine.compose(map_of(always("Rotate", rotate=angle), full_to_model, size), full_to_model)
    in_full = affine.compose(affine.invert(full_to_model), to_model)
    np.testing.assert_allclose(in_full[:, :2] @ in_full[:, :2].T, np.eye(2), atol=1e-9)
    center = at(affine.invert(full_to_model), (size[0] - 1) / 2, (size[1] - 1) / 2)
    np.testing.assert_allclose(at(in_full, *center), center, atol=1e-6)


def test_the_order_of_the_mapping_is_kept():
    shift, turn = always("TranslateX", percent=0.25), always("Rotate", rotate=90)
    first_shift, first_turn = map_of({**shift, **turn}), map_of({**turn, **shift})
    np.testing.assert_allclose(first_turn, affine.compose(map_of(shift), map_of(turn)), atol=1e-9)
    np.testing.assert_allclose(first_shift, affine.compose(map_of(turn), map_of(shift)), atol=1e-9)
    assert not np.allclose(first_shift, first_turn)


def test_sides_are_cropped_apart_unless_another_choice_is_made():
    apart = map_of(always("CropAndPad", percent=[-0.2, 0.2]))
    alike = map_of(always("CropAndPad", percent=[-0.2, 0.2], sample_independently=False))
    corners = np.array([[-0.5, -0.5], [199.5, 99.5]])
    np.testing.assert_allclose(affine.apply(alike, corners).sum(0), [199, 99], atol=1e-9)
    assert not np.allclose(affine.apply(apart, corners).sum(0), [199, 99], atol=1)


def test_views_are_drawn_apart_but_mirrored_together():
    full_to_model = np.tile(UNIT, (6, 1, 1))
    pipeline = parse_imgaug({"Fliplr": {"p": 0.5}, **always("Rotate", rotate=[-5, 5])})
    outcomes = set()
    for seed in range(20):
        maps, mirrored = draw_model_maps(pipeline.geometric, full_to_model, SIZE, np.random.default_rng(seed))
        assert len({float(matrix[0, 1]) for matrix in maps}) == 6
        assert (np.sign(np.linalg.det(maps[:, :, :2])) == (-1 if mirrored else 1)).all()
        outcomes.add(mirrored)
    assert outcomes == {True, False}


def test_two_mirrors_are_a_rotation():
    maps, mirrored = draw_model_maps(
        parse_imgaug({**always("Fliplr"), **always("Flipud")}).geometric, UNIT[None], SIZE, np.random.default_rng(0)
    )
    assert not mirrored
    np.testing.assert_allclose(maps[0], map_of(always("Rot90", k=2)), atol=1e-9)


def test_the_probability_of_a_flip_may_be_its_own_parameter():
    """imgaug's `Fliplr: {p: 1.0, args: [0.5]}`."""
    pipeline = parse_imgaug({"Fliplr": {"p": 1.0, "args": [0.5]}})
    count = sum(
        draw_model_maps(pipeline.geometric, UNIT[None], SIZE, np.random.default_rng(seed))[1] for seed in range(200)
    )
    assert 70 < count < 130


def test_a_transform_happens_with_its_probability():
    maps = [map_of({"Rotate": {"p": 0.4, "kwargs": {"rotate": 10}}}, seed=seed) for seed in range(300)]
    assert 90 < sum(not np.allclose(matrix, UNIT) for matrix in maps) < 150


def test_no_transform_is_exactly_the_identity():
    np.testing.assert_allclose(map_of({}, np.array([[0.37, 0, 3.0], [0, 1.7, 5]])), UNIT, atol=1e-12)


def test_cropping_everything_away_is_an_error():
    with raises_input("empty-crop", argument="imgaug", size=(200.0, 100.0)):
        map_of(always("Crop", px=60))


@pytest.mark.parametrize("name", list(GEOMETRIC))
@pytest.mark.parametrize("size", [(1, 1), (7, 300), (256, 192)])
def test_every_transform_gives_an_invertible_map_on_any_size(name, size):
    for seed in range(5):
        matrix = map_of({name: {"p": 1.0}}, np.array([[0.5, 0, 1], [0, 0.25, 2.0]]), size, seed)
        assert matrix.shape == (2, 3)
        assert abs(np.linalg.det(matrix[:, :2])) > 1e-3
