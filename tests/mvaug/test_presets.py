"""Augmentation of configs: presets, transforms, and errors that name the key."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from omegaconf import OmegaConf

from helpers.errors import raises_input
from mvaug import Augmentation
from mvaug.geometric import GEOMETRIC
from mvaug.move import MoveRanges
from mvaug.parameters import Draws, Parameter, Values, parse_values
from mvaug.photometric import PHOTOMETRIC
from mvaug.presets import PRESETS, parse_imgaug


def names(imgaug) -> list[str]:
    pipeline = parse_imgaug(imgaug)
    return [transform.name for transform in (*pipeline.geometric, *pipeline.photometric)]


def test_presets_hold_the_transforms_that_existing_configs_expect():
    photometric = [
        "MotionBlur",
        "CoarseDropout",
        "CoarseSalt",
        "CoarsePepper",
        "AllChannelsHistogramEqualization",
        "AllChannelsCLAHE",
        "Emboss",
    ]
    with_elastic = [*photometric[:4], "ElasticTransformation", *photometric[4:]]
    assert names("none") == names("default") == names(None) == names({}) == []
    assert names("dlc-mv") == photometric
    assert names("dlc") == ["Affine", "CropAndPad", *with_elastic]
    assert names("dlc-lr") == names("dlc-top-down") == ["Rot90", "Affine", "CropAndPad", *with_elastic]


def test_the_dlc_strengths():
    by_name = {
        t.name: (t.p, dict(t.parameters)) for p in ("geometric", "photometric") for t in getattr(parse_imgaug("dlc"), p)
    }
    assert by_name["Affine"] == (0.4, {"rotate": Values(kind="uniform", values=(-25.0, 25.0))})
    assert by_name["CropAndPad"][0] == 0.4
    assert by_name["CropAndPad"][1]["percent"] == Values(kind="uniform", values=(-0.15, 0.15))
    assert by_name["MotionBlur"][1]["k"] == Values(kind="constant", values=(5,))
    assert by_name["CoarseDropout"][1]["per_channel"] == Values(kind="constant", values=(0.5,))
    turns = {name: dict(parse_imgaug(name).geometric[0].parameters)["k"] for name in ("dlc-lr", "dlc-top-down")}
    assert turns["dlc-lr"] == Values(kind="choice", values=(0, 2))
    assert turns["dlc-top-down"] == Values(kind="choice", values=(0, 1, 2, 3))


def test_a_mapping_from_yaml_reads_like_a_plain_one():
    text = """
    Rotate: {p: 0.4, kwargs: {rotate: [-10, 10]}}
    Affine: {kwargs: {scale: {x: [0.9, 1.1], y: 1.0}, shear: 5}}
    MotionBlur: {p: 0.5, args: [5], kwargs: {angle: [-90, 90]}}
    AllChannelsCLAHE: {p: 0.1}
    Emboss:
    """
    config = OmegaConf.create(text)
    pipeline = parse_imgaug(config)
    assert pipeline == parse_imgaug(OmegaConf.to_container(config))
    assert [t.name for t in pipeline.geometric] == ["Rotate", "Affine"]
    assert [t.p for t in pipeline.photometric] == [0.5, 0.1, 0.5]
    assert dict(pipeline.photometric[0].parameters)["k"] == Values(kind="constant", values=(5,))
    assert dict(pipeline.geometric[1].parameters)["scale.x"] == Values(kind="uniform", values=(0.9, 1.1))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, Values(kind="constant", values=(5.0,))),
        ([5], Values(kind="constant", values=(5.0,))),
        ([1, 2], Values(kind="uniform", values=(1.0, 2.0))),
        ((1, 2), Values(kind="uniform", values=(1.0, 2.0))),
        ([1, 2, 4], Values(kind="choice", values=(1.0, 2.0, 4.0))),
        ([[1, 2]], Values(kind="choice", values=(1.0, 2.0))),
    ],
)
def test_notation_of_constants_ranges_and_choices(value, expected):
    assert parse_values(value, Parameter(), "here") == expected


def test_draws_stay_within_their_distribution():
    parameters = {
        "range": Values(kind="uniform", values=(-2.0, 3.0)),
        "whole": Values(kind="uniform", values=(3, 5)),
        "choice": Values(kind="choice", values=(0, 2)),
    }
    draw = Draws(parameters, np.random.default_rng(0))
    numbers = [draw.number("range") for _ in range(200)]
    assert -2 <= min(numbers) < -1.5
    assert 2.5 < max(numbers) <= 3
    assert {draw.integer("whole") for _ in range(100)} == {3, 4, 5}
    assert {draw.integer("choice") for _ in range(100)} == {0, 2}


@pytest.mark.parametrize(
    ("imgaug", "code", "argument"),
    [
        ("dcl", "unknown-choice", ""),
        (["dlc"], "bad-value", ""),
        ({"Rotat": {}}, "unknown-choice", ".Rotat"),
        ({"dlc": {"p": 1}}, "bad-value", ".dlc"),
        ({"Rotate": {"rotate": 5}}, "bad-key", ".Rotate"),
        ({"Rotate": {"kwargs": {"angle": 5}}}, "bad-key", ".Rotate"),
        ({"Rotate": {"p": 1.5}}, "bad-value", ".Rotate.p"),
        ({"Rotate": {"p": True}}, "bad-value", ".Rotate.p"),
        ({"Rotate": 0.5}, "bad-value", ".Rotate"),
        ({"Rotate": {"args": 5}}, "bad-value", ".Rotate.args"),
        ({"Rotate": {"args": [5, 6]}}, "wrong-count", ".Rotate.args"),
        ({"Rotate": {"kwargs": 5}}, "bad-value", ".Rotate.kwargs"),
        ({"Rotate": {"args": [5], "kwargs": {"rotate": 6}}}, "duplicate-name", ".Rotate"),
        ({"Crop": {"kwargs": {"px": 5, "percent": 0.1}}}, "excluded-options", ".Crop"),
        ({"Rotate": {"kwargs": {"rotate": "5 degrees"}}}, "bad-value", ".Rotate.rotate"),
        ({"Rotate": {"kwargs": {"rotate": [10, -10]}}}, "out-of-range", ".Rotate.rotate"),
        ({"Rotate": {"kwargs": {"rotate": []}}}, "bad-value", ".Rotate.rotate"),
        ({"Affine": {"kwargs": {"scale": 0}}}, "out-of-range", ".Affine.scale"),
        ({"Affine": {"kwargs": {"scale": {"z": 1}}}}, "bad-value", ".Affine.scale"),
        ({"Affine": {"kwargs": {"scale": {"x": "1"}}}}, "bad-value", ".Affine.scale.x"),
        ({"Affine": {"kwargs": {"rotate": {"x": 1}}}}, "bad-value", ".Affine.rotate"),
        ({"MotionBlur": {"kwargs": {"k": 2.5}}}, "bad-value", ".MotionBlur.k"),
        ({"MotionBlur": {"kwargs": {"k": True}}}, "bad-value", ".MotionBlur.k"),
        ({"CoarseDropout": {"kwargs": {"p": 2}}}, "out-of-range", ".CoarseDropout.p"),
        ({"Add": {"kwargs": {"value": float("nan")}}}, "bad-value", ".Add.value"),
        (
            {"ElasticTransformation": {"kwargs": {"alpha": [0, 40], "sigma": 5}}},
            "out-of-range",
            ".ElasticTransformation",
        ),
    ],
)
def test_mistakes_are_reported_where_and_what_to_do(imgaug, code, argument):
    with raises_input(code, argument=f"imgaug{argument}") as caught:
        parse_imgaug(imgaug)
    # Trainers put the section of their config before it.
    assert str(caught.value).startswith(f"imgaug{argument}: ")


@pytest.mark.parametrize(
    ("imgaug", "code", "known"),
    [
        ("dcl", "unknown-choice", "dlc-mv"),
        ({"Rotat": {}}, "unknown-choice", "MotionBlur"),
        ({"Rotate": {"rotate": 5}}, "bad-key", "rotate"),
        ({"Rotate": {"kwargs": {"angle": 5}}}, "bad-key", "rotate"),
    ],
)
def test_messages_list_what_is_known(imgaug, code, known):
    with raises_input(code) as caught:
        parse_imgaug(imgaug)
    assert known in str(caught.value).partition("expected")[2]


def test_a_preset_in_a_mapping_stands_for_its_transforms():
    assert parse_imgaug({"dlc": None}) == parse_imgaug({"dlc": {}}) == parse_imgaug("dlc")
    assert names({"Invert": {}, "dlc-mv": None, "Rotate": {}}) == ["Rotate", "Invert", *names("dlc-mv")]
    # Named again, a transform of the preset keeps its place and gets other parameters.
    pipeline = parse_imgaug({"dlc": None, "MotionBlur": {"p": 0.9}})
    assert [transform.name for transform in pipeline.photometric] == names("dlc")[2:]
    assert pipeline.photometric[0].p == 0.9


def test_what_existing_configs_name_is_known():
    geometric = ("Affine", "CropAndPad", "Rot90", "Fliplr", "Flipud")
    occluding = ("CoarseDropout", "CoarseSalt", "CoarsePepper")
    levels = ("AllChannelsHistogramEqualization", "AllChannelsCLAHE", "CLAHE", "Emboss", "Multiply", "GammaContrast")
    others = ("MotionBlur", "ElasticTransformation", "LinearContrast", "AdditiveGaussianNoise", "JpegCompression")
    mapping = {name: {"p": 1.0} for name in (*geometric, *occluding, *levels, *others)}
    pipeline = parse_imgaug(mapping)
    assert {transform.name for transform in pipeline.geometric} == set(geometric)
    assert {transform.name for transform in pipeline.photometric} == {*occluding, *levels, *others}
    assert set(PRESETS) == {"default", "none", "dlc", "dlc-lr", "dlc-top-down", "dlc-mv"}


def test_every_known_transform_does_something_without_parameters():
    for name in (*GEOMETRIC, *PHOTOMETRIC):
        (transform,) = getattr(parse_imgaug({name: None}), "geometric" if name in GEOMETRIC else "photometric")
        specification = GEOMETRIC.get(name) or PHOTOMETRIC[name]
        assert transform.parameters or not specification.parameters


@pytest.mark.parametrize("imgaug", list(PRESETS))
@pytest.mark.parametrize("imgaug_3d", [True, False, {"scale": [0.9, 1.1], "rotate": 180}])
def test_an_augmentation_is_hashable_and_picklable(imgaug, imgaug_3d):
    augmentation = Augmentation.from_config(imgaug, imgaug_3d, keypoint_names=["l_eye", "r_eye"], hflip=True)
    assert pickle.loads(pickle.dumps(augmentation)) == augmentation
    assert hash(augmentation) == hash(
        Augmentation.from_config(imgaug, imgaug_3d, keypoint_names=["l_eye", "r_eye"], hflip=True)
    )


def test_imgaug_3d_false_is_really_none():
    assert Augmentation.from_config("dlc", False).move is None
    assert Augmentation.from_config("none", False) == Augmentation.none()
    assert Augmentation.from_config(None, True).move == MoveRanges()


def test_a_mapping_for_imgaug_3d_changes_what_it_names():
    ranges = MoveRanges.from_config({"scale": [0.7, 1.3], "shift": 0.1, "rotate": [-5, 20], "axis": [0, 1, 0]})
    assert ranges == MoveRanges(scale=(0.7, 1.3), shift=0.1, rotate=(-5.0, 20.0), axis=(0.0, 1.0, 0.0))
    assert MoveRanges.from_config({"rotate": 30}).rotate == (-30.0, 30.0)
    assert MoveRanges.from_config(OmegaConf.create({"rotate": [-1, 1]})).rotate == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("imgaug_3d", "code", "argument"),
    [
        ({"scales": [1, 2]}, "bad-key", "imgaug_3d"),
        ("yes", "bad-value", "imgaug_3d"),
        ({"scale": 1.2}, "bad-value", "imgaug_3d.scale"),
        ({"scale": [1.2, 0.8]}, "bad-value", "imgaug_3d.scale"),
        ({"scale": [0, 1]}, "bad-value", "imgaug_3d.scale"),
        ({"shift": -1}, "bad-value", "imgaug_3d.shift"),
        ({"shift": [0, 1]}, "bad-value", "imgaug_3d.shift"),
        ({"rotate": [5, -5]}, "bad-value", "imgaug_3d.rotate"),
        ({"axis": [0, 0, 0]}, "bad-value", "imgaug_3d.axis"),
        ({"axis": "z"}, "bad-value", "imgaug_3d.axis"),
        ({"max_residual": 0}, "bad-value", "imgaug_3d.max_residual"),
    ],
)
def test_mistakes_in_imgaug_3d(imgaug_3d, code, argument):
    with raises_input(code, argument=argument):
        Augmentation.from_config("none", imgaug_3d)


def test_ranges_that_are_no_numbers_are_errors():
    with raises_input("bad-value", argument="imgaug_3d.shift"):
        MoveRanges(shift=float("nan"))
