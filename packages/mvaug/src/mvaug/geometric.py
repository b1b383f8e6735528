"""2D geometric augmentation: every transform is an affine map, so all of them become one matrix per view.

A transform acts on the canvas: the part of the full image that the network sees, in full-image px, so that a rotation
is rigid in the scene even where the network's input is stretched. It returns its map and the canvas after it (cropping
and padding change its size); at the end the canvas is resized to the network's input.

Flips are drawn once for all views and swap left and right keypoints: after a mirror image of one view alone, the right
hand would be a left hand in that view only, and no rig sees that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mvaug.parameters import Draws, Parameter, Transform
from mvgeom import affine
from mvgeom.errors import InputError

Canvas = tuple[float, float]
"""Width and height in px."""

GeometricFunction = Callable[[Canvas, Draws], tuple[np.ndarray, Canvas]]
"""Canvas and draws to the (2, 3) map of canvas px and the canvas after it."""


@dataclass(frozen=True, kw_only=True)
class GeometricSpecification:
    """Function of a geometric transform and the parameters it takes, in imgaug's order.

    Attributes:
        function: (canvas, draws) to the (2, 3) map of canvas px and the canvas after it.
        parameters: Allowed parameters by name.
        mirrors: True if the transform turns left into right; then it is drawn once for all views.
        bare: Parameters used when none is given, as imgaug has them.
    """

    function: GeometricFunction
    parameters: Mapping[str, Parameter]
    mirrors: bool = False
    bare: Mapping[str, Any] = field(default_factory=dict)


def draw_model_maps(
    transforms: Sequence[Transform],
    full_to_model: np.ndarray,
    size: tuple[int, int],
    generator: np.random.Generator,
) -> tuple[np.ndarray, bool]:
    """Draw one random map per view, from model px without augmentation to model px with it.

    Args:
        transforms: Geometric transforms in the order they apply.
        full_to_model: (V, 2, 3) maps from full-image px to model px without augmentation; only their scale is used.
        size: Width and height of the network's input in px.
        generator: Source of all randomness.

    Returns:
        (V, 2, 3) float64 maps, and True if they mirror.

    Raises:
        InputError: A crop leaves nothing of a view.
    """
    mirrored = {
        index: generator.random() < transform.p and transform.draws(generator).flag("p")
        for index, transform in enumerate(transforms)
        if GEOMETRIC[transform.name].mirrors
    }
    maps = np.empty((len(full_to_model), 2, 3))
    for view, matrix in enumerate(full_to_model):
        scale = np.linalg.norm(matrix[:, :2], axis=0)
        canvas: Canvas = (size[0] / scale[0], size[1] / scale[1])
        total = affine.resize(size, canvas)
        for index, transform in enumerate(transforms):
            if mirrored.get(index, True) and (index in mirrored or generator.random() < transform.p):
                step, canvas = GEOMETRIC[transform.name].function(canvas, transform.draws(generator))
                total = affine.compose(step, total)
        maps[view] = affine.compose(affine.resize(canvas, size), total)
    return maps, sum(mirrored.values()) % 2 == 1


def _about_center(canvas: Canvas, linear: np.ndarray, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Make the (2, 3) map that applies a (2, 2) linear map about the canvas's center, then shifts."""
    center = np.array([(canvas[0] - 1) / 2, (canvas[1] - 1) / 2])
    return np.column_stack([linear, center + shift - linear @ center])


def _rotation(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _shear(x_degrees: float, y_degrees: float) -> np.ndarray:
    """Make a shear with imgaug's signs: a positive angle along x leans the top of the image to the right."""
    x, y = np.tan(np.deg2rad((x_degrees, y_degrees)))
    return np.array([[1.0, -x], [y, 1.0]])


def _affine(canvas: Canvas, draw: Draws) -> tuple[np.ndarray, Canvas]:
    scale = draw.pair("scale") if draw.has_pair("scale") else (1.0, 1.0)
    shear = draw.pair("shear") if draw.has_pair("shear") else (0.0, 0.0)
    if "shear" in draw:
        # imgaug's single number shears along x only.
        shear = (shear[0], 0.0)
    rotation = _rotation(draw.number("rotate")) if "rotate" in draw else np.eye(2)
    linear = rotation @ _shear(*shear) @ np.diag(scale)
    return _about_center(canvas, linear, _translation(canvas, draw)), canvas


def _translation(canvas: Canvas, draw: Draws) -> tuple[float, float]:
    if draw.has_pair("translate_percent"):
        x, y = draw.pair("translate_percent")
        return x * canvas[0], y * canvas[1]
    return draw.pair("translate_px") if draw.has_pair("translate_px") else (0.0, 0.0)


def _rotate(canvas: Canvas, draw: Draws) -> tuple[np.ndarray, Canvas]:
    return _about_center(canvas, _rotation(draw.number("rotate"))), canvas


def _shear_x(canvas: Canvas, draw: Draws) -> tuple[np.ndarray, Canvas]:
    return _about_center(canvas, _shear(draw.number("shear"), 0.0)), canvas


def _shear_y(canvas: Canvas, draw: Draws) -> tuple[np.ndarray, Canvas]:
    return _about_center(canvas, _shear(0.0, draw.number("shear"))), canvas


def _scale_x(canvas: Canvas, draw: Draws) -> tuple[np.ndarray, Canvas]:
    return _about_center(canvas, np.diag([draw.number("scale"), 1.0])), canvas


def _scale_y(canvas: Canvas, draw: Draws) -> tuple[np.ndarray, Canvas]:
    return _about_center(canvas, np.diag([1.0, draw.number("scale")])), canvas


def _translate_x(canvas: Canvas, draw: Draws) -> tuple[np.ndarray, Canvas]:
    shift = draw.number("px") if "px" in draw else draw.number("percent") * canvas[0]
    return _about_center(canvas, np.eye(2), (shift, 0.0)), canvas


def _translate_y(canvas: Canvas, draw: Draws) -> tuple[np.ndarray, Canvas]:
    shift = draw.number("px") if "px" in draw else draw.number("percent") * canvas[1]
    return _about_center(canvas, np.eye(2), (0.0, shift)), canvas


def _crop_and_pad(sign: float) -> GeometricFunction:
    def function(canvas: Canvas, draw: Draws) -> tuple[np.ndarray, Canvas]:
        """Add (positive) or take away (negative) a margin, each side drawn on its own."""
        name = "px" if "px" in draw else "percent"
        num_draws = 4 if draw.flag("sample_independently") else 1
        margins = np.resize([sign * draw.number(name) for _ in range(num_draws)], 4)
        if name == "percent":
            margins = margins * np.array([canvas[1], canvas[0], canvas[1], canvas[0]])
        top, right, bottom, left = (float(margin) for margin in margins)
        after = (canvas[0] + left + right, canvas[1] + top + bottom)
        if min(after) < 1:
            raise InputError(
                f"imgaug: cropping by {-left:g}, {-top:g}, {-right:g}, {-bottom:g} px (left, top, right, bottom) "
                f"leaves nothing of a view, found {canvas[0]:.0f} x {canvas[1]:.0f} full-image px, expected more. "
                f"Lower the px of Crop or CropAndPad.",
                code="empty-crop",
                argument="imgaug",
                size=canvas,
            )
        return affine.translate((left, top)), after

    return function


def _rot90(canvas: Canvas, draw: Draws) -> tuple[np.ndarray, Canvas]:
    """Turn by quarters clockwise; the final resize stretches the turned canvas back."""
    width, height = canvas
    turns = draw.integer("k") % 4
    quarter = {
        0: np.eye(2, 3),
        1: np.array([[0, -1, height - 1], [1, 0, 0.0]]),
        2: np.array([[-1, 0, width - 1], [0, -1, height - 1.0]]),
        3: np.array([[0, 1, 0], [-1, 0, width - 1.0]]),
    }
    return quarter[turns], (height, width) if turns % 2 else canvas


def _fliplr(canvas: Canvas, draw: Draws) -> tuple[np.ndarray, Canvas]:
    return _about_center(canvas, np.diag([-1.0, 1.0])), canvas


def _flipud(canvas: Canvas, draw: Draws) -> tuple[np.ndarray, Canvas]:
    return _about_center(canvas, np.diag([1.0, -1.0])), canvas


MAX_SHEAR = 75.0
"""Largest angle of a shear in degrees; more leaves a sliver of the image."""
MIN_SCALE, MAX_SCALE = 0.05, 20.0
"""Smallest and largest factor of scale; beyond them a dot of the image is left, or a dot fills it."""
# The network input is what the canvas is resized to in the end, so both answers give the same image.
_KEEP_SIZE = Parameter(default=True, flag=True)
_FLIP = {"p": Parameter(default=1.0, flag=True)}
_INDEPENDENT = Parameter(default=True, flag=True)

GEOMETRIC: dict[str, GeometricSpecification] = {
    "Affine": GeometricSpecification(
        function=_affine,
        parameters={
            "scale": Parameter(axes=True, low=MIN_SCALE, high=MAX_SCALE),
            "translate_percent": Parameter(axes=True),
            "translate_px": Parameter(axes=True),
            "rotate": Parameter(),
            "shear": Parameter(axes=True, low=-MAX_SHEAR, high=MAX_SHEAR),
        },
        bare={
            "scale": {"x": (0.9, 1.1), "y": (0.9, 1.1)},
            "translate_percent": {"x": (-0.1, 0.1), "y": (-0.1, 0.1)},
            "rotate": (-15, 15),
            "shear": {"x": (-10, 10), "y": (-10, 10)},
        },
    ),
    "Rotate": GeometricSpecification(function=_rotate, parameters={"rotate": Parameter(default=(-30, 30))}),
    "ShearX": GeometricSpecification(
        function=_shear_x, parameters={"shear": Parameter(default=(-30, 30), low=-MAX_SHEAR, high=MAX_SHEAR)}
    ),
    "ShearY": GeometricSpecification(
        function=_shear_y, parameters={"shear": Parameter(default=(-30, 30), low=-MAX_SHEAR, high=MAX_SHEAR)}
    ),
    "ScaleX": GeometricSpecification(
        function=_scale_x, parameters={"scale": Parameter(default=(0.5, 1.5), low=MIN_SCALE, high=MAX_SCALE)}
    ),
    "ScaleY": GeometricSpecification(
        function=_scale_y, parameters={"scale": Parameter(default=(0.5, 1.5), low=MIN_SCALE, high=MAX_SCALE)}
    ),
    "TranslateX": GeometricSpecification(
        function=_translate_x, parameters={"percent": Parameter(default=(-0.25, 0.25)), "px": Parameter()}
    ),
    "TranslateY": GeometricSpecification(
        function=_translate_y, parameters={"percent": Parameter(default=(-0.25, 0.25)), "px": Parameter()}
    ),
    "CropAndPad": GeometricSpecification(
        function=_crop_and_pad(1.0),
        parameters={
            "px": Parameter(),
            "percent": Parameter(default=(-0.1, 0.1), low=-0.45, high=2.0),
            "keep_size": _KEEP_SIZE,
            "sample_independently": _INDEPENDENT,
        },
    ),
    "Crop": GeometricSpecification(
        function=_crop_and_pad(-1.0),
        parameters={
            "px": Parameter(low=0.0),
            "percent": Parameter(default=(0.0, 0.1), low=0.0, high=0.45),
            "keep_size": _KEEP_SIZE,
            "sample_independently": _INDEPENDENT,
        },
    ),
    "Pad": GeometricSpecification(
        function=_crop_and_pad(1.0),
        parameters={
            "px": Parameter(low=0.0),
            "percent": Parameter(default=(0.0, 0.1), low=0.0, high=2.0),
            "keep_size": _KEEP_SIZE,
            "sample_independently": _INDEPENDENT,
        },
    ),
    "Rot90": GeometricSpecification(
        function=_rot90, parameters={"k": Parameter(default=1, integer=True), "keep_size": _KEEP_SIZE}
    ),
    "Fliplr": GeometricSpecification(function=_fliplr, parameters=_FLIP, mirrors=True),
    "Flipud": GeometricSpecification(function=_flipud, parameters=_FLIP, mirrors=True),
}
"""Geometric transforms by name; `mvaug.register_geometric` adds to them."""
