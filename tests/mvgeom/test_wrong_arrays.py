"""Arrays that no function can use: an `InputError` that names the argument, in all public functions with arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest.mock import ANY

import numpy as np
import pandas as pd
import pytest

import mvgeom
from helpers.errors import raises_input
from helpers.geometry import random_rig
from mvgeom import calibration
from mvgeom.errors import InputError

RNG = np.random.default_rng(0)
RIG = random_rig(RNG, num_views=3)
FRAMES = 24
WORLD = RNG.uniform(-0.2, 0.2, (FRAMES, 4, 3))
PIXELS = mvgeom.project(WORLD, RIG) + RNG.normal(size=(FRAMES, 3, 4, 2))
WEIGHTS = np.ones(PIXELS.shape[:-1])
SPREAD = np.tile(1e-4 * np.eye(3), (FRAMES, 4, 1, 1))
BOXES = np.array([[1.0, 2, 3, 4], [2, 2, 6, 3]])
MAPS = np.tile([[1.5, 0.1, 3.0], [-0.1, 1.4, 2.0]], (2, 1, 1))
PLACES = np.array([[0.0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0.1, 0.1, 0.02]])
TIMES = np.arange(float(FRAMES))
NOISE = mvgeom.learn_noise(PIXELS, RIG)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of a public function: its arrays by argument, and what else it needs."""

    function: Callable[..., Any]
    arrays: dict[str, Any]
    others: dict[str, Any]


def call(function: Callable[..., Any], others: dict[str, Any] | None = None, **arrays: Any) -> Call:
    return Call(function=function, arrays=arrays, others=others or {})


CAMS = {"cams": RIG}
AT_LEAST_ONE = {"sigma": 1.0}
CALLS = {
    **{name: call(getattr(mvgeom, name), CAMS, points=WORLD) for name in ("project", "visible", "world_to_camera")},
    **{
        name: call(getattr(mvgeom, name), CAMS, points=PIXELS)
        for name in ("distort", "undistort", "in_image", "rays", "epipolar_distance", "pair_parallax")
    },
    **{
        name: call(getattr(mvgeom, name), CAMS, points=PIXELS, weights=WEIGHTS)
        for name in ("triangulate", "triangulate_pairs")
    },
    "triangulate_robust": call(mvgeom.triangulate_robust, CAMS, points=PIXELS, weights=WEIGHTS, threshold=10 * WEIGHTS),
    "reprojection_error": call(mvgeom.reprojection_error, CAMS, points_3d=WORLD, points=PIXELS),
    "covariance": call(mvgeom.covariance, CAMS, points_3d=WORLD, noise=WEIGHTS, observed=WEIGHTS > 0),
    "projected_covariance": call(mvgeom.projected_covariance, CAMS, points_3d=WORLD, covariances=SPREAD),
    "projection_jacobian": call(mvgeom.projection_jacobian, CAMS, points_3d=WORLD),
    "reconstruct": call(mvgeom.reconstruct, CAMS, points=PIXELS, weights=WEIGHTS),
    "reconstruct, covariances": call(
        mvgeom.reconstruct, {"cams": RIG, "points": PIXELS}, covariances=np.tile(np.eye(2), (*WEIGHTS.shape, 1, 1))
    ),
    "smooth": call(mvgeom.smooth, {"cameras": RIG, "noise": NOISE}, points=PIXELS, likelihood=WEIGHTS, times=TIMES),
    "smooth, covariance": call(
        mvgeom.smooth,
        {"points": PIXELS, "cameras": RIG, "noise": NOISE},
        covariance=np.tile(np.eye(2), (*WEIGHTS.shape, 1, 1)),
    ),
    "learn_noise": call(mvgeom.learn_noise, {"cameras": RIG}, points=PIXELS, likelihood=WEIGHTS, times=TIMES),
    "learn_noise, covariance": call(
        mvgeom.learn_noise,
        {"points": PIXELS, "cameras": RIG},
        covariance=np.tile(np.eye(2), (*WEIGHTS.shape, 1, 1)),
    ),
    "compute_kinematics": call(
        mvgeom.compute_kinematics,
        points=WORLD,
        covariance=SPREAD,
        times=TIMES,
        bones=np.array([[0, 1]]),
        joints=np.array([[0, 1, 2]]),
    ),
    "compute_kinematics, velocity": call(
        mvgeom.compute_kinematics,
        {"points": WORLD, "covariance": SPREAD},
        velocity=WORLD,
        velocity_covariance=SPREAD,
    ),
    "affine.identity": call(mvgeom.affine.identity, like=WORLD),
    "affine.apply": call(mvgeom.affine.apply, matrix=MAPS, points=PIXELS[:2, 0]),
    "affine.compose": call(lambda outer, inner: mvgeom.affine.compose(outer, inner), outer=MAPS, inner=MAPS),
    "affine.invert": call(mvgeom.affine.invert, matrix=MAPS),
    "affine.to_3x3": call(mvgeom.affine.to_3x3, matrix=MAPS),
    "affine.from_3x3": call(mvgeom.affine.from_3x3, matrix=mvgeom.affine.to_3x3(MAPS)),
    "affine.from_box": call(mvgeom.affine.from_box, box=BOXES, size=BOXES[:, 2:]),
    "affine.resize": call(mvgeom.affine.resize, old=BOXES[:, 2:], new=BOXES[:, 2:]),
    "affine.translate": call(mvgeom.affine.translate, offset=BOXES[:, 2:]),
    "boxes.from_keypoints": call(mvgeom.boxes.from_keypoints, points=PIXELS),
    "boxes.from_points_3d": call(mvgeom.boxes.from_points_3d, CAMS, points=WORLD),
    "boxes.clip": call(mvgeom.boxes.clip, boxes=BOXES, size=BOXES[:, 2:]),
    "boxes.with_aspect": call(mvgeom.boxes.with_aspect, {"aspect": 1.2}, boxes=BOXES),
    "boxes.iou": call(mvgeom.boxes.iou, first=BOXES, second=BOXES),
    "boxes.smooth": call(mvgeom.boxes.smooth, AT_LEAST_ONE, boxes=BOXES),
    "CameraGroup.crop": call(RIG.crop, offset=RIG.sizes / 4),
    "CameraGroup.resize": call(RIG.resize, sizes=RIG.sizes / 2),
    "CameraGroup.to": call(RIG.to, like=WORLD),
    "SharedError": call(mvgeom.SharedError, {"scale": 1.5}, std=np.ones(4)),
    "calibration.check": call(calibration.check, CAMS, points=PIXELS, image_sizes=RIG.sizes),
    "calibration.refine": call(calibration.refine, CAMS, points=PIXELS, weights=WEIGHTS),
    "calibration.synchronize": call(calibration.synchronize, {**CAMS, "frame_rate": 30.0}, points=PIXELS),
    "calibration.calibrate_from_keypoints": call(
        calibration.calibrate_from_keypoints,
        {"names": RIG.names},
        points=mvgeom.project(5 * WORLD, RIG),  # all over the volume
        sizes=RIG.sizes,
        focal=RIG.matrix[:, 0, 0],
    ),
    "calibration.from_points": call(
        calibration.from_points, {"names": RIG.names}, sizes=RIG.sizes, board=PLACES, points=np.ones((3, 5, 4, 2))
    ),
    "calibration.match_points": call(calibration.match_points, points=PLACES, positions=PLACES),
    "calibration.axes_from_points": call(
        calibration.axes_from_points, origin=PLACES[0], along_x=PLACES[1], towards_y=PLACES[2]
    ),
    "calibration.floor_from_points": call(calibration.floor_from_points, CAMS, points=PLACES),
}
"""Calls by the name of the function."""

WITHOUT_ARRAYS = {"invertible_radius", "joints_of_bones"}

UNUSABLE: dict[str, Callable[[np.ndarray], Any]] = {
    "text": lambda array: "points.csv",
    "mapping": lambda array: {"a": 1},
    "object": lambda array: object(),
    "table": lambda array: pd.DataFrame(np.reshape(array, (-1, array.shape[-1]))),
    "ragged list": lambda array: [[1.0, 2.0], [3.0]],
    "list of text": lambda array: ["a", "b"],
    "array of objects": lambda array: np.full(array.shape, object()),
    "array of text": lambda array: np.full(array.shape, "a"),
    "complex": lambda array: array + 1j,
    "times": lambda array: np.zeros(array.shape, dtype="datetime64[s]"),
}
"""Arrays without numbers, made of one that would be right."""

DOUBTFUL: dict[str, Callable[[np.ndarray], Any]] = {
    "empty list": lambda array: [],
    "number": lambda array: np.float64(1.0),
    "last axis too short": lambda array: array[..., :-1],
    "last axis too long": lambda array: np.concatenate([array, array], axis=-1),
    "last axis of one": lambda array: array[..., :1],
    "first axis too short": lambda array: array[:-1],
    "first axis too long": lambda array: np.concatenate([array, array, array[:1]]),
    "first axis empty": lambda array: array[:0],
    "without first axis": lambda array: array[0],
    "without last axis": lambda array: array[..., 0],
    "one more axis": lambda array: np.stack([array] * 5),
    "axes in reverse": lambda array: array.T,
    "not a number": lambda array: np.full(array.shape, np.nan),
    "boolean": lambda array: np.ones(array.shape, dtype=bool),
    "half precision": lambda array: array.astype(np.float16),
    "tensor": lambda array: pytest.importorskip("torch").tensor(np.asarray(array, dtype=np.float64)),
    "tensor with gradient": lambda array: pytest.importorskip("torch").tensor(
        np.asarray(array, dtype=np.float64), requires_grad=True
    ),
}
"""Arrays of another shape or kind, of which some functions can use some."""

ARGUMENTS = [(name, argument) for name, each in CALLS.items() for argument in each.arrays]


def run(name: str, argument: str, wrong: Any) -> InputError | None:
    """Return the error of a function whose argument is replaced; None if there is a result."""
    each = CALLS[name]
    try:
        each.function(**{**each.others, **each.arrays, argument: wrong})
    except InputError as error:
        return error
    return None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_what_is_no_array_of_numbers_is_named(name: str, argument: str) -> None:
    right = np.asarray(CALLS[name].arrays[argument])
    for kind, change in UNUSABLE.items():
        error = run(name, argument, change(right))
        assert error is not None, kind
        assert error.code in ("bad-number", "wrong-array", "wrong-shape"), (kind, error)
        assert error.facts["argument"] == argument, (kind, error)


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_arrays_of_another_shape_give_a_result_or_an_input_error(name: str, argument: str) -> None:
    right = np.asarray(CALLS[name].arrays[argument])
    wrong = {}
    for kind, change in DOUBTFUL.items():
        try:
            error = run(name, argument, change(right))
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as failed:
            wrong[kind] = repr(failed)
            continue
        if error is not None and error.code in ("bad-number", "wrong-array"):
            # Which of two arrays is of the wrong library, nobody knows.
            assert error.facts["argument"] in (CALLS[name].arrays if "tensor" in kind else [argument]), (kind, error)
    assert wrong == {}


def numbers_of(function: Callable[..., Any]) -> dict[str, str]:
    """Annotations of the arguments that are one number."""
    kinds = ("float", "int", "float | None", "int | None")
    found = {name: str(each.annotation) for name, each in inspect.signature(function).parameters.items()}
    return {name: kind for name, kind in found.items() if kind in kinds}


def smooth_with_bone(
    *, first: int = 0, second: int = 1, length: float | None = None, std: float | None = None
) -> mvgeom.Smoothed:
    bone = mvgeom.Bone(first=first, second=second, length=length, std=std)
    return mvgeom.smooth(PIXELS, RIG, noise=NOISE, bones=[bone])


VALUES = {
    "Bone": call(smooth_with_bone, {"first": 0, "second": 1}),
    "Chessboard": call(calibration.Chessboard, {"columns": 4, "rows": 5, "square_size": 1.0}),
    "CharucoBoard": call(calibration.CharucoBoard, {"columns": 4, "rows": 5, "square_size": 1.0, "marker_size": 0.5}),
    "TagGrid": call(calibration.TagGrid, {"columns": 4, "rows": 5, "marker_size": 1.0, "spacing": 0.3}),
    "Options": call(calibration.Options),
    "Lens": call(calibration.Lens),
}
"""Calls of classes with numbers, and what else they need."""

NUMBERS = [
    (name, argument, kind)
    for name, each in {**CALLS, **VALUES}.items()
    for argument, kind in numbers_of(each.function).items()
    if argument not in each.arrays
]


@pytest.mark.parametrize(("name", "argument", "kind"), NUMBERS)
def test_what_is_no_number_is_named(name: str, argument: str, kind: str) -> None:
    each = {**CALLS, **VALUES}[name]
    for wrong in ("a", [1.0], object(), *(() if "None" in kind else [None])):
        with raises_input(ANY) as caught:
            each.function(**{**each.others, **each.arrays, argument: wrong})
        assert caught.value.code in ("bad-number", "unknown-choice", "out-of-range")
        assert argument in str(caught.value)


@pytest.mark.parametrize("name", CALLS)
def test_right_arrays_give_a_result(name: str) -> None:
    each = CALLS[name]
    each.function(**each.others, **each.arrays)


def public_functions() -> set[str]:
    """Names of the functions of `dir(mvgeom)`, those of its modules too."""
    found = set()
    for name in dir(mvgeom):
        part = getattr(mvgeom, name)
        if inspect.ismodule(part):
            found |= {f"{name}.{each}" for each in part.__all__ if inspect.isfunction(getattr(part, each))}
        elif inspect.isfunction(part):
            found.add(name)
    return found


def test_all_public_functions_are_walked_with_all_their_arrays() -> None:
    walked = {name.split(",")[0] for name in CALLS}
    assert public_functions() <= walked | WITHOUT_ARRAYS
    arrays: dict[str, set[str]] = {}
    for name, each in CALLS.items():
        arrays.setdefault(name.split(",")[0], set()).update(each.arrays)
    for name in public_functions() - WITHOUT_ARRAYS - {"affine.compose"}:
        part: Any = mvgeom
        for step in name.split("."):
            part = getattr(part, step)
        wanted = {
            argument
            for argument, described in inspect.signature(part).parameters.items()
            if any(kind in str(described.annotation) for kind in ("Array", "Floats", "ndarray"))
        }
        assert wanted <= arrays[name], name
