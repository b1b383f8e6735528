"""Registration of transforms of your own, which configs can then name like the built-in ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps

import numpy as np

from mvaug.geometric import GEOMETRIC, Canvas, GeometricFunction, GeometricSpecification
from mvaug.parameters import Draws, Parameter
from mvaug.photometric import PHOTOMETRIC, PhotometricFunction, PhotometricSpecification
from mvaug.presets import PRESETS
from mvgeom.errors import InputError


def register_photometric(
    name: str, *, parameters: Mapping[str, Parameter] | None = None
) -> Callable[[PhotometricFunction], PhotometricFunction]:
    """Register a photometric transform under a name, as a decorator.

    The function takes an image (H, W, 3) uint8 RGB in model px and the `Draws` of its parameters, and returns a new
    image of the same shape and dtype. It leaves positions as they are, does not write to its argument, and takes all
    randomness from its `Draws`, so that the same seed gives the same image.

    Args:
        name: Name of the transform in `imgaug` mappings.
        parameters: Parameters that it takes under `kwargs`, by name, in the order of `args`.

    Raises:
        InputError: A transform or preset has that name. When the transform is drawn: its result is not such an image.
    """
    _check_name(name)

    def register(function: PhotometricFunction) -> PhotometricFunction:
        @wraps(function)
        def checked(image: np.ndarray, draw: Draws) -> np.ndarray:
            result = function(image, draw)
            if not isinstance(result, np.ndarray) or result.shape != image.shape or result.dtype != np.uint8:
                raise _invalid_result(name, result, f"uint8 of shape {image.shape}")
            return result

        PHOTOMETRIC[name] = PhotometricSpecification(function=checked, parameters=dict(parameters or {}))
        return function

    return register


def register_geometric(
    name: str, *, parameters: Mapping[str, Parameter] | None = None
) -> Callable[[GeometricFunction], GeometricFunction]:
    """Register a geometric transform under a name, as a decorator.

    The function takes a canvas and the `Draws` of its parameters, and returns a (2, 3) affine map of canvas px and the
    canvas after it. The canvas is the part of the full image that the network sees, as width and height in full-image
    px, with the center of its top-left pixel at (0, 0); in the end it is resized to the network's input. The function
    takes all randomness from its `Draws`. The map does not mirror: a mirror image swaps left and right keypoints in
    all views at once, which `Fliplr` and `Flipud` do.

    Args:
        name: Name of the transform in `imgaug` mappings.
        parameters: Parameters that it takes under `kwargs`, by name, in the order of `args`.

    Raises:
        InputError: A transform or preset has that name. When the transform is drawn: its result is not a finite map
            that keeps the orientation, with a canvas of at least 1 px.
    """
    _check_name(name)

    def register(function: GeometricFunction) -> GeometricFunction:
        @wraps(function)
        def checked(canvas: Canvas, draw: Draws) -> tuple[np.ndarray, Canvas]:
            matrix, after = function(canvas, draw)
            matrix = np.asarray(matrix, dtype=np.float64)
            if matrix.shape != (2, 3) or not np.isfinite(matrix).all() or np.linalg.det(matrix[:, :2]) <= 0:
                raise _invalid_result(name, matrix, "a finite (2, 3) map with a positive determinant")
            if len(after) != 2 or not min(after) >= 1:
                raise _invalid_result(name, after, "a canvas (width, height) of at least 1 px")
            return matrix, after

        GEOMETRIC[name] = GeometricSpecification(function=checked, parameters=dict(parameters or {}))
        return function

    return register


def _check_name(name: str) -> None:
    for kind, table in (("transform", GEOMETRIC), ("transform", PHOTOMETRIC), ("preset", PRESETS)):
        if name in table:
            raise InputError(
                f"name: found {name!r}, which is a {kind} already, expected a new name. Give the transform another.",
                code="duplicate-name",
                argument="name",
                name=name,
            )


def _invalid_result(name: str, result: object, expected: str) -> InputError:
    """Make the error of a transform that returned something else than it should."""
    found = f"{result.dtype} of shape {result.shape}" if isinstance(result, np.ndarray) else repr(result)
    if isinstance(result, np.ndarray) and result.shape == (2, 3):
        found = str(result.tolist())
    argument = f"imgaug.{name}"
    return InputError(
        f"{argument}: wrong result of the transform, found {found}, expected {expected}. Correct its function.",
        code="invalid-transform-result",
        argument=argument,
        name=name,
    )
