"""Similarity and affine maps fitted to pairs of points: closed form, batched, weighted, differentiable.

Each fit is a handful of weighted sums and a 2x2 adjugate, so one implementation serves NumPy and torch, any leading
batch dimensions, and hundreds of sets at once. torch is not imported: it is used where tensors are passed. Nested lists
of numbers are NumPy arrays, integers are float64. Positions are px of any coordinate frame; the map goes from the
source's to the target's.

Degrees of freedom that the points do not determine come from a simpler map, never as an error:

| points with weight | similarity | affine |
|---|---|---|
| none | identity | identity |
| one, or all at one place | translation | translation |
| two, or all on one line | similarity | the similarity |
| three or more in general position | least squares | least squares |

Between the last two rows the affine slides smoothly: see `fit_affine`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, is_array_api_obj

from mvgeom.errors import InputError

Array = Any
"""A NumPy array or a torch tensor."""

FLATNESS_LIMIT = 0.04
"""Below this `4 det / trace^2` of the scatter (1: round, 0: a line) an affine is shrunk; 0.04 is 1:10 in extent."""


class _Moments(NamedTuple):
    """Weighted means and centered second moments, each (...,); weights sum to one, or to zero without points."""

    px: Array
    py: Array
    qx: Array
    qy: Array
    pxx: Array
    pxy: Array
    pyy: Array
    pxqx: Array
    pxqy: Array
    pyqx: Array
    pyqy: Array
    num_points: Array
    spread: Array
    has_points: Array
    has_spread: Array


def fit_similarity(source: Array, target: Array, mask: Array = None, *, weights: Array = None) -> Array:
    """Fit rotation, uniform scale and translation from `source` to `target` with least weighted squared error.

    The closed form is the complex least-squares slope `sum(w conj(p) q) / sum(w |p|^2)` of the centered points (Umeyama
    1991 in the plane), never a reflection.

    Args:
        source: (..., N, 2) px.
        target: (..., N, 2) px.
        mask: (..., N) boolean, True where the pair counts; what lies behind False (NaN too) has no influence and gets
            gradient 0. None: all count.
        weights: (..., N) non-negative. None: 1.

    Returns:
        (..., 2, 3) map from source to target px; NaN where a pair that counts is NaN. See the module for too few
        points.

    Raises:
        InputError: `wrong-shape`, if shapes are inconsistent; `bad-number`, if a list has other entries than numbers;
            `wrong-array`, if the arrays are of different libraries.
    """
    source, target, mask, weights = _checked(source, target, mask, weights)
    moments = _moments(source, target, mask, weights)
    a, b = _similarity_slope(moments)
    return _with_translation(moments, a, -b, b, a)


def fit_affine(
    source: Array, target: Array, mask: Array = None, *, weights: Array = None, flatness_limit: float = FLATNESS_LIMIT
) -> Array:
    """Fit an affine map from `source` to `target` with least weighted squared error, regularized for flat clouds.

    Three points on a thin sliver determine an affine on paper and a wild shear in practice, so the linear part M solves
    `min sum w |q - M p|^2 + l |M - S|^2` with S the similarity of the same points. The weight l is exactly 0 while the
    cloud is rounder than `flatness_limit * n / (n - 2)`, so general points give plain least squares, and grows smoothly
    as the cloud of n points flattens, so that its thin direction follows the similarity.

    Args:
        source: (..., N, 2) px.
        target: (..., N, 2) px.
        mask: (..., N) boolean, True where the pair counts; see `fit_similarity`.
        weights: (..., N) non-negative. None: 1.
        flatness_limit: `4 det / trace^2` of the source's scatter below which shrinking begins, for many points.

    Returns:
        (..., 2, 3) map from source to target px. See the module for too few points.

    Raises:
        InputError: As `fit_similarity`.
    """
    source, target, mask, weights = _checked(source, target, mask, weights)
    xp = array_namespace(source, target)
    m = _moments(source, target, mask, weights)
    a, b = _similarity_slope(m)

    determinant = m.pxx * m.pyy - m.pxy * m.pxy
    safe_spread = xp.where(m.has_spread, m.spread, xp.ones_like(m.spread))
    roundness = 4.0 * determinant / (safe_spread * safe_spread)
    surplus = xp.clip(m.num_points - 2.0, min=1.0)
    limit = flatness_limit * xp.clip(m.num_points, min=1.0) / surplus
    lack = xp.clip(1.0 - roundness / limit, min=0.0)
    ridge = xp.where(m.has_spread, 0.5 * m.spread * limit * lack * lack, xp.ones_like(m.spread))

    pxx, pyy = m.pxx + ridge, m.pyy + ridge
    inverse_determinant = 1.0 / (pxx * pyy - m.pxy * m.pxy)
    m00 = ((m.pxqx + ridge * a) * pyy - (m.pyqx - ridge * b) * m.pxy) * inverse_determinant
    m01 = ((m.pyqx - ridge * b) * pxx - (m.pxqx + ridge * a) * m.pxy) * inverse_determinant
    m10 = ((m.pxqy + ridge * b) * pyy - (m.pyqy + ridge * a) * m.pxy) * inverse_determinant
    m11 = ((m.pyqy + ridge * a) * pxx - (m.pxqy + ridge * b) * m.pxy) * inverse_determinant
    return _with_translation(m, m00, m01, m10, m11)


def fit_residual(matrix: Array, source: Array, target: Array, mask: Array = None) -> Array:
    """Compute the root mean square distance between the mapped source points and their targets.

    Args:
        matrix: (..., 2, 3) map from source to target px.
        source: (..., N, 2) px.
        target: (..., N, 2) px.
        mask: (..., N) boolean, True where the pair counts. None: all count.

    Returns:
        (...,) px; 0 where no pair counts, NaN where one that counts is NaN.

    Raises:
        InputError: As `fit_similarity`; `wrong-shape`, if the matrix is not (..., 2, 3).
    """
    source, target, mask, _ = _checked(source, target, mask, None)
    matrix = _floating(matrix, "matrix")
    _check_shape(matrix, "matrix", (2, 3))
    xp = array_namespace(source, target)
    source, target, weights, _ = _filled(source, target, mask, None)
    mapped = source @ xp.matrix_transpose(matrix[..., :2]) + matrix[..., None, :, 2]
    squared = xp.sum((mapped - target) ** 2, axis=-1)
    mean = xp.sum(weights * squared, axis=-1)
    positive = mean > 0
    return xp.where(positive, xp.sqrt(xp.where(positive, mean, xp.ones_like(mean))), mean)  # 0, or NaN


def _checked(source: Array, target: Array, mask: Array, weights: Array) -> tuple[Array, Array, Array, Array]:
    source, target = _floating(source, "source"), _floating(target, "target")
    mask = mask if mask is None or is_array_api_obj(mask) else np.asarray(mask, dtype=bool)
    weights = None if weights is None else _floating(weights, "weights")
    _check_shape(source, "source", (None, 2))
    num_points = source.shape[-2]
    _check_shape(target, "target", (num_points, 2))
    for argument, values in (("mask", mask), ("weights", weights)):
        if values is not None:
            _check_shape(values, argument, (num_points,))
    try:
        array_namespace(*(values for values in (source, target, mask, weights) if values is not None))
    except TypeError as error:
        raise InputError(
            "source: arrays of different libraries, expected NumPy arrays or torch tensors only. Convert them.",
            code="wrong-array",
            argument="source",
        ) from error
    return source, target, mask, weights


def _floating(values: Array, argument: str) -> Array:
    if not is_array_api_obj(values):
        try:
            return np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{argument}: found {type(values).__name__} with other entries than numbers, expected an array or a "
                "regular nested list of numbers. Use NaN for missing values.",
                code="bad-number",
                argument=argument,
            ) from error
    xp = array_namespace(values)
    return values if xp.isdtype(values.dtype, "real floating") else xp.astype(values, xp.float64)


def _check_shape(values: Array, argument: str, last: tuple[int | None, ...]) -> None:
    """Raise an InputError unless the last dimensions have these lengths; None stands for any."""
    found = tuple(values.shape)
    if len(found) < len(last) or any(n is not None and n != m for n, m in zip(last, found[-len(last) :], strict=True)):
        expected = ", ".join("N" if length is None else str(length) for length in last)
        raise InputError(
            f"{argument}: wrong shape, found {found}, expected (..., {expected})",
            code="wrong-shape",
            argument=argument,
            found=found,
        )


def _filled(source: Array, target: Array, mask: Array, weights: Array) -> tuple[Array, Array, Array, Array]:
    """Return points with 0 where masked, weights that sum to one (or zero), and the number (...,) of points."""
    xp = array_namespace(source, target)
    if weights is None:
        weights = xp.ones_like(source[..., 0])
    if mask is not None:
        zero = xp.zeros_like(source)
        source = xp.where(mask[..., None], source, zero)
        target = xp.where(mask[..., None], target, zero)
        weights = xp.where(mask, weights, zero[..., 0])
    total = xp.sum(weights, axis=-1, keepdims=True)
    num_points = xp.sum(xp.astype(weights > 0, source.dtype), axis=-1)
    return source, target, weights / xp.where(total > 0, total, xp.ones_like(total)), num_points


def _moments(source: Array, target: Array, mask: Array, weights: Array) -> _Moments:
    xp = array_namespace(source, target)
    source, target, weights, num_points = _filled(source, target, mask, weights)
    px, py, qx, qy = source[..., 0], source[..., 1], target[..., 0], target[..., 1]

    def mean(values: Array) -> Array:
        return xp.sum(weights * values, axis=-1)

    mean_px, mean_py, mean_qx, mean_qy = mean(px), mean(py), mean(qx), mean(qy)
    px, py = px - mean_px[..., None], py - mean_py[..., None]
    qx, qy = qx - mean_qx[..., None], qy - mean_qy[..., None]
    weighted_px, weighted_py = weights * px, weights * py
    pxx, pyy = xp.sum(weighted_px * px, axis=-1), xp.sum(weighted_py * py, axis=-1)
    spread = pxx + pyy
    # Rounding of the positions themselves: points nearer to each other than that are at one place.
    rounding = 64 * xp.finfo(source.dtype).eps * (1 + xp.abs(mean_px) + xp.abs(mean_py))
    return _Moments(
        px=mean_px,
        py=mean_py,
        qx=mean_qx,
        qy=mean_qy,
        pxx=pxx,
        pxy=xp.sum(weighted_px * py, axis=-1),
        pyy=pyy,
        pxqx=xp.sum(weighted_px * qx, axis=-1),
        pxqy=xp.sum(weighted_px * qy, axis=-1),
        pyqx=xp.sum(weighted_py * qx, axis=-1),
        pyqy=xp.sum(weighted_py * qy, axis=-1),
        num_points=num_points,
        spread=spread,
        has_points=num_points > 0,
        has_spread=spread > rounding * rounding,
    )


def _similarity_slope(m: _Moments) -> tuple[Array, Array]:
    """Compute real and imaginary part of the complex slope; 1 where the points are all at one place."""
    xp = array_namespace(m.spread)
    one = xp.ones_like(m.spread)
    safe = xp.where(m.has_spread, m.spread, one)
    a = xp.where(m.has_spread, (m.pxqx + m.pyqy) / safe, one)
    b = xp.where(m.has_spread, (m.pxqy - m.pyqx) / safe, 0.0 * one)
    return a, b


def _with_translation(m: _Moments, m00: Array, m01: Array, m10: Array, m11: Array) -> Array:
    xp = array_namespace(m.spread)
    one, zero = xp.ones_like(m.spread), xp.zeros_like(m.spread)
    determined = m.has_points & m.has_spread
    m00, m11 = xp.where(determined, m00, one), xp.where(determined, m11, one)
    m01, m10 = xp.where(determined, m01, zero), xp.where(determined, m10, zero)
    shift_x = m.qx - m00 * m.px - m01 * m.py
    shift_y = m.qy - m10 * m.px - m11 * m.py
    rows = xp.stack([m00, m01, shift_x, m10, m11, shift_y], axis=-1)
    return xp.reshape(rows, (*rows.shape[:-1], 2, 3))
