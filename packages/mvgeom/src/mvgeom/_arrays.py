"""What the Array API lacks and every geometric function needs: dtypes, gradients stopped, small linear systems."""

from __future__ import annotations

from typing import Any

from mvgeom.errors import InputError

Array = Any
"""A NumPy array or a torch tensor: whatever `array_api_compat.array_namespace` understands."""


def as_floating(xp: Any, array: Array) -> Array:
    """The array itself, or float64 where it holds integers.

    Raises:
        ValueError: for half precision: bfloat16 resolves 2 px at x = 500.
    """
    if array.dtype in (xp.float32, xp.float64):
        return array
    if xp.isdtype(array.dtype, "real floating"):
        raise InputError(
            f"coordinates in {array.dtype} are too coarse for geometry; use float32 or float64",
            code="wrong-dtype",
            dtype=str(array.dtype),
        )
    return xp.astype(array, xp.float64)


def cast(xp: Any, array: Array, dtype: Any) -> Array:
    """The array in another dtype, untouched where it has that already."""
    return array if array.dtype == dtype else xp.astype(array, dtype)


def wide_dtype(xp: Any, array: Array) -> Any:
    """float64, or the array's own dtype on Apple's MPS device, which has no float64."""
    return array.dtype if str(getattr(array, "device", "cpu")).startswith("mps") else xp.float64


def stop_gradient(array: Array) -> Array:
    """The same values, cut off from autograd; NumPy arrays are returned as they are."""
    return array.detach() if hasattr(array, "detach") else array


def solve_symmetric(
    entries: tuple[Array, ...], right: tuple[Array, ...], enough: Array, xp: Any
) -> tuple[tuple[Array, Array, Array], Array]:
    """Solve symmetric 3x3 systems by the adjugate: no decomposition, no loop, elementwise on any shape.

    Args:
        entries: unique entries m00, m01, m02, m11, m12, m22, arrays of one shape.
        right: three components of the right-hand side.
        enough: booleans, which systems to solve.
        xp: the array library.

    Returns:
        The three components of the solution, and booleans: which systems were solved, being positive definite. The
        others have the solution 0, and pass no gradient.
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
    """Unique entries of the adjugate of symmetric 3x3 matrices (order as in `solve_symmetric`), and the determinant."""
    m00, m01, m02, m11, m12, m22 = entries
    c00 = m11 * m22 - m12 * m12
    c01 = m02 * m12 - m01 * m22
    c02 = m01 * m12 - m02 * m11
    c11 = m00 * m22 - m02 * m02
    c12 = m01 * m02 - m00 * m12
    c22 = m00 * m11 - m01 * m01
    return (c00, c01, c02, c11, c12, c22), m00 * c00 + m01 * c01 + m02 * c02
