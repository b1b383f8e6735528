"""2D affine maps as matrices (..., 2, 3); crops, resizes and augmentations compose into one map.

A map A takes the point p to A[:, :2] p + A[:, 2]. Pixel convention: the center of the top-left pixel is (0, 0), so
resizing by s takes x to (x + 0.5) s - 0.5. All functions take NumPy arrays or torch tensors with any leading batch
dimensions. NaN points stay NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace

from mvgeom._arrays import Array, as_array, check_broadcast, one_namespace
from mvgeom.errors import InputError

__all__ = ["apply", "compose", "from_3x3", "from_box", "identity", "invert", "resize", "to_3x3", "translate"]


def identity(like: Array | None = None) -> Array:
    """Return the identity (2, 3) in the library, dtype and device of `like`, or as NumPy float64 if `like` is None."""
    if like is None:
        return np.eye(2, 3)
    like = as_array(like, "like")
    xp = array_namespace(like)
    return xp.eye(2, 3, dtype=like.dtype, device=like.device)


def apply(matrix: Array, points: Array) -> Array:
    """Map points with an affine map.

    Args:
        matrix: (..., 2, 3) affine maps.
        points: (..., K, 2) points in px of the source image; leading dimensions broadcast with those of the matrix.

    Returns:
        Points (..., K, 2) in px of the target image. A point with a NaN coordinate becomes NaN in both coordinates.

    Raises:
        InputError: `wrong-shape`, if a matrix is not (..., 2, 3) or the points are not (..., K, 2).
    """
    matrix, points = _as_affine(matrix), as_array(points, "points")
    if len(points.shape) < 2 or points.shape[-1] != 2:
        raise InputError(
            f"points: wrong shape, found {tuple(points.shape)}, expected (..., K, 2)",
            code="wrong-shape",
            argument="points",
            found=tuple(points.shape),
        )
    xp = one_namespace({"matrix": matrix, "points": points})
    check_broadcast("points", points.shape[:-2], matrix.shape[:-2], "the matrix")
    # Computed by component, not as a matrix product: exact on GPUs with TF32 and in autocast regions.
    x, y = points[..., 0], points[..., 1]
    m = matrix[..., None, :, :]
    return xp.stack(
        [
            m[..., 0, 0] * x + m[..., 0, 1] * y + m[..., 0, 2],
            m[..., 1, 0] * x + m[..., 1, 1] * y + m[..., 1, 2],
        ],
        axis=-1,
    )


def compose(outer: Array, *inner: Array) -> Array:
    """Compose maps; `outer` is applied last: compose(A, B, C) is A(B(C(p))).

    Args:
        outer: (..., 2, 3) affine map that is applied last.
        inner: Any number of affine maps (..., 2, 3), of which the rightmost is applied first.

    Returns:
        Composed map (..., 2, 3) with the broadcast leading dimensions.

    Raises:
        InputError: `wrong-shape`, if a map is not (..., 2, 3).
    """
    result = _as_affine(outer, "outer")
    for given in inner:
        matrix = _as_affine(given, "inner")
        xp = one_namespace({"outer": result, "inner": matrix})
        check_broadcast("inner", matrix.shape[:-2], result.shape[:-2], "the outer maps")
        columns = [
            result[..., :, 0] * matrix[..., 0:1, column] + result[..., :, 1] * matrix[..., 1:2, column]
            for column in range(3)
        ]
        columns[2] = columns[2] + result[..., :, 2]
        result = xp.stack(columns, axis=-1)
    return result


def invert(matrix: Array) -> Array:
    """Invert affine maps: compose(invert(A), A) is the identity.

    Args:
        matrix: (..., 2, 3) affine maps.

    Returns:
        Inverse maps (..., 2, 3).

    Raises:
        InputError: `bad-matrix`, if a NumPy matrix is singular or NaN (tensors are not inspected; singular ones give
            infinities); `wrong-shape`, if the matrix is not (..., 2, 3).
    """
    matrix = _as_affine(matrix)
    xp = array_namespace(matrix)
    a, b, tx = (matrix[..., 0, column] for column in range(3))
    c, d, ty = (matrix[..., 1, column] for column in range(3))
    determinant = a * d - b * c
    if isinstance(matrix, np.ndarray) and not np.all(np.abs(determinant) > 0):
        raise InputError(
            f"matrix: not invertible, its determinant is 0 or NaN, found {matrix.tolist()}",
            code="bad-matrix",
            argument="matrix",
        )
    a, b, c, d = d / determinant, -b / determinant, -c / determinant, a / determinant
    return xp.stack(
        [xp.stack([a, b, -(a * tx + b * ty)], axis=-1), xp.stack([c, d, -(c * tx + d * ty)], axis=-1)], axis=-2
    )


def from_box(box: Array, size: Array | tuple[float, float]) -> Array:
    """Return the map from full-image px to crop px, the box resized to `size`: x to (x + 0.5 - box_x) w / box_w - 0.5.

    Args:
        box: (..., 4) boxes x, y, width, height in full-image px; x and y are the index of the upper left pixel.
        size: Width and height of the resized crop in px, two numbers or (..., 2).

    Returns:
        Affine maps (..., 2, 3) in the box's library and dtype (float64 for lists and integers).

    Raises:
        InputError: `out-of-range`, if a NumPy box or a size is not positive; `wrong-shape`, if the box is not (..., 4).
    """
    box = _floating(box, "box")
    if tuple(box.shape)[-1:] != (4,):
        raise InputError(
            f"box: wrong shape, found {tuple(box.shape)}, expected (..., 4) for x, y, width, height",
            code="wrong-shape",
            argument="box",
            found=tuple(box.shape),
        )
    if isinstance(box, np.ndarray) and np.any(box[..., 2:] <= 0):
        raise InputError(
            f"box: width and height must be positive, found x, y, width, height = {box.tolist()}",
            code="out-of-range",
            argument="box",
        )
    return _scale_about_corner(box[..., :2], box[..., 2:], size, "size")


def resize(old: Array | tuple[float, float], new: Array | tuple[float, float]) -> Array:
    """Return the map from an image of size `old` to the image resized to `new`: x to (x + 0.5) s - 0.5.

    Args:
        old: Width and height of the original image in px, two numbers or (..., 2).
        new: Width and height of the resized image in px, two numbers or (..., 2).

    Returns:
        Affine maps (..., 2, 3) in the library and dtype of `old` (float64 for tuples and integers).

    Raises:
        InputError: `out-of-range`, if a size is not positive.
    """
    old = _pairs(old, "old")
    if isinstance(old, np.ndarray) and np.any(old <= 0):
        raise InputError(
            f"old: width and height must be positive, found {old.tolist()}", code="out-of-range", argument="old"
        )
    xp = array_namespace(old)
    return _scale_about_corner(xp.zeros_like(old), old, new, "new")


def translate(offset: Array | tuple[float, float]) -> Array:
    """Return the map (..., 2, 3) that adds `offset`, two numbers or (..., 2).

    Raises:
        InputError: `wrong-shape`, if the offset is not (..., 2).
    """
    offset = _pairs(offset, "offset")
    xp = array_namespace(offset)
    return _with_translation(xp.ones_like(offset), offset)


def to_3x3(matrix: Array) -> Array:
    """Append the row 0, 0, 1: convert (..., 2, 3) to (..., 3, 3).

    Raises:
        InputError: `wrong-shape`, if the map is not (..., 2, 3).
    """
    matrix = _as_affine(matrix)
    xp = array_namespace(matrix)
    last = xp.zeros_like(matrix[..., :1, :]) + xp.eye(3, dtype=matrix.dtype, device=matrix.device)[2:]
    return xp.concat([matrix, last], axis=-2)


def from_3x3(matrix: Array) -> Array:
    """Return the (..., 2, 3) part of homogeneous (..., 3, 3) matrices.

    Raises:
        InputError: `wrong-shape`, if the matrix is not (..., 3, 3); `bad-matrix`, if the last row of a NumPy matrix is
            not 0, 0, 1.
    """
    matrix = as_array(matrix, "matrix")
    if len(matrix.shape) < 2 or tuple(matrix.shape[-2:]) != (3, 3):
        raise InputError(
            f"matrix: wrong shape, found {tuple(matrix.shape)}, expected (..., 3, 3)",
            code="wrong-shape",
            argument="matrix",
            found=tuple(matrix.shape),
        )
    if isinstance(matrix, np.ndarray) and not np.allclose(matrix[..., 2, :], [0.0, 0.0, 1.0], atol=1e-6):
        raise InputError(
            f"matrix: not affine, found last row {matrix[..., 2, :].tolist()}, expected 0, 0, 1",
            code="bad-matrix",
            argument="matrix",
        )
    return matrix[..., :2, :]


def _scale_about_corner(corner: Array, extent: Array, size: Array | tuple[float, float], argument: str) -> Array:
    given, size = size, _pairs(size, argument)
    listed = isinstance(given, list | tuple)
    if isinstance(size, np.ndarray) and (np.any(size <= 0) or (listed and np.isnan(size).any())):
        raise InputError(
            f"{argument}: width and height must be positive, found {size.tolist()}",
            code="out-of-range",
            argument=argument,
        )
    if listed:
        size = array_namespace(corner).asarray(size, dtype=corner.dtype, device=corner.device)
    one_namespace({"the image": corner, argument: size})
    check_broadcast(argument, size.shape[:-1], corner.shape[:-1], "the image")
    scale = size / extent
    return _with_translation(scale, (0.5 - corner) * scale - 0.5)


def _with_translation(scale: Array, translation: Array) -> Array:
    xp = array_namespace(scale)
    diagonal = scale[..., None] * xp.eye(2, dtype=scale.dtype, device=scale.device)
    return xp.concat([diagonal, translation[..., None]], axis=-1)


def _floating(value: Any, argument: str) -> Array:
    value = as_array(value, argument)
    xp = array_namespace(value)
    return value if xp.isdtype(value.dtype, "real floating") else xp.astype(value, xp.float64)


def _pairs(value: Any, argument: str) -> Array:
    """Return pairs of numbers (..., 2) as a floating-point array, or raise an InputError."""
    value = _floating(value, argument)
    if tuple(value.shape)[-1:] != (2,):
        raise InputError(
            f"{argument}: wrong shape, found {tuple(value.shape)}, expected (..., 2)",
            code="wrong-shape",
            argument=argument,
            found=tuple(value.shape),
        )
    return value


def _as_affine(matrix: Any, argument: str = "matrix") -> Array:
    """Return affine maps (..., 2, 3) as an array, or raise an InputError."""
    matrix = as_array(matrix, argument)
    if len(matrix.shape) < 2 or tuple(matrix.shape[-2:]) != (2, 3):
        raise InputError(
            f"{argument}: wrong shape, found {tuple(matrix.shape)}, expected (..., 2, 3)",
            code="wrong-shape",
            argument=argument,
            found=tuple(matrix.shape),
        )
    xp = array_namespace(matrix)
    return xp.astype(matrix, xp.float64) if matrix.dtype == xp.bool else matrix
