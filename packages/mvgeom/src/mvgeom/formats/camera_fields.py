"""Fields of a calibration file: checks of shape and range, and conversions, before they become part of a camera."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mvgeom.cameras import DISTORTION_LENGTHS
from mvgeom.errors import InputError

__all__ = [
    "ROTATION_TOLERANCE",
    "Floats",
    "Sizes",
    "check_truth",
    "distortion_coefficients",
    "fisheye_flag",
    "image_size",
    "intrinsics",
    "is_unplaced",
    "numbers",
    "require",
    "rotation_from_vector",
    "rotation_matrix",
    "rotation_to_vector",
    "size_or_given",
]

Floats = npt.NDArray[np.float64]


ROTATION_TOLERANCE = 1e-3
"""Largest entry of |R'R - I| that counts as rounding: files with 4 decimals stay below it, wrong matrices do not."""


def is_unplaced(entry: Mapping[str, Any], pose: Sequence[str]) -> bool:
    """Return True if the entry of a camera has none of the fields of its pose; None counts as absent."""
    return all(entry.get(field) is None for field in pose)


def require(entry: Any, fields: Sequence[str], name: str, path: Path) -> None:
    """Check that the entry of a camera is a map with these fields.

    Args:
        entry: Value that the file has for the camera.
        fields: Names of the fields; None counts as absent.
        name: Name of the camera, for messages.
        path: File of the cameras, for messages.

    Raises:
        InputError: when it is not a map, or lacks a field.
    """
    where = f"{path}: camera {name!r}: "
    if not isinstance(entry, Mapping):
        raise InputError(
            f"{where}must be a map with {', '.join(fields)}, found {_short(entry)}",
            code="bad-field",
            path=path,
            view=name,
        )
    missing = [field for field in fields if entry.get(field) is None]
    if missing:
        raise InputError(
            f"{where}no {' and no '.join(map(repr, missing))}",
            code="missing-field",
            path=path,
            view=name,
            field=missing[0],
        )


def numbers(value: Any, shape: tuple[int, ...] | None, where: str, *, reshape: bool = False) -> Floats:
    """Validate a value and return it as float64 with the given shape.

    Args:
        value: Nested lists of numbers, or an array.
        shape: Expected shape; None for a list of any length, nested or not.
        where: File, camera and field, the start of every error message.
        reshape: True to accept any nesting with the right count of numbers, such as 3x1 or 1x3 for 3.

    Raises:
        InputError: `bad-number`, if the value is not numeric; `wrong-shape`, if it has another shape; `not-finite`, if
            it contains NaN or infinity.
    """
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "fiu":
            raise TypeError
        array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        expected = "a list of numbers" if shape is None else f"{'x'.join(map(str, shape))} numbers"
        raise InputError(f"{where} must be {expected}, found {_short(value)}", code="bad-number") from error
    if shape is None:
        array = array.reshape(-1)
    elif array.shape != shape:
        if not (reshape and array.size == int(np.prod(shape))):
            found = "x".join(map(str, array.shape)) or "a single number"
            raise InputError(
                f"{where} must be {'x'.join(map(str, shape))} numbers, found {found}",
                code="wrong-shape",
                expected=shape,
            )
        array = array.reshape(shape)
    if not np.isfinite(array).all():
        raise InputError(f"{where} must be finite, found {array.tolist()}", code="not-finite")
    return array


def intrinsics(value: Any, where: str) -> Floats:
    """Validate a 3x3 camera matrix K.

    Raises:
        InputError: `wrong-shape`, if the shape is not 3x3; `not-a-camera`, if the last row is not 0 0 1 (in a
            transposed K, for example), the second does not begin with 0, or a focal length is not positive.
    """
    matrix = numbers(value, (3, 3), where)
    if not np.allclose(matrix[2], [0, 0, 1], rtol=0, atol=1e-9):
        transposed = np.allclose(matrix[:, 2], [0, 0, 1], rtol=0, atol=1e-9)
        hint = "; it seems to be stored transposed" if transposed else ""
        raise InputError(f"{where} must have the last row 0 0 1, found {matrix[2].tolist()}{hint}", code="not-a-camera")
    if abs(matrix[1, 0]) > 1e-6:
        raise InputError(
            f"{where} must be upper triangular: its second row begins with 0, found {matrix[1, 0]:g}",
            code="not-a-camera",
        )
    if matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise InputError(
            f"{where} must have positive focal lengths, found {matrix[0, 0]:g} and {matrix[1, 1]:g}",
            code="not-a-camera",
        )
    return matrix


def image_size(value: Any, where: str) -> Floats:
    """Validate an image width and height in px.

    Raises:
        InputError: `out-of-range`, if width or height is not positive; `wrong-shape` or `bad-number`, if they are not
            two numbers.
    """
    size = numbers(value, (2,), where, reshape=True)
    if (size <= 0).any():
        raise InputError(
            f"{where} must be a positive width and height, found {size.tolist()}",
            code="out-of-range",
            found=size.tolist(),
        )
    return size


Sizes = tuple[float, float] | Mapping[str, tuple[float, float]]
"""Image width and height for all cameras, or by camera name: for formats that do not store them."""


def size_or_given(stored: Any, given: Sizes | None, name: str, matrix: Floats | None, where: str) -> Floats:
    """Return the image size of a camera from the file, or from the caller if the file has none.

    Args:
        stored: Width and height in px from the file; None if it has none.
        given: Width and height in px from the caller; None if not given.
        name: Name of the camera.
        matrix: Camera matrix K; the message derives an approximate size from its principal point. None if unknown.
        where: File and camera, the start of every error message.

    Raises:
        InputError: `missing-size`, if there is no size at all (`suggested` is the approximate one, None without K);
            `size-mismatch`, if the caller's differs from the file's.
    """
    if isinstance(given, Mapping) and name not in given and stored is None:
        raise InputError(
            f"{where}sizes has no entry for this camera, only for {sorted(given)}", code="missing-size", view=name
        )
    wanted = given.get(name) if isinstance(given, Mapping) else given
    if stored is None:
        if wanted is None:
            suggested = None if matrix is None else tuple(round(2 * middle + 1) for middle in matrix[:2, 2])
            hint = "" if suggested is None else f" (its principal point suggests about {'x'.join(map(str, suggested))})"
            raise InputError(
                f"{where}the file has no image size{hint}. Give sizes=(width, height), or write a file that has it "
                "with mvgeom convert --size WxH.",
                code="missing-size",
                view=name,
                suggested=suggested,
            )
        return image_size(wanted, f"{where}size")
    size = image_size(stored, f"{where}size")
    if wanted is not None and (size != image_size(wanted, f"{where}size")).any():
        raise InputError(
            f"{where}sizes: found {list(wanted)} px, expected {size.tolist()} px as in the file",
            code="size-mismatch",
            view=name,
        )
    return size


def distortion_coefficients(value: Any, where: str, *, lengths: Sequence[int] = DISTORTION_LENGTHS) -> Floats:
    """Validate coefficients in OpenCV's order, from a list that may be nested (5x1 and 1x5 occur).

    Raises:
        InputError: `wrong-count`, if their number is not one of `lengths`.
    """
    coefficients = numbers(value, None, where)
    if len(coefficients) not in lengths:
        expected = " or ".join(map(str, lengths))
        raise InputError(
            f"{where} must have {expected} coefficients, found {len(coefficients)}",
            code="wrong-count",
            found=len(coefficients),
            expected=tuple(lengths),
        )
    return coefficients


def check_truth(value: object, argument: str) -> None:
    """Refuse an option that is not a truth value: a text such as "false" would count as true.

    Raises:
        InputError: `unknown-choice`.
    """
    if not isinstance(value, bool | np.bool_):
        raise InputError(
            f"{argument}: must be True or False, found {value!r}", code="unknown-choice", argument=argument, found=value
        )


def fisheye_flag(entry: Mapping[str, Any], name: str, path: Path) -> bool:
    """Return the field `fisheye` of a camera's entry, False if it has none.

    Raises:
        InputError: `bad-field`, if it is neither true nor false.
    """
    fisheye = entry.get("fisheye", False)
    if not isinstance(fisheye, bool):
        raise InputError(
            f"{path}: camera {name!r}: fisheye must be true or false, found {fisheye!r}",
            code="bad-field",
            path=path,
            view=name,
            field="fisheye",
        )
    return fisheye


def rotation_matrix(value: Any, where: str) -> Floats:
    """Validate a 3x3 rotation and return the nearest rotation, which removes rounding errors of the file.

    Raises:
        InputError: `wrong-shape`, if the shape is not 3x3; `not-a-rotation`, if the matrix is not orthonormal (the
            message has the difference) or is a reflection.
    """
    matrix = numbers(value, (3, 3), where)
    off = float(np.abs(matrix.T @ matrix - np.eye(3)).max())
    if off > ROTATION_TOLERANCE:
        raise InputError(
            f"{where} is not a rotation: R'R differs from the identity, found {off:.2g}, expected at most "
            f"{ROTATION_TOLERANCE:g}",
            code="not-a-rotation",
        )
    if np.linalg.det(matrix) < 0:
        raise InputError(
            f"{where} is a reflection (determinant -1), not a rotation. Check for a mirrored axis.",
            code="not-a-rotation",
        )
    if off < 1e-9:
        return matrix
    left, _, right = np.linalg.svd(matrix)
    return np.asarray(left @ right)


def rotation_from_vector(value: Any, where: str) -> Floats:
    """Convert a rotation vector (axis times angle in radians) to a 3x3 rotation.

    Raises:
        InputError: `wrong-shape`, `bad-number` or `not-finite`, if the value is not three finite numbers.
    """
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_rotvec(numbers(value, (3,), where, reshape=True)).as_matrix())


def rotation_to_vector(rotation: Floats) -> Floats:
    """Convert rotations (..., 3, 3) to rotation vectors (..., 3), axis times angle in radians."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_matrix(rotation.reshape(-1, 3, 3)).as_rotvec()).reshape(rotation.shape[:-1])


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
