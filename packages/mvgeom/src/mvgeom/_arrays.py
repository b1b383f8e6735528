"""Helpers that the Array API lacks: dtypes, stopped gradients, small linear systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace, is_array_api_obj

from mvgeom.errors import InputError

Array = Any
"""A NumPy array or a torch tensor: any type that `array_api_compat.array_namespace` accepts."""


def as_array(values: Any, argument: str) -> Array:
    """Return arrays and tensors of numbers unchanged, and nested lists of numbers as a NumPy array of float64.

    Raises:
        InputError: `bad-number`, if a list is not regular, or a list or NumPy array has other entries than real
            numbers; `wrong-array`, if the values are something else, such as a table of pandas, whose rows and columns
            name no axes of ours.
    """
    if isinstance(values, (np.ndarray, np.generic)):  # torch.compile knows no union of these
        return values if values.dtype.kind in "fiub" else _real_numbers(values, argument)
    if is_array_api_obj(values):
        return values
    if not isinstance(values, list | tuple):
        kind = type(values)
        raise InputError(
            f"{argument}: wrong type, found {kind.__module__}.{kind.__qualname__}, expected a NumPy array, a torch "
            "tensor or a nested list of numbers. Convert it, for a table by its to_numpy().",
            code="wrong-array",
            argument=argument,
        )
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise InputError(
            f"{argument}: must be numbers in a regular nested list, found something else. Use NaN for missing values.",
            code="bad-number",
            argument=argument,
        ) from error


def check_number(value: Any, argument: str, *, whole: bool = False) -> None:
    """Raise an InputError unless a value is one number, of which the range is checked elsewhere.

    Raises:
        InputError: `bad-number`, for None, text or a list.
    """
    if not hasattr(value, "__index__" if whole else "__float__"):
        raise InputError(
            f"{argument}: must be a {'whole number' if whole else 'number'}, found {value!r}",
            code="bad-number",
            argument=argument,
            found=value,
        )


def _real_numbers(array: Any, argument: str) -> npt.NDArray[np.float64]:
    """Return a NumPy array of objects or text as numbers; complex numbers and times are none."""
    try:
        if array.dtype.kind in "OUS":
            return np.asanyarray(array.astype(np.float64))
    except (TypeError, ValueError, OverflowError, RuntimeError):
        pass
    raise InputError(
        f"{argument}: must be real numbers, found an array of {array.dtype}. Use NaN for missing values.",
        code="bad-number",
        argument=argument,
    )


def as_floating(xp: Any, array: Array, argument: str) -> Array:
    """Return a floating-point array unchanged, and integers and wider numbers converted to float64.

    NumPy arrays of the other byte order are converted to the machine's, and masked entries become NaN.

    Raises:
        InputError: `wrong-array`, if the array is complex or has half precision: bfloat16 resolves only 2 px at
            x = 500.
    """
    if isinstance(array, np.ma.MaskedArray):
        array = np.ma.filled(array if array.dtype.kind == "f" else array.astype(np.float64), np.nan)
    if array.dtype in (xp.float32, xp.float64):
        return array
    if isinstance(array, np.ndarray) and array.dtype.kind == "f" and array.dtype.itemsize >= 4:
        return array.astype(np.float32 if array.dtype.itemsize == 4 else np.float64)
    if xp.isdtype(array.dtype, ("real floating", "complex floating")):
        raise InputError(
            f"{argument}: coordinates cannot be {array.dtype}, expected float32 or float64. Convert the array.",
            code="wrong-array",
            argument=argument,
            dtype=str(array.dtype),
        )
    return xp.astype(array, xp.float64)


def as_float64(values: Any, argument: str) -> npt.NDArray[np.float64]:
    """Return numbers as a NumPy array of float64; entries that are masked become NaN.

    Raises:
        InputError: As `as_array`; `wrong-array`, also if a tensor is not on the CPU or has a gradient.
    """
    values = as_array(values, argument)
    if isinstance(values, np.ma.MaskedArray):
        return np.ma.filled(values.astype(np.float64), np.nan)
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, RuntimeError) as error:
        raise InputError(
            f"{argument}: wrong array, found a tensor on a device or with a gradient, expected one that NumPy can "
            f"read. Give {argument}.detach().cpu().",
            code="wrong-array",
            argument=argument,
        ) from error


def one_namespace(arrays: Mapping[str, Array]) -> Any:
    """Return the array library of arrays by argument.

    Raises:
        InputError: `wrong-array`, if they are of different libraries.
    """
    namespaces = [array_namespace(array) for array in arrays.values()]
    if any(each is not namespaces[0] for each in namespaces):
        found = ", ".join(f"{type(array).__module__}.{type(array).__name__}" for array in arrays.values())
        raise InputError(
            f"{', '.join(arrays)}: different array types, found {found}, expected one. Convert one of them.",
            code="wrong-array",
            argument=list(arrays)[-1],
        )
    return namespaces[0]


def broadcasts(shape: Sequence[int], other: Sequence[int]) -> bool:
    """Return True if arrays of two shapes broadcast; without an array, so that it can be compiled."""
    pairs = zip(reversed(shape), reversed(other), strict=False)
    return all(a == b or a == 1 or b == 1 for a, b in pairs)


def check_broadcast(argument: str, found: Sequence[int], other: Sequence[int], beside: str) -> None:
    """Raise an InputError unless leading dimensions broadcast with others.

    Args:
        argument: Name of the argument, for the message.
        found: Leading dimensions of its array.
        other: Dimensions that they must broadcast with.
        beside: Whose dimensions these are, for the message.

    Raises:
        InputError: `wrong-shape`.
    """
    if not broadcasts(found, other):
        raise InputError(
            f"{argument}: wrong shape, found the leading dimensions {tuple(found)}, expected ones that broadcast with "
            f"{tuple(other)} of {beside}",
            code="wrong-shape",
            argument=argument,
            found=tuple(found),
        )


def cast(xp: Any, array: Array, dtype: Any) -> Array:
    """Return the array in another dtype, or the array itself if it already has that dtype."""
    return array if array.dtype == dtype else xp.astype(array, dtype)


def clip(xp: Any, array: Array, low: float | None, high: float | None) -> Array:
    """Return the array with its values limited by numbers, of which one may be None.

    NumPy's own function takes a fifth of the time of the portable one on small arrays.
    """
    return np.clip(array, low, high) if isinstance(array, np.ndarray) else xp.clip(array, low, high)


def wide_dtype(xp: Any, array: Array) -> Any:
    """Return float64, or the array's own dtype on Apple's MPS device, which does not support float64."""
    return array.dtype if str(getattr(array, "device", "cpu")).startswith("mps") else xp.float64


def stop_gradient(array: Array) -> Array:
    """Return the same values detached from autograd; NumPy arrays are returned unchanged."""
    return array.detach() if hasattr(array, "detach") else array


def solve_symmetric(
    entries: tuple[Array, ...], right: tuple[Array, ...], enough: Array, xp: Any
) -> tuple[tuple[Array, Array, Array], Array]:
    """Solve symmetric 3x3 systems by the adjugate: no decomposition, no loop, elementwise on any shape.

    Args:
        entries: Unique matrix entries m00, m01, m02, m11, m12, m22, as arrays of one shape.
        right: Three components of the right-hand side, each of the same shape.
        enough: Booleans of the same shape, true for the systems to solve.
        xp: Array library (array namespace) of the inputs.

    Returns:
        Solution as its three components, and booleans that are true for the systems that were solved, which are the
        positive definite ones. All other systems have the solution 0 and pass no gradient.
    """
    (c00, c01, c02, c11, c12, c22), determinant = adjugate_symmetric(entries)
    solved = enough & (determinant > 0)
    inverse = xp.where(solved, 1 / xp.where(solved, determinant, 1.0), 0.0)
    b0, b1, b2 = right
    solution = (
        (c00 * b0 + c01 * b1 + c02 * b2) * inverse,
        (c01 * b0 + c11 * b1 + c12 * b2) * inverse,
        (c02 * b0 + c12 * b1 + c22 * b2) * inverse,
    )
    return solution, solved


def adjugate_symmetric(entries: tuple[Array, ...]) -> tuple[tuple[Array, ...], Array]:
    """Return adjugates of symmetric 3x3 matrices, entries ordered as in `solve_symmetric`, and the determinants."""
    m00, m01, m02, m11, m12, m22 = entries
    c00 = m11 * m22 - m12 * m12
    c01 = m02 * m12 - m01 * m22
    c02 = m01 * m12 - m02 * m11
    c11 = m00 * m22 - m02 * m02
    c12 = m01 * m02 - m00 * m12
    c22 = m00 * m11 - m01 * m01
    return (c00, c01, c02, c11, c12, c22), m00 * c00 + m01 * c01 + m02 * c02
