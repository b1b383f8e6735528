"""Transforms of one's own: named like the built-in ones, checked, and reproducible."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from helpers.errors import raises_input
from mvaug import Augmentation, Draws, Parameter, augment_sample, register_geometric, register_photometric
from mvaug.geometric import GEOMETRIC, Canvas, draw_model_maps
from mvaug.photometric import PHOTOMETRIC, apply_photometric
from mvaug.presets import parse_imgaug
from mvgeom import affine

ALWAYS = {"p": 1.0}


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    """Remove what a test has registered."""
    tables = (GEOMETRIC, PHOTOMETRIC)
    before = [dict(table) for table in tables]
    yield
    for table, old in zip(tables, before, strict=True):
        table.clear()
        table.update(old)  # type: ignore[arg-type]


def register_shade_and_slide() -> None:
    @register_photometric("Shade", parameters={"strength": Parameter(default=(0.2, 0.5), low=0.0, high=1.0)})
    def shade(image: np.ndarray, draw: Draws) -> np.ndarray:
        return np.rint(image * (1 - draw.number("strength"))).astype(np.uint8)

    @register_geometric("Slide", parameters={"px": Parameter(default=4)})
    def slide(canvas: Canvas, draw: Draws) -> tuple[np.ndarray, Canvas]:
        return affine.translate((draw.number("px"), 0.0)), canvas


def test_a_registered_transform_is_parsed_and_drawn_like_a_built_in_one(photo):
    register_shade_and_slide()
    pipeline = parse_imgaug({"Shade": {"p": 1.0, "args": [0.25]}, "Slide": {"p": 1.0, "kwargs": {"px": [[2, 6]]}}})
    shaded = apply_photometric(photo, pipeline.photometric, np.random.default_rng(0))
    np.testing.assert_array_equal(shaded, np.rint(photo * 0.75))
    shifts = {
        float(
            draw_model_maps(pipeline.geometric, np.eye(2, 3)[None], (64, 48), np.random.default_rng(seed))[0][0, 0, 2]
        )
        for seed in range(20)
    }
    assert shifts == {2.0, 6.0}
    with raises_input("out-of-range", argument="imgaug.Shade.strength"):
        parse_imgaug({"Shade": {"kwargs": {"strength": 2}}})


def test_labels_follow_a_registered_geometric_transform(photo):
    register_shade_and_slide()
    identity = np.eye(2, 3)[None]
    sample = augment_sample(
        [photo],
        crop_to_full=identity,
        full_to_model=identity,
        points=np.array([[[10.0, 20.0]]]),
        points_3d=np.full((1, 3), np.nan),
        cameras=None,
        size=(128, 96),
        augmentation=Augmentation.from_config({"Slide": ALWAYS}, False),
        generator=np.random.default_rng(0),
    )
    np.testing.assert_allclose(sample.points, [[[14.0, 20.0]]])
    np.testing.assert_array_equal(sample.images[0, :, 4:], photo[:, :-4])


def test_registering_changes_nothing_for_others(photo):
    before = apply_photometric(photo, parse_imgaug("dlc").photometric, np.random.default_rng(3))
    register_shade_and_slide()
    again = apply_photometric(photo, parse_imgaug("dlc").photometric, np.random.default_rng(3))
    np.testing.assert_array_equal(again, before)


@pytest.mark.parametrize("name", ["Affine", "Invert", "dlc"])
@pytest.mark.parametrize("register", [register_geometric, register_photometric])
def test_a_name_can_be_taken_once(register, name):
    with raises_input("duplicate-name", name=name):
        register(name)


@pytest.mark.parametrize("result", [None, np.zeros((2, 2, 3), np.uint8), np.zeros((96, 128, 3))])
def test_an_image_of_another_kind_is_an_error(photo, result):
    register_photometric("Broken")(lambda image, draw: result)
    with raises_input("invalid-transform-result", argument="imgaug.Broken"):
        apply_photometric(photo, parse_imgaug({"Broken": ALWAYS}).photometric, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("matrix", "canvas"),
    [
        (np.eye(2), (64, 48)),
        (np.array([[-1.0, 0, 63], [0, 1, 0]]), (64, 48)),
        (np.full((2, 3), np.nan), (64, 48)),
        (np.eye(2, 3), (64, 0)),
        (np.eye(2, 3), (64,)),
    ],
)
def test_a_map_that_cannot_be_is_an_error(matrix, canvas):
    register_geometric("Broken")(lambda before, draw: (matrix, canvas))
    with raises_input("invalid-transform-result", argument="imgaug.Broken"):
        draw_model_maps(
            parse_imgaug({"Broken": ALWAYS}).geometric, np.eye(2, 3)[None], (64, 48), np.random.default_rng(0)
        )
