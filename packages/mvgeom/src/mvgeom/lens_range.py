"""Invertible range of lens models, and a table of start values for the inversion.

Beyond some radius most polynomials decrease again, and one pixel has several rays; only the part around the optical
axis is meaningful. The range depends only on the camera, so it is computed once per group of cameras.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from array_api_compat import array_namespace

from mvgeom._arrays import Array, clip, stop_gradient, wide_dtype

__all__ = [
    "MAX_RADIUS",
    "Lens",
    "LensRange",
    "PreparedLens",
    "first_guess",
    "lens_range",
    "lens_terms",
    "pick_views",
    "polynomial",
    "polynomial_slope",
    "prepare_lenses",
]

MAX_RADIUS = 1e4
"""Largest normalized radius that counts as visible, 89.994 degrees from the optical axis."""

_MAX_POLYNOMIAL_RADIUS = 100.0
"""The same limit for a model that is a polynomial in the radius, 89.4 degrees: its powers stay finite in float32."""

_NUM_CELLS = 64
_FARTHEST_IN_TABLE = 20.0


class Lens(NamedTuple):
    """Coefficients by meaning, each (..., V, 1); groups that the number of coefficients does not include are empty."""

    fisheye: bool
    numerator: tuple[Array, ...] = ()
    denominator: tuple[Array, ...] = ()
    tangential: tuple[Array, ...] = ()
    prism: tuple[Array, ...] = ()
    tilt: tuple[Array, ...] = ()

    @property
    def first(self) -> Array | float:
        """Coefficient k1; 0 for a lens without coefficients."""
        return self.numerator[0] if self.numerator else 0.0

    def without_gradients(self) -> Lens:
        """Return the same lens, detached from autograd."""
        return Lens(self.fisheye, *(tuple(stop_gradient(c) for c in part) for part in self[1:]))


class LensRange(NamedTuple):
    """Range in which lenses are one-to-one, and a table for Newton's method; no gradients, dtype of the coefficients.

    Attributes:
        radius: (..., V, 1) normalized radius below which the model is monotone, at most `MAX_RADIUS`, and at most 100
            for a polynomial.
        offset, factor: (..., V, 1) parameters of the table, which is uniform in (offset + factor * distorted
            radius)^(1/4).
        table: (cameras * nodes,) undistorted radius (angle for fisheye) divided by distorted radius.
        first_node: (..., V, 1) integers, index of a camera's first node in the table.
    """

    radius: Array
    offset: Array
    factor: Array
    table: Array
    first_node: Array

    def cast(self, dtype: Any, xp: Any) -> LensRange:
        """Convert the range to the dtype of points."""
        radius, offset, factor, table = (xp.astype(entry, dtype, copy=False) for entry in self[:-1])
        return LensRange(radius, offset, factor, table, self.first_node)


class PreparedLens(NamedTuple):
    """Cameras that share one lens model: their indices in the group, and their range."""

    views: tuple[int, ...]
    fisheye: bool
    limits: LensRange


def prepare_lenses(distortion: Array, fisheye: tuple[bool, ...]) -> tuple[PreparedLens, ...]:
    """Return one entry per lens model in use, from coefficients (..., V, n) and V booleans, true for fisheye lenses."""
    prepared = []
    for model in sorted(set(fisheye)):
        views = tuple(view for view, is_fisheye in enumerate(fisheye) if is_fisheye == model)
        prepared.append(PreparedLens(views, model, lens_range(pick_views(distortion, views), fisheye=model)))
    return tuple(prepared)


def pick_views(array: Array, views: tuple[int, ...]) -> Array:
    """Return the given views of an array (..., V, n)."""
    if len(views) == array.shape[-2]:
        return array
    xp = array_namespace(array)
    return xp.concat([array[..., view : view + 1, :] for view in views], axis=-2)


def lens_terms(distortion: Array, *, fisheye: bool) -> Lens:
    """Split coefficients (..., V, n) in OpenCV's order by meaning."""
    xp = array_namespace(distortion)
    length = int(distortion.shape[-1])
    terms = tuple(xp.unstack(distortion[..., None, :], axis=-1)) if length else ()
    if fisheye:
        return Lens(fisheye=True, numerator=terms[:4])
    return Lens(
        fisheye=False,
        numerator=terms[:2] + terms[4:5],
        denominator=terms[5:8],
        tangential=terms[2:4],
        prism=terms[8:12],
        tilt=terms[12:14],
    )


def polynomial(t: Array, coefficients: tuple[Array, ...]) -> Array:
    """Evaluate 1 + c1 t + c2 t^2 + ..."""
    if not coefficients:
        return 1 + 0 * t
    value = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        value = coefficient + t * value
    return 1 + t * value


def polynomial_slope(t: Array, coefficients: tuple[Array, ...], factor: int = 1) -> Array:
    """Evaluate factor * (c1 + 2 c2 t + 3 c3 t^2 + ...)"""
    if not coefficients:
        return 0 * t
    value = (factor * len(coefficients)) * coefficients[-1]
    for order in range(len(coefficients) - 1, 0, -1):
        value = (factor * order) * coefficients[order - 1] + t * value
    return value


def first_guess(distorted: Array, limits: LensRange, xp: Any) -> Array:
    """Interpolate undistorted radius (angle for fisheye) divided by distorted radius, from the cameras' tables."""
    position = clip(xp, limits.offset + limits.factor * distorted, 0.0, 1 - 1e-6)
    position = xp.sqrt(xp.sqrt(position)) * _NUM_CELLS
    cell = xp.floor(position)
    index = limits.first_node + xp.astype(cell, xp.int64)
    flat = xp.reshape(index, (-1,))
    low = xp.reshape(xp.take(limits.table, flat, axis=0), index.shape)
    high = xp.reshape(xp.take(limits.table, flat + 1, axis=0), index.shape)
    return low + (position - cell) * (high - low)


def lens_range(distortion: Array, *, fisheye: bool) -> LensRange:
    """Find the invertible range of lenses (..., V, n), in float64 by subdivision of the angle from the axis.

    Brown-Conrady: the largest disc on which the symmetric part of the Jacobian is positive definite for every
    direction. On a convex set this makes the map one-to-one, also with tangential and prism terms. With only radial
    terms, it is the radius at which r R(r^2) stops growing.
    """
    xp = array_namespace(distortion)
    wide = wide_dtype(xp, distortion)
    lens = lens_terms(xp.astype(stop_gradient(distortion), wide), fisheye=fisheye)
    low = xp.zeros((*distortion.shape[:-1], 1), dtype=wide, device=distortion.device)
    fractions = xp.arange(1, 65, dtype=wide, device=distortion.device) / 64
    widest = math.atan(_MAX_POLYNOMIAL_RADIUS if lens.numerator and not fisheye else MAX_RADIUS)
    first, step = _first_failure(low, widest, fractions, lens, xp), widest / 64
    for _ in range(3):
        # The last sample is the known failure of the previous step, up to rounding.
        refined = _first_failure(xp.where(xp.isfinite(first), first - step, 0.0), step, fractions, lens, xp)
        first = xp.where(refined < first, xp.where(xp.isfinite(first), refined, first), first)
        step = step / 64
    limit = xp.clip(first - step, 0.0, widest)
    offset, factor, table = _inverse_table(limit, lens, xp)
    nodes = xp.arange(math.prod(distortion.shape[:-1]), dtype=xp.int64, device=distortion.device) * (_NUM_CELLS + 1)
    return LensRange(
        xp.tan(limit),
        offset,
        factor,
        xp.reshape(table, (-1,)),
        xp.reshape(nodes, (*distortion.shape[:-1], 1)),
    ).cast(distortion.dtype, xp)


def _first_failure(low: Array, width: float, fractions: Array, lens: Lens, xp: Any) -> Array:
    """Return the first sampled angle in (low, low + width] where the lens is not monotone; infinity without one."""
    angles = low + width * fractions
    margin = _monotone_margin(angles if lens.fisheye else xp.tan(angles), lens, xp)
    return xp.min(xp.where(margin > 0, xp.inf, angles), axis=-1, keepdims=True)


def _monotone_margin(radius: Array, lens: Lens, xp: Any) -> Array:
    """Return a number that is positive if the model is monotone in every direction at this radius (or angle)."""
    r2 = radius * radius
    value, slope = polynomial(r2, lens.numerator), polynomial_slope(r2, lens.numerator, factor=2)
    before_pole = True
    if lens.denominator:
        denominator = polynomial(r2, lens.denominator)
        before_pole = denominator > 1e-9
        inverse = 1 / xp.where(before_pole, denominator, 1.0)
        value = value * inverse
        slope = (slope - value * polynomial_slope(r2, lens.denominator, factor=2)) * inverse
    radial, across = value + r2 * slope, value
    if lens.tangential:
        tangential = radius * _norm(lens.tangential, xp)
        radial, across = radial - 6 * tangential, across - 2 * tangential
    if lens.prism:
        s1, s2, s3, s4 = lens.prism
        prism = 2 * radius * (_norm((s1, s3), xp) + 2 * r2 * _norm((s2, s4), xp))
        radial, across = radial - prism, across - prism
    return xp.where(before_pole & (across > 0), radial, -1.0)


def _inverse_table(limit: Array, lens: Lens, xp: Any) -> tuple[Array, Array, Array]:
    """Return offset, factor and table of `LensRange`, by bisection of the radial model up to the angle `limit`.

    If the model decreases again at the limit, its inverse behaves like a square root there. The table is then denser
    near the limit, so the start value is as accurate there as elsewhere. For other models the table is denser near the
    axis and ends at 20 focal lengths from it, farther than any sensor; beyond, the last cell is used.
    """
    edge = limit if lens.fisheye else xp.tan(limit)
    edge_distorted = _radial(edge, lens)
    folds = edge_distorted < _FARTHEST_IN_TABLE
    edge_distorted = xp.where(folds, edge_distorted, _FARTHEST_IN_TABLE)
    nodes = xp.arange(_NUM_CELLS + 1, dtype=limit.dtype, device=limit.device) / _NUM_CELLS
    target = xp.where(folds, 1 - nodes**4, nodes**4) * edge_distorted
    low, high = xp.zeros_like(target), edge + xp.zeros_like(target)
    for _ in range(10):
        middle = (low + high) / 2
        below = _radial(middle, lens) < target
        low, high = xp.where(below, middle, low), xp.where(below, high, middle)
    at_low, at_high = _radial(low, lens), _radial(high, lens)
    share = (target - at_low) / xp.where(at_high > at_low, at_high - at_low, 1.0)
    ideal = low + (high - low) * xp.clip(share, 0.0, 1.0)
    off_axis = target > 1e-9
    table = xp.where(off_axis, ideal / xp.where(off_axis, target, 1.0), 1.0)
    return xp.where(folds, 1.0, 0.0) + 0 * limit, xp.where(folds, -1.0, 1.0) / edge_distorted, table


def _radial(radius: Array, lens: Lens) -> Array:
    """Return the distorted radius for the undistorted radius (angle for fisheye), radial terms only."""
    r2 = radius * radius
    value = radius * polynomial(r2, lens.numerator)
    return value / polynomial(r2, lens.denominator) if lens.denominator else value


def _norm(components: tuple[Array, ...], xp: Any) -> Array:
    return xp.sqrt(components[0] ** 2 + components[1] ** 2)
