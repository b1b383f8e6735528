"""Lens models on normalized coordinates: Brown-Conrady (OpenCV's 0 to 14 coefficients) and fisheye (Kannala-Brandt).

Everything works on components x and y that broadcast against coefficients of shape (..., V, 1). With r2 = x^2 + y^2,
Brown-Conrady without its tilt is f = S (x, y) + r2 q, where S = R(r2) + 2 (p1 y + p2 x) and q = (p2, p1) plus the thin
prism's (s1 + s2 r2, s3 + s4 r2); fisheye is S (x, y) with S = theta_d / r. Both Jacobians follow from dS/d(r2).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from array_api_compat import array_namespace

from mvgeom._arrays import stop_gradient, wide_dtype
from mvgeom.cameras import Array

MAX_RADIUS = 1e4
"""Largest normalized radius taken as seen, 89.994 degrees off the axis: keeps powers of it finite in float32."""

_NEWTON_STEPS = {"float32": 5, "float64": 6}
_TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
_SMALLEST_DETERMINANT = {"float32": 1e-5, "float64": 1e-10}


class Lens(NamedTuple):
    """Coefficients split by meaning, each (..., V, 1); parts the static number of coefficients excludes are empty."""

    fisheye: bool
    numerator: tuple[Array, ...] = ()
    denominator: tuple[Array, ...] = ()
    tangential: tuple[Array, ...] = ()
    prism: tuple[Array, ...] = ()
    tilt: tuple[Array, ...] = ()


class LensRange(NamedTuple):
    """Where lenses are one-to-one, and where Newton's method starts; every entry is (..., V, 1) without gradients,
    in the coefficients' dtype.

    Attributes:
        folds: whether the model turns back at the radius (else it goes on growing).
        radius: normalized radius below which the model is monotone, at most `MAX_RADIUS`.
        distorted: no point within `radius` is mapped farther out than this.
        reference: radius (angle for fisheye) the first guess is scaled by.
        reference_distorted: what the reference is mapped to.
        slope, bend: coefficients of the first guess, see `first_guess`.
    """

    folds: Array
    radius: Array
    distorted: Array
    reference: Array
    reference_distorted: Array
    slope: Array
    bend: Array


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


def distort_components(x: Array, y: Array, lens: Lens, xp: Any) -> tuple[Array, Array]:
    """Ideal to distorted normalized coordinates, without the tilt of the sensor."""
    (xd, yd), _ = _model(x, y, lens, xp, jacobian=False)
    return xd, yd


def distort_with_jacobian(x: Array, y: Array, lens: Lens, xp: Any) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """`distort_components` and its Jacobian (dxd/dx, dxd/dy, dyd/dx, dyd/dy)."""
    return _model(x, y, lens, xp, jacobian=True)


def _model(x: Array, y: Array, lens: Lens, xp: Any, *, jacobian: bool) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    if not lens.fisheye and not lens.numerator:
        one = xp.ones_like(x)
        return (x, y), (one, 0 * one, 0 * one, one)
    r2 = x * x + y * y
    scale, growth = (_fisheye_scale if lens.fisheye else _radial_scale)(r2, lens, xp, jacobian)
    if not lens.tangential:
        xd, yd = scale * x, scale * y
        if not jacobian:
            return (xd, yd), ()
        gx, gy = growth * x, growth * y
        return (xd, yd), (scale + gx * x, gx * y, gx * y, scale + gy * y)
    p1, p2 = lens.tangential
    scale = scale + 2 * (p1 * y + p2 * x)
    qx, qy = p2, p1
    if lens.prism:
        s1, s2, s3, s4 = lens.prism
        qx, qy = qx + s1 + s2 * r2, qy + s3 + s4 * r2
    xd, yd = scale * x + qx * r2, scale * y + qy * r2
    if not jacobian:
        return (xd, yd), ()
    if lens.prism:
        qx, qy = qx + s2 * r2, qy + s4 * r2
    gx, gy = growth * x + 2 * p2, growth * y + 2 * p1
    twice_x, twice_y = 2 * x, 2 * y
    return (xd, yd), (
        scale + x * gx + qx * twice_x,
        x * gy + qx * twice_y,
        y * gx + qy * twice_x,
        scale + y * gy + qy * twice_y,
    )


def _polynomial(t: Array, coefficients: tuple[Array, ...]) -> Array:
    """1 + c1 t + c2 t^2 + ..."""
    value = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        value = coefficient + t * value
    return 1 + t * value


def _polynomial_derivative(t: Array, coefficients: tuple[Array, ...]) -> Array:
    """c1 + 2 c2 t + 3 c3 t^2 + ..."""
    value = len(coefficients) * coefficients[-1]
    for order in range(len(coefficients) - 1, 0, -1):
        value = order * coefficients[order - 1] + t * value
    return value


def _radial_scale(r2: Array, lens: Lens, xp: Any, derivative: bool) -> tuple[Array, Array]:
    """Brown-Conrady's R(r2) and 2 dR/d(r2)."""
    value = _polynomial(r2, lens.numerator)
    slope = 2 * _polynomial_derivative(r2, lens.numerator) if derivative else None
    if lens.denominator:
        inverse = 1 / _polynomial(r2, lens.denominator)
        value = value * inverse
        if derivative:
            slope = (slope - value * (2 * _polynomial_derivative(r2, lens.denominator))) * inverse
    return value, slope


def _fisheye_scale(r2: Array, lens: Lens, xp: Any, derivative: bool) -> tuple[Array, Array]:
    """theta_d / r and 2 d(theta_d / r)/d(r2); both by their series at the axis, where r has no derivative."""
    k1 = lens.numerator[0] if lens.numerator else 0.0
    coefficients = lens.numerator or (xp.zeros_like(r2),)
    near = r2 < 1e-8
    safe = xp.where(near, 1.0, r2)
    r = xp.sqrt(safe)
    theta = xp.atan(r)
    theta2 = theta * theta
    polynomial = _polynomial(theta2, coefficients)
    value = theta * polynomial / r
    scale = xp.where(near, 1 + (k1 - 1 / 3) * r2, value)
    if not derivative:
        return scale, None
    theta_slope = polynomial + 2 * theta2 * _polynomial_derivative(theta2, coefficients)
    growth = (theta_slope / (1 + safe) - value) / safe
    return scale, xp.where(near, 2 * (k1 - 1 / 3) + 0 * r2, growth)


def tilt_matrix(lens: Lens, xp: Any) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Rows of OpenCV's homography of a tilted sensor (tau_x, tau_y) and of its inverse, nine entries each."""
    tau_x, tau_y = lens.tilt
    sx, cx, sy, cy = xp.sin(tau_x), xp.cos(tau_x), xp.sin(tau_y), xp.cos(tau_y)
    # R = R_y R_x as in OpenCV's computeTiltProjectionMatrix; the sensor plane is projected back along the axis.
    r = (cy, sy * sx, -sy * cx, 0 * cx, cx, sx, sy, -cy * sx, cy * cx)
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = r
    forward = (
        r22 * r00 - r02 * r20,
        r22 * r01 - r02 * r21,
        r22 * r02 - r02 * r22,
        r22 * r10 - r12 * r20,
        r22 * r11 - r12 * r21,
        r22 * r12 - r12 * r22,
        r20,
        r21,
        r22,
    )
    # Inverse: R' times the inverse of [[r22, 0, -r02], [0, r22, -r12], [0, 0, 1]].
    a = r02 / r22
    b = r12 / r22
    backward = (
        r00 / r22, r10 / r22, r00 * a + r10 * b + r20,
        r01 / r22, r11 / r22, r01 * a + r11 * b + r21,
        r02 / r22, r12 / r22, r02 * a + r12 * b + r22,
    )  # fmt: skip
    return forward, backward


def apply_homography(matrix: tuple[Array, ...], x: Array, y: Array) -> tuple[Array, Array]:
    """Map components through 3x3 matrices given by their nine entries."""
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = matrix
    inverse = 1 / (m20 * x + m21 * y + m22)
    return (m00 * x + m01 * y + m02) * inverse, (m10 * x + m11 * y + m12) * inverse


def invert_components(xd: Array, yd: Array, lens: Lens, limits: LensRange, xp: Any) -> tuple[Array, Array, Array]:
    """Distorted to ideal normalized coordinates (tilt already undone) by Newton's method, residual checked.

    The iterations run outside autograd; one more step at the solution carries the exact implicit gradient, also with
    respect to the coefficients.

    Args:
        xd: finite, any shape that broadcasts with the coefficients.
        yd: like xd.
        lens: coefficients.
        limits: of the same cameras.
        xp: the array library.

    Returns:
        x, y and a boolean array, false where the model has no inverse; x and y are 0 there and pass no gradient.
    """
    dtype = str(xd.dtype).rpartition(".")[2]
    if not lens.fisheye and not lens.numerator:
        valid = xd * xd + yd * yd < limits.radius * limits.radius
        return xp.where(valid, xd, 0.0), xp.where(valid, yd, 0.0), valid
    fixed = Lens(lens.fisheye, *(tuple(stop_gradient(c) for c in part) for part in lens[1:]))
    x_target, y_target = stop_gradient(xd), stop_gradient(yd)
    radius = xp.sqrt(x_target * x_target + y_target * y_target)
    possible = radius < limits.distorted
    x_target, y_target = xp.where(possible, x_target, 0.0), xp.where(possible, y_target, 0.0)
    radius = xp.where(possible, radius, 0.0)
    guess = first_guess(radius, limits, xp)
    if lens.fisheye:
        guess = _fisheye_radius(radius, guess, fixed, _NEWTON_STEPS[dtype], xp)
    scale = guess / xp.where(radius > 1e-12, radius, 1.0)
    x, y = x_target * scale, y_target * scale
    for _ in range(1 if lens.fisheye else _NEWTON_STEPS[dtype]):
        (fx, fy), jacobian = distort_with_jacobian(x, y, fixed, xp)
        dx, dy = _newton_step(fx - x_target, fy - y_target, jacobian, _SMALLEST_DETERMINANT[dtype], xp)
        x, y = x - dx, y - dy

    (fx, fy), jacobian = distort_with_jacobian(x, y, fixed, xp)
    tolerance = _TOLERANCE[dtype] * (1 + radius)
    residual = xp.abs(fx - x_target) + xp.abs(fy - y_target)
    inside = x * x + y * y < limits.radius * limits.radius
    valid = possible & (residual < tolerance) & inside
    x, y = xp.where(valid, x, 0.0), xp.where(valid, y, 0.0)
    jacobian = tuple(xp.where(valid, entry, unit) for entry, unit in zip(jacobian, (1.0, 0.0, 0.0, 1.0), strict=True))
    fx, fy = distort_components(x, y, lens, xp)
    ex, ey = xp.where(valid, fx - xd, 0.0), xp.where(valid, fy - yd, 0.0)
    dx, dy = _newton_step(ex, ey, jacobian, _SMALLEST_DETERMINANT[dtype], xp)
    return x - dx, y - dy, valid


def _newton_step(ex: Array, ey: Array, jacobian: tuple[Array, ...], smallest: float, xp: Any) -> tuple[Array, Array]:
    a, b, c, d = jacobian
    determinant = a * d - b * c
    inverse = 1 / xp.where(determinant > smallest, determinant, smallest)
    return (d * ex - b * ey) * inverse, (a * ey - c * ex) * inverse


def _fisheye_radius(distorted: Array, theta: Array, lens: Lens, steps: int, xp: Any) -> Array:
    """tan(theta) for theta_d = `distorted`, by Newton's method on the angle."""
    coefficients = lens.numerator or (xp.zeros_like(theta),)
    for _ in range(steps):
        theta2 = theta * theta
        value = _polynomial(theta2, coefficients)
        slope = value + 2 * theta2 * _polynomial_derivative(theta2, coefficients)
        theta = theta - (theta * value - distorted) / xp.where(slope > 1e-9, slope, 1e-9)
    return xp.tan(xp.clip(theta, 0.0, math.atan(MAX_RADIUS)))


def first_guess(distorted: Array, limits: LensRange, xp: Any) -> Array:
    """Ideal radius (angle for fisheye) from a distorted radius, to a few per cent, so that few Newton steps are left.

    A model that folds back behaves like a square root there: with s the radius relative to the fold's image, the guess
    is 1 - sqrt(1 - s) (1 - bend s), whose error shrinks with the distance to the fold, which keeps Newton's convergence
    quadratic up to it. Others get the rational function s (slope + bend s) / (1 + (slope + bend - 1) s), which has the
    right value and derivative at the axis and at the reference.
    """
    s = distorted / limits.reference_distorted
    folding = xp.clip(s, 0.0, 1 - 4 * float(xp.finfo(s.dtype).eps))
    folding = 1 - xp.sqrt(1 - folding) * (1 - limits.bend * folding)
    denominator = 1 + (limits.slope + limits.bend - 1) * s
    growing = s * (limits.slope + limits.bend * s) / xp.where(denominator > 0.05, denominator, 0.05)
    relative = xp.where(limits.folds, xp.clip(folding, 0.0, 1.0), growing)
    return relative * limits.reference


def lens_range(distortion: Array, *, fisheye: bool) -> LensRange:
    """Where the lenses (..., V, n) are invertible, found in float64 by subdivision of the angle off the axis.

    Brown-Conrady: the largest disc on which the symmetric part of the Jacobian stays positive definite for every
    direction. On a convex set that makes the map one-to-one, tangential and prism terms included; with radial terms
    only it is the radius where r R(r^2) stops growing.
    """
    xp = array_namespace(distortion)
    wide = wide_dtype(xp, distortion)
    lens = lens_terms(xp.astype(stop_gradient(distortion), wide), fisheye=fisheye)
    zero = xp.zeros((*distortion.shape[:-1], 1), dtype=wide, device=distortion.device)
    fractions = xp.arange(1, 65, dtype=wide, device=distortion.device) / 64
    quarter = math.pi / 2
    first, step = _first_failure(zero, quarter, fractions, lens, xp), quarter / 64
    for _ in range(3):
        low = xp.where(xp.isfinite(first), first - step, 0.0)
        refined = _first_failure(low, step, fractions, lens, xp)
        # The last sample is the failure known before, up to rounding.
        first = xp.where(xp.isfinite(first), xp.where(refined < first, refined, first), first)
        step = step / 64
    limit = xp.where(first < math.atan(MAX_RADIUS), xp.clip(first - step, 0.0, quarter), math.atan(MAX_RADIUS))
    folds = first < math.atan(MAX_RADIUS)
    reference_angle = xp.where(folds, limit, xp.where(limit < math.pi / 3, limit, math.pi / 3))
    radius = xp.tan(limit)
    reference = reference_angle if fisheye else xp.tan(reference_angle)
    scale, elasticity = _scale_and_elasticity(reference, lens, xp)
    # From the rational guess's value and log-log slope at the reference; without a denominator away from 0, bend 0.
    growing = xp.abs(elasticity - 1) > 1e-3
    bend = xp.where(growing, (scale - elasticity) / xp.where(growing, elasticity - 1, 1.0), 0.0)
    bend = xp.where(scale + bend > 0.1, bend, 0.0)
    edge, _ = _scale_and_elasticity(limit if fisheye else radius, lens, xp)
    distorted = (limit if fisheye else radius) * edge
    if lens.tangential:
        distorted = distorted + 3 * radius**2 * _norm(lens.tangential, xp)
    if lens.prism:
        s1, s2, s3, s4 = lens.prism
        distorted = distorted + radius**2 * (_norm((s1, s3), xp) + radius**2 * _norm((s2, s4), xp))
    bend = xp.where(folds, scale - 0.5, bend)
    numbers = (radius, distorted, reference, reference * scale, scale, bend)
    return LensRange(folds, *(xp.astype(number, distortion.dtype) for number in numbers))


def _first_failure(low: Array, width: float, fractions: Array, lens: Lens, xp: Any) -> Array:
    """First of the sampled angles in (low, low + width] where the lens is not monotone; infinity if there is none."""
    angles = low + width * fractions
    inside = angles < math.pi / 2 - 1e-5
    radius = xp.tan(xp.where(inside, angles, 0.0))
    margin = _monotone_margin(xp.where(inside, angles, 0.0) if lens.fisheye else radius, lens, xp)
    failed = inside & ~(margin > 0)
    return xp.min(xp.where(failed, angles, xp.inf), axis=-1, keepdims=True)


def _monotone_margin(radius: Array, lens: Lens, xp: Any) -> Array:
    """A number that is positive as long as the model is monotone in every direction at this radius (or angle)."""
    if not lens.numerator:
        return 1 + 0 * radius
    r2 = radius * radius
    denominator = _polynomial(r2, lens.denominator) if lens.denominator else 1.0
    # On the wrong side of a pole only the sign matters, and values near it would overflow.
    safe = xp.where(denominator > 1e-9, denominator, 1.0) if lens.denominator else 1.0
    value = _polynomial(r2, lens.numerator) / safe
    slope = 2 * _polynomial_derivative(r2, lens.numerator)
    if lens.denominator:
        slope = slope - value * 2 * _polynomial_derivative(r2, lens.denominator)
    radial, across = value + r2 * slope / safe, value
    if lens.tangential:
        tangential = radius * _norm(lens.tangential, xp)
        radial, across = radial - 6 * tangential, across - 2 * tangential
    if lens.prism:
        s1, s2, s3, s4 = lens.prism
        prism = 2 * radius * (_norm((s1, s3), xp) + 2 * r2 * _norm((s2, s4), xp))
        radial, across = radial - prism, across - prism
    margin = xp.where(radial < across, radial, across)
    return xp.where(denominator > 1e-9, margin, -1.0) if lens.denominator else margin


def _scale_and_elasticity(radius: Array, lens: Lens, xp: Any) -> tuple[Array, Array]:
    """Radial magnification R at a radius (or angle) and d log(r R) / d log r."""
    if not lens.numerator:
        return 1 + 0 * radius, 1 + 0 * radius
    r2 = radius * radius
    value, slope = _radial_scale(r2, Lens(False, lens.numerator, lens.denominator), xp, True)
    return value, 1 + r2 * slope / value


def _norm(components: tuple[Array, ...], xp: Any) -> Array:
    return xp.sqrt(components[0] ** 2 + components[1] ** 2)
