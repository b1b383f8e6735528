"""2D affine maps as matrices (..., 2, 3): crops, resizes and augmentation all compose into one.

A map A takes the point p to A[:, :2] p + A[:, 2]. Pixel convention: the centre of the top-left pixel is (0, 0), so
resizing by s takes x to (x + 0.5) s - 0.5. Every function takes NumPy arrays or torch tensors and any leading batch
dimensions; NaN points stay NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_array_api_obj

from mvgeom._arrays import Array
from mvgeom.errors import InputError


def identity(like: Array | None = None) -> Array:
    """The (2, 3) map that changes nothing, in the library, dtype and device of `like` (NumPy float64 without it)."""
    if like is None:
        return np.eye(2, 3)
    xp = array_namespace(like)
    return xp.eye(2, 3, dtype=like.dtype, device=like.device)


def apply(matrix: Array, points: Array) -> Array:
    """Map points.

    Args:
        matrix: (..., 2, 3).
        points: (..., K, 2) in the px the map starts from; leading dimensions broadcast with those of the matrix.

    Returns:
        (..., K, 2) in the px the map leads to; a point with a NaN coordinate becomes NaN in both.
    """
    _check_matrix(matrix)
    if len(points.shape) < 2 or points.shape[-1] != 2:
        raise InputError(
            f"points must have shape (..., K, 2), got {tuple(points.shape)}",
            code="wrong-shape",
            argument="points",
            found=tuple(points.shape),
        )
    xp = array_namespace(points, matrix)
    # By component instead of a matrix product: exact on GPUs with TF32 and in autocast regions.
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
    """The map that applies `inner` first and `outer` last: compose(A, B, C) is A(B(C(p))).

    Args:
        outer: (..., 2, 3).
        inner: any number of maps (..., 2, 3), the rightmost applied first.

    Returns:
        (..., 2, 3) of the broadcast leading dimensions.
    """
    _check_matrix(outer)
    result = outer
    for matrix in inner:
        _check_matrix(matrix)
        xp = array_namespace(result, matrix)
        columns = [
            result[..., :, 0] * matrix[..., 0:1, column] + result[..., :, 1] * matrix[..., 1:2, column]
            for column in range(3)
        ]
        columns[2] = columns[2] + result[..., :, 2]
        result = xp.stack(columns, axis=-1)
    return result


def invert(matrix: Array) -> Array:
    """The map back: compose(invert(A), A) is the identity.

    Args:
        matrix: (..., 2, 3).

    Returns:
        (..., 2, 3).

    Raises:
        ValueError: for a NumPy matrix that collapses the plane (tensors are not inspected; they give infinities).
    """
    _check_matrix(matrix)
    xp = array_namespace(matrix)
    a, b, tx = (matrix[..., 0, column] for column in range(3))
    c, d, ty = (matrix[..., 1, column] for column in range(3))
    determinant = a * d - b * c
    if isinstance(matrix, np.ndarray) and not np.all(np.abs(determinant) > 0):
        raise InputError(
            f"an affine map with determinant 0 or NaN has no inverse: {matrix.tolist()}",
            code="not-invertible",
            argument="matrix",
        )
    a, b, c, d = d / determinant, -b / determinant, -c / determinant, a / determinant
    return xp.stack(
        [xp.stack([a, b, -(a * tx + b * ty)], axis=-1), xp.stack([c, d, -(c * tx + d * ty)], axis=-1)], axis=-2
    )


def from_box(box: Array, size: Array | tuple[float, float]) -> Array:
    """The map from frame px to the px of the box's content resized to `size`: x to (x + 0.5 - box_x) w / box_w - 0.5.

    Args:
        box: (..., 4) x, y, width, height in frame px, x and y the upper left corner's pixel index.
        size: width and height of the resized crop, two numbers or (..., 2).

    Returns:
        (..., 2, 3) in the box's library and dtype (float64 for lists and integers).

    Raises:
        ValueError: for a NumPy box or a size that is not positive.
    """
    box = _floating(box)
    if box.shape[-1] != 4:
        raise InputError(
            f"a box is x, y, width, height: expected shape (..., 4), got {tuple(box.shape)}",
            code="wrong-shape",
            argument="box",
            found=tuple(box.shape),
        )
    if isinstance(box, np.ndarray) and np.any(box[..., 2:] <= 0):
        raise InputError(
            f"a box needs a positive width and height, got x, y, width, height = {box.tolist()}",
            code="out-of-range",
            argument="box",
        )
    return _scale_about_corner(box[..., :2], box[..., 2:], size)


def resize(old: Array | tuple[float, float], new: Array | tuple[float, float]) -> Array:
    """The map of an image resized from width and height `old` to `new`: x to (x + 0.5) s - 0.5.

    Args:
        old: width and height, two numbers or (..., 2).
        new: like old.

    Returns:
        (..., 2, 3) in the library and dtype of `old` (float64 for tuples and integers).

    Raises:
        ValueError: for sizes that are not positive.
    """
    old = _floating(old)
    if isinstance(old, np.ndarray) and np.any(old <= 0):
        raise InputError(
            f"an image size must be positive, got width, height = {old.tolist()}", code="out-of-range", argument="old"
        )
    xp = array_namespace(old)
    return _scale_about_corner(xp.zeros_like(old), old, new)


def translate(offset: Array | tuple[float, float]) -> Array:
    """The map that adds `offset`, two numbers or (..., 2); (..., 2, 3)."""
    offset = _floating(offset)
    xp = array_namespace(offset)
    return _with_translation(xp.ones_like(offset), offset)


def to_3x3(matrix: Array) -> Array:
    """(..., 2, 3) with the row 0, 0, 1 added: (..., 3, 3)."""
    _check_matrix(matrix)
    xp = array_namespace(matrix)
    last = xp.zeros_like(matrix[..., :1, :]) + xp.eye(3, dtype=matrix.dtype, device=matrix.device)[2:]
    return xp.concat([matrix, last], axis=-2)


def from_3x3(matrix: Array) -> Array:
    """The (..., 2, 3) part of homogeneous (..., 3, 3) matrices.

    Raises:
        ValueError: when the shape is wrong, or a NumPy matrix's last row is not 0, 0, 1.
    """
    if len(matrix.shape) < 2 or tuple(matrix.shape[-2:]) != (3, 3):
        raise InputError(
            f"expected homogeneous matrices (..., 3, 3), got {tuple(matrix.shape)}",
            code="wrong-shape",
            argument="matrix",
            found=tuple(matrix.shape),
        )
    if isinstance(matrix, np.ndarray) and not np.allclose(matrix[..., 2, :], [0.0, 0.0, 1.0], atol=1e-6):
        raise InputError(
            f"not affine: the last row must be 0, 0, 1, got {matrix[..., 2, :].tolist()}",
            code="not-affine",
            argument="matrix",
        )
    return matrix[..., :2, :]


def _scale_about_corner(corner: Array, extent: Array, size: Array | tuple[float, float]) -> Array:
    xp = array_namespace(corner)
    if not is_array_api_obj(size):
        if not all(number > 0 for number in np.ravel(size)):
            raise InputError(
                f"an image size must be positive, got width, height = {size}", code="out-of-range", argument="size"
            )
        size = xp.asarray(size, dtype=corner.dtype, device=corner.device)
    elif isinstance(size, np.ndarray) and np.any(size <= 0):
        raise InputError(
            f"an image size must be positive, got width, height = {size.tolist()}", code="out-of-range", argument="size"
        )
    scale = size / extent
    return _with_translation(scale, (0.5 - corner) * scale - 0.5)


def _with_translation(scale: Array, translation: Array) -> Array:
    xp = array_namespace(scale)
    diagonal = scale[..., None] * xp.eye(2, dtype=scale.dtype, device=scale.device)
    return xp.concat([diagonal, translation[..., None]], axis=-1)


def _floating(value: Any) -> Array:
    if not is_array_api_obj(value):
        return np.asarray(value, dtype=np.float64)
    xp = array_namespace(value)
    return value if xp.isdtype(value.dtype, "real floating") else xp.astype(value, xp.float64)


def _check_matrix(matrix: Array) -> None:
    if len(matrix.shape) < 2 or tuple(matrix.shape[-2:]) != (2, 3):
        raise InputError(
            f"an affine map has shape (..., 2, 3), got {tuple(matrix.shape)}",
            code="wrong-shape",
            argument="matrix",
            found=tuple(matrix.shape),
        )
