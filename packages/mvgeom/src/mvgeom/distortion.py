"""Lens models on normalized coordinates: Brown-Conrady (OpenCV's 0 to 14 coefficients) and fisheye (Kannala-Brandt).

All functions work on components x and y that broadcast with coefficients of shape (..., V, 1). With r2 = x^2 + y^2,
Brown-Conrady without its tilt is S (x, y) + r2 q, where S = R(r2) + 2 (p1 y + p2 x) and q = (p2, p1) plus the thin
prism's (s1 + s2 r2, s3 + s4 r2). Fisheye is S (x, y) with S = theta_d / r. Both Jacobians follow from dS/d(r2).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from mvgeom._arrays import Array, clip, stop_gradient
from mvgeom.lens_range import MAX_RADIUS, Lens, LensRange, first_guess, polynomial, polynomial_slope

__all__ = [
    "Jacobian",
    "apply_homography",
    "distort_components",
    "distort_with_jacobian",
    "homography_jacobian",
    "tilt_matrices",
    "undistort_components",
]

_NEWTON_STEPS = {"float32": 10, "float64": 16}
"""Most steps. In float32 four are enough but for lenses that almost fold inside their range, which took up to ten."""
_TOLERANCE = {"float32": 3e-4, "float64": 1.5e-8}
"""Limit for the last step's length and the residual before it, about the root of the precision: the final error is
about its square, because convergence is quadratic."""
_SETTLED = 0.01
"""Share of that limit at which a point in NumPy arrays takes no further step."""
_SMALLEST_SLOPE = 1e-10
_LONGEST_STEP = 0.2


class Jacobian(NamedTuple):
    """Derivatives of two components with respect to two components."""

    xx: Array
    xy: Array
    yx: Array
    yy: Array


def distort_components(x: Array, y: Array, lens: Lens, xp: Any) -> tuple[Array, Array]:
    """Convert undistorted to distorted normalized coordinates, without the tilt of the sensor."""
    if not lens.numerator and not lens.fisheye:
        return x, y
    r2 = x * x + y * y
    scale = _scale(r2, lens, xp)
    if not lens.tangential:
        return scale * x, scale * y
    p1, p2 = lens.tangential
    scale = scale + 2 * (p1 * y + p2 * x)
    qx, qy = p2, p1
    if lens.prism:
        s1, s2, s3, s4 = lens.prism
        qx, qy = (p2 + s1) + s2 * r2, (p1 + s3) + s4 * r2
    return scale * x + qx * r2, scale * y + qy * r2


def distort_with_jacobian(x: Array, y: Array, lens: Lens, xp: Any) -> tuple[tuple[Array, Array], Jacobian]:
    """Return `distort_components` and its Jacobian."""
    if not lens.numerator and not lens.fisheye:
        one = xp.ones_like(x)
        return (x, y), Jacobian(one, 0 * one, 0 * one, one)
    r2 = x * x + y * y
    scale, growth = _scale_and_growth(r2, lens, xp)
    if not lens.tangential:
        gx, gy = growth * x, growth * y
        cross = gx * y
        return (scale * x, scale * y), Jacobian(scale + gx * x, cross, cross, scale + gy * y)
    p1, p2 = lens.tangential
    twice_p1, twice_p2 = 2 * p1, 2 * p2
    scale = scale + (twice_p1 * y + twice_p2 * x)
    # Gradient of the scale, and twice the derivative of r2 q with respect to r2.
    gx, gy = growth * x + twice_p2, growth * y + twice_p1
    if not lens.prism:
        cross = x * gy + twice_p2 * y
        jacobian = Jacobian(scale + x * (gx + twice_p2), cross, cross, scale + y * (gy + twice_p1))
        return (scale * x + p2 * r2, scale * y + p1 * r2), jacobian
    s1, s2, s3, s4 = lens.prism
    qx, qy = (p2 + s1) + s2 * r2, (p1 + s3) + s4 * r2
    hx, hy = 2 * (qx + s2 * r2), 2 * (qy + s4 * r2)
    return (scale * x + qx * r2, scale * y + qy * r2), Jacobian(
        scale + x * (gx + hx), x * gy + hx * y, y * gx + hy * x, scale + y * (gy + hy)
    )


def _scale(r2: Array, lens: Lens, xp: Any) -> Array:
    """Return R(r2) for Brown-Conrady, or theta_d / r for fisheye."""
    if lens.fisheye:
        return _fisheye_scale(r2, lens, xp)[0]
    value = polynomial(r2, lens.numerator)
    return value / polynomial(r2, lens.denominator) if lens.denominator else value


def _scale_and_growth(r2: Array, lens: Lens, xp: Any) -> tuple[Array, Array]:
    """Return the scale and twice its derivative with respect to r2."""
    if lens.fisheye:
        scale, angle_slope, safe, near = _fisheye_scale(r2, lens, xp)
        growth = (angle_slope / (1 + safe) - scale) / safe
        return scale, xp.where(near, 2 * (lens.first - 1 / 3) + 0 * r2, growth)
    value, growth = polynomial(r2, lens.numerator), polynomial_slope(r2, lens.numerator, factor=2)
    if lens.denominator:
        inverse = 1 / polynomial(r2, lens.denominator)
        value = value * inverse
        growth = (growth - value * polynomial_slope(r2, lens.denominator, factor=2)) * inverse
    return value, growth


def _fisheye_scale(r2: Array, lens: Lens, xp: Any) -> tuple[Array, Array, Array, Array]:
    """Return theta_d / r, d theta_d / d theta, r2 without zeros, and where r2 is near 0.

    Near 0 the series 1 + (k1 - 1/3) r2 is used, because the root of r2 has no derivative on the axis.
    """
    near = r2 < 1e-8
    safe = xp.where(near, 1.0, r2)
    r = xp.sqrt(safe)
    theta = xp.atan(r)
    theta2 = theta * theta
    value = polynomial(theta2, lens.numerator)
    angle_slope = value + theta2 * polynomial_slope(theta2, lens.numerator, factor=2)
    return xp.where(near, 1 + (lens.first - 1 / 3) * r2, theta * value / r), angle_slope, safe, near


def tilt_matrices(lens: Lens, xp: Any) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Return OpenCV's homography of a tilted sensor (tau_x, tau_y) and its inverse, nine entries (..., V, 1) each."""
    tau_x, tau_y = lens.tilt
    sx, cx, sy, cy = xp.sin(tau_x), xp.cos(tau_x), xp.sin(tau_y), xp.cos(tau_y)
    # R = R_y R_x as in OpenCV's computeTiltProjectionMatrix; forward is [[r22, 0, -r02], [0, r22, -r12], [0, 0, 1]] R.
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = cy, sy * sx, -sy * cx, 0 * cx, cx, sx, sy, -cy * sx, cy * cx
    forward = (
        r22 * r00 - r02 * r20, r22 * r01 - r02 * r21, r22 * r02 - r02 * r22,
        r22 * r10 - r12 * r20, r22 * r11 - r12 * r21, r22 * r12 - r12 * r22,
        r20, r21, r22,
    )  # fmt: skip
    a, b = r02 / r22, r12 / r22
    backward = (
        r00 / r22, r10 / r22, r00 * a + r10 * b + r20,
        r01 / r22, r11 / r22, r01 * a + r11 * b + r21,
        r02 / r22, r12 / r22, r02 * a + r12 * b + r22,
    )  # fmt: skip
    return forward, backward


def apply_homography(matrix: tuple[Array, ...], x: Array, y: Array) -> tuple[Array, Array]:
    """Map components with a 3x3 matrix given by its nine entries."""
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = matrix
    inverse = 1 / (m20 * x + m21 * y + m22)
    return (m00 * x + m01 * y + m02) * inverse, (m10 * x + m11 * y + m12) * inverse


def homography_jacobian(matrix: tuple[Array, ...], x: Array, y: Array, inner: Jacobian) -> Jacobian:
    """Return the Jacobian of `apply_homography` at (x, y) after a map with the Jacobian `inner`."""
    m00, m01, _, m10, m11, _, m20, m21, m22 = matrix
    u, v = apply_homography(matrix, x, y)
    inverse = 1 / (m20 * x + m21 * y + m22)
    ux, uy = (m00 - u * m20) * inverse, (m01 - u * m21) * inverse
    vx, vy = (m10 - v * m20) * inverse, (m11 - v * m21) * inverse
    return Jacobian(
        ux * inner.xx + uy * inner.yx,
        ux * inner.xy + uy * inner.yy,
        vx * inner.xx + vy * inner.yx,
        vx * inner.xy + vy * inner.yy,
    )


def undistort_components(xd: Array, yd: Array, lens: Lens, limits: LensRange, xp: Any) -> tuple[Array, Array, Array]:
    """Convert distorted to undistorted normalized coordinates (tilt already removed) by Newton's method.

    The residual of the result is checked. The iterations run outside autograd. The last step, in both coordinates at
    the solution, gives the exact implicit first derivative, also with respect to the coefficients. Its Jacobian is a
    constant, so second derivatives are not meaningful.

    Args:
        xd: Distorted x, finite, of any shape that broadcasts with the coefficients.
        yd: Distorted y, like `xd`.
        lens: Distortion coefficients.
        limits: Lens range of the same cameras.
        xp: Array library (array namespace) of the inputs.

    Returns:
        Undistorted x and y, and booleans, false where the model has no inverse; x and y are 0 there and pass no
        gradient.
    """
    if not lens.numerator and not lens.fisheye:
        valid = xd * xd + yd * yd < limits.radius * limits.radius
        return xp.where(valid, xd, 0.0), xp.where(valid, yd, 0.0), valid
    dtype = str(xd.dtype).rpartition(".")[2]
    fixed = lens.without_gradients()
    x_target, y_target = stop_gradient(xd), stop_gradient(yd)
    radius = xp.sqrt(x_target * x_target + y_target * y_target)
    inverse = 1 / clip(xp, radius, 1e-12, None)
    solve = _solve_fisheye if lens.fisheye else _solve_brown_conrady
    x, y = solve(radius, x_target * inverse, y_target * inverse, fixed, limits, _NEWTON_STEPS[dtype], xp)

    (fx, fy), jacobian = distort_with_jacobian(x, y, fixed, xp)
    ex, ey = fx - x_target, fy - y_target
    dx, dy = _newton_step(ex, ey, jacobian, xp)
    r2 = x * x + y * y
    valid = (xp.abs(dx) + xp.abs(dy) + xp.abs(ex) + xp.abs(ey) < _TOLERANCE[dtype] * (1 + r2)) & (
        r2 < limits.radius * limits.radius
    )
    if not any(getattr(array, "requires_grad", False) for array in (xd, yd, *lens.numerator)):
        return xp.where(valid, x - dx, 0.0), xp.where(valid, y - dy, 0.0), valid
    x, y = xp.where(valid, x, 0.0), xp.where(valid, y, 0.0)
    jacobian = Jacobian(
        *(xp.where(valid, entry, unit) for entry, unit in zip(jacobian, (1.0, 0.0, 0.0, 1.0), strict=True))
    )
    fx, fy = distort_components(x, y, lens, xp)
    dx, dy = _newton_step(xp.where(valid, fx - xd, 0.0), xp.where(valid, fy - yd, 0.0), jacobian, xp)
    return x - dx, y - dy, valid


def _newton_step(ex: Array, ey: Array, jacobian: Jacobian, xp: Any) -> tuple[Array, Array]:
    determinant = jacobian.xx * jacobian.yy - jacobian.xy * jacobian.yx
    inverse = 1 / clip(xp, determinant, _SMALLEST_SLOPE, None)
    return (jacobian.yy * ex - jacobian.xy * ey) * inverse, (jacobian.xx * ey - jacobian.yx * ex) * inverse


def _solve_brown_conrady(
    distorted: Array, ux: Array, uy: Array, lens: Lens, limits: LensRange, steps: int, xp: Any
) -> tuple[Array, Array]:
    """Return the undistorted point for the distorted one at `distorted` along the unit vector (ux, uy), approximately.

    In the axes along and across that vector the point is (r, t); t is not 0 only because of decentering. With q = (a,
    b) in these axes the model is S r + a r2 = distorted, S t + b r2 = 0, S = R(r2) + 2 (a r + b t). Newton's method
    solves the first equation for r; t comes from the second equation with the previous r. This costs half as much as
    Newton's method in the plane and converges as fast in practice, since t is small.
    """
    p1, p2 = lens.tangential
    a, b = p2 * ux + p1 * uy, p1 * ux - p2 * uy
    twice_a, twice_b, along, across = 2 * a, 2 * b, a, b
    if lens.prism:
        s1, s2, s3, s4 = lens.prism
        a, b = a + s1 * ux + s3 * uy, b + s3 * ux - s1 * uy
        a_slope, b_slope = s2 * ux + s4 * uy, s4 * ux - s2 * uy
        along, across = a, b
    gradient = twice_a + 2 * a
    # Only pixels without an inverse are clipped, so that their powers do not overflow.
    r = xp.minimum(distorted * first_guess(distorted, limits, xp), limits.radius)
    t = xp.zeros_like(r)
    moving, settled = True, _SETTLED * _TOLERANCE[str(r.dtype).rpartition(".")[2]]
    for _ in range(steps):
        r2 = r * r + t * t
        scale, growth = _scale_and_growth(r2, lens, xp)
        scale = scale + (twice_a * r + twice_b * t)
        if lens.prism:
            change_a, change_b = a_slope * r2, b_slope * r2
            along, across, gradient = a + change_a, b + change_b, twice_a + 2 * a + 4 * change_a
        slope = scale + r * (growth * r + gradient)
        # Near the edge of the range the slope is almost 0: a limited step stays where the method converges.
        step = (scale * r + along * r2 - distorted) / clip(xp, slope, _SMALLEST_SLOPE, None)
        step = clip(xp, step, -_LONGEST_STEP, _LONGEST_STEP)
        new_t = clip(xp, -across * r2 / clip(xp, scale, 0.1, None), -1.0, 1.0)
        if not isinstance(r, np.ndarray):
            # To ask whether all points have settled would wait for the device.
            r, t = r - step, new_t
            continue
        # Each point by itself: its result must not depend on the others.
        change = np.abs(step) + np.abs(new_t - t)
        r, t = np.where(moving, r - step, r), np.where(moving, new_t, t)
        moving = moving & (change > settled * (1 + r))
        if not moving.any():
            break
    return r * ux - t * uy, r * uy + t * ux


def _solve_fisheye(
    distorted: Array, ux: Array, uy: Array, lens: Lens, limits: LensRange, steps: int, xp: Any
) -> tuple[Array, Array]:
    """Return the undistorted point for the one at theta_d = `distorted` along (ux, uy), by Newton's method."""
    theta = clip(xp, distorted * first_guess(distorted, limits, xp), 0.0, math.pi / 2)
    for _ in range(steps):
        theta2 = theta * theta
        value = polynomial(theta2, lens.numerator)
        slope = value + theta2 * polynomial_slope(theta2, lens.numerator, factor=2)
        theta = theta - (theta * value - distorted) / clip(xp, slope, _SMALLEST_SLOPE, None)
        theta = clip(xp, theta, 0.0, math.pi / 2)
    r = xp.tan(clip(xp, theta, 0.0, math.atan(MAX_RADIUS)))
    return r * ux, r * uy
