"""Checks that points and cameras have matching array libraries and shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_numpy_array

from mvgeom._arrays import Array, as_array, as_floating, broadcasts, cast, check_broadcast
from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError


def common_namespace(points: Array, cams: CameraGroup, argument: str = "points") -> Any:
    """Return the array library of points, or of another argument, and cameras.

    Raises:
        InputError: `wrong-array`, if one is a NumPy array and the other a torch tensor.
    """
    xp = array_namespace(points)
    if array_namespace(cams.matrix) is not xp:
        raise InputError(
            f"{argument}: wrong array type, found {type(points).__module__}.{type(points).__name__}, expected that of "
            f"the cameras, {type(cams.matrix).__module__}.{type(cams.matrix).__name__}. Convert with "
            f"cams.to(like={argument}).",
            code="wrong-array",
            argument=argument,
        )
    return xp


def floating_points(points: Any, cams: CameraGroup, argument: str = "points") -> tuple[Any, Array]:
    """Return the array library of the cameras, and points as a floating-point array of it.

    Args:
        points: Array of the cameras' library, or a regular nested list of numbers.
        cams: Cameras.
        argument: Name of the argument that has the points, for messages.

    Raises:
        InputError: `wrong-array`, if points and cameras are of different libraries, the points have half precision, or
            are no array; `bad-number`, if a list is not regular or has other entries than numbers.
    """
    given, points = points, as_array(points, argument)
    if points is not given and not is_numpy_array(cams.matrix):
        xp = array_namespace(cams.matrix)
        points = xp.asarray(points, dtype=cams.matrix.dtype, device=cams.matrix.device)
    xp = common_namespace(points, cams, argument)
    return xp, as_floating(xp, points, argument)


def check_views(points: Array, cams: CameraGroup, at_least: int = 1) -> None:
    """Raise an InputError unless points are (..., V, K, 2) for the V cameras of the group, and V is large enough."""
    if len(cams) < at_least:
        raise InputError(
            f"cameras: too few, found {list(cams.names)}, expected at least {at_least}",
            code="too-few-views",
            found=len(cams),
            expected=at_least,
        )
    shape = tuple(points.shape)
    if len(shape) < 3 or shape[-1] != 2 or shape[-3] != len(cams):
        raise InputError(
            f"points: wrong shape, found {shape}, expected (..., {len(cams)}, K, 2) for the cameras {list(cams.names)}",
            code="wrong-shape",
            argument="points",
            found=shape,
        )
    if cams.batch_shape:
        check_broadcast("points", shape[:-3], cams.batch_shape, "the cameras")


def check_world(points: Array, cams: CameraGroup, argument: str = "points") -> None:
    """Raise an InputError unless points are (..., K, 3), and broadcast with the cameras' batch dimensions."""
    shape = tuple(points.shape)
    if len(shape) < 2 or shape[-1] != 3:
        raise InputError(
            f"{argument}: wrong shape, found {shape}, expected (..., K, 3) in world coordinates",
            code="wrong-shape",
            argument=argument,
            found=shape,
        )
    if cams.batch_shape:
        check_broadcast(argument, shape[:-2], cams.batch_shape, "the cameras")


def beside_observations(
    xp: Any, values: Any, like: Array, leading: Sequence[int], num_points: int, cams: CameraGroup, argument: str
) -> Array:
    """Return numbers beside observations (..., V, K), such as weights, in the dtype of the points.

    Args:
        xp: Array library of the points.
        values: A number, or an array of that library or a nested list that broadcasts with (..., V, K); masked entries
            become NaN.
        like: The points, whose dtype and device are used.
        leading: Leading dimensions of the points.
        num_points: K, the number of points.
        cams: V cameras.
        argument: Name of the argument that has the values, for messages.

    Raises:
        InputError: `wrong-shape`, `wrong-array` or `bad-number`.
    """
    if isinstance(values, np.generic):
        values = values.item()
    if isinstance(values, int | float):
        return xp.asarray(values, dtype=like.dtype, device=like.device)
    given, values = values, as_array(values, argument)
    if isinstance(given, list | tuple):
        values = xp.asarray(values, dtype=like.dtype, device=like.device)
    if array_namespace(values) is not xp:
        raise InputError(
            f"{argument}: wrong array type, found {type(values).__module__}.{type(values).__name__}, expected that of "
            f"the points, {type(like).__module__}.{type(like).__name__}",
            code="wrong-array",
            argument=argument,
        )
    shape, tail = tuple(values.shape), (len(cams), num_points)
    fits = all(size in (1, own) for size, own in zip(reversed(shape), reversed(tail), strict=False))
    batches = tuple(leading), cams.batch_shape
    if not fits or not all(broadcasts(shape[:-2], batch) for batch in batches):
        raise InputError(
            f"{argument}: wrong shape, found {shape}, expected one that broadcasts with "
            f"{(*max(batches, key=len), *tail)} as for the points",
            code="wrong-shape",
            argument=argument,
            found=shape,
        )
    return cast(xp, as_floating(xp, values, argument), like.dtype)
