"""Offsets and drifts of all cameras' clocks, adjusted together to the epipolar residuals of all pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import combinations
from typing import NamedTuple

import numpy as np

from mvgeom.calibration.boards import Floats, Ints
from mvgeom.calibration.epipolar_residuals import (
    PairGeometry,
    lines_of_first,
    lines_of_second,
    pair_geometry,
    residual_changes,
    residuals,
)
from mvgeom.calibration.shift_curves import MIN_POINTS
from mvgeom.calibration.smooth_tracks import resample
from mvgeom.cameras import CameraGroup

__all__ = ["ClockFit", "fit_clocks"]

_MAX_POINTS = 12_000
_LONGEST_STEP = 1.0
_CONVERGED = 3e-4
_SCALE = 2.0
"""Residual at which the weight is a half, in standard deviations of the residuals."""

_STEP = 0.1
"""Frames between the clocks at which gradients are compared."""

_LEAST = 1e-3
"""Least share of the information that noisy slopes claim."""

_STRETCHES = 20
_STRETCH_LAGS = 2
"""Least length of a stretch in lags."""


class ClockFit(NamedTuple):
    """Clocks relative to that of the first camera, in frames.

    Attributes:
        offset: (V,) frames that each camera is late at frame 0.
        drift: (V,) frames that it gains per frame.
        covariance: (V, 2, 2) of offset and drift.
        distance: (V,) median epipolar distance of each camera from the others in px; NaN if none is known.
        span: Share of the recording that holds all but the first and the last tenth of what tells the clocks.
    """

    offset: Floats
    drift: Floats
    covariance: Floats
    distance: Floats
    span: float


def fit_clocks(
    cams: CameraGroup,
    tracks: Floats,
    start: Floats,
    end: Floats,
    *,
    lag: int,
    drifts: bool,
    width: float = 1.0,
    max_steps: int = 40,
    only_clocks: bool = False,
) -> ClockFit:
    """Adjust the clocks of all cameras together: iteratively reweighted least squares with Cauchy's weights.

    Residuals are changes of the signed epipolar residuals of all pairs over a few frames, so that a wrong pose and
    lasting errors of a detector count little, and motion that is steady and straight determines nothing. Standard
    deviations come from the sums of gradients over stretches of the recording, so that they allow for errors that last.

    Args:
        cams: V cameras; the first is the reference.
        tracks: (N, V, K, 2) undistorted keypoints at depth 1, in frames that follow each other; NaN is missing.
        start: (V,) approximate frames that each camera is late at the first frame.
        end: (V,) the same at the last frame.
        lag: Frames over which the changes of the residuals are taken.
        drifts: True to estimate drifts; False to keep them as given by start and end.
        width: Standard deviation in frames of the kernel that smooths the tracks.
        max_steps: Steps at most; 0 keeps the clocks and computes distances and covariances.
        only_clocks: True to leave the covariance out, as NaN.
    """
    num_frames, num_views, num_keypoints = tracks.shape[:3]
    middle = (num_frames - 1) / 2
    half = max(middle, 1.0)
    clocks = np.stack([(start + end) / 2, (end - start) / 2], axis=1).astype(np.float64)
    rows = np.arange(min(lag, num_frames), num_frames)
    rows = rows[:: max(1, -(-num_frames * num_keypoints // _MAX_POINTS))]
    free = np.zeros((num_views, 2), dtype=bool)
    free[1:, 0], free[1:, 1] = True, drifts
    chosen = np.flatnonzero(free)
    geometries = {pair: pair_geometry(cams, *pair) for pair in combinations(range(num_views), 2)}
    sample = lru_cache(maxsize=2 * num_views)(partial(_sample, tracks, [rows, rows - lag], width))
    num_parts = int(np.clip(num_frames // (_STRETCH_LAGS * lag), 2, _STRETCHES))
    equate = partial(_equations, sample, part=rows * num_parts // num_frames)
    equations = equate(geometries, clocks)
    for _ in range(max_steps):
        normal = equations.normal[np.ix_(chosen, chosen)]
        if not len(chosen) or not np.trace(normal) > 0:
            break
        step = np.zeros(free.size)
        damped = normal + 1e-9 * np.trace(normal) * np.eye(len(chosen))
        step[chosen] = -np.linalg.solve(damped, equations.gradient.sum(axis=0)[chosen])
        longest = np.abs(step).max()
        clocks = clocks + (step * min(1, _LONGEST_STEP / max(longest, 1e-12))).reshape(clocks.shape)
        equations = equate(geometries, clocks)
        if longest < _CONVERGED:
            break
    # From the middle and half the change over the recording to frame 0 and the change per frame.
    change = np.array([[1, -middle / half], [0, 1 / half]])
    offset, drift = (clocks @ change.T).T
    covariance = np.full((num_views, 2, 2), np.nan)
    if not only_clocks:
        slopes = _slopes(equate, geometries, clocks, chosen)
        covariance = change @ _covariance(equations, slopes, chosen, num_views) @ change.T
    return ClockFit(
        offset=offset,
        drift=drift,
        covariance=covariance,
        distance=equations.distance,
        span=_span(equations.information[:, chosen]),
    )


class _Equations(NamedTuple):
    """Normal equations (2 V, 2 V), gradients of the stretches (B, 2 V), and median distances (V,) in px.

    The information (M, 2 V) is the part of each frame in the diagonal of the normal equations.
    """

    normal: Floats
    gradient: Floats
    information: Floats
    distance: Floats


class _Samples(NamedTuple):
    """Keypoints (M, K, 2) of a view at some times, their slopes, and the times (M, 1) from -1 to 1."""

    points: Floats
    slopes: Floats
    along: Floats


def _sample(
    tracks: Floats, times: Sequence[Ints], width: float, view: int, late: float, change: float
) -> list[_Samples]:
    """Smooth the tracks of one view at given times of the reference; late and change as in `_equations`."""
    middle = (len(tracks) - 1) / 2
    along = [(time - middle) / max(middle, 1.0) for time in times]
    return [
        _Samples(*resample(tracks[:, view], time + late + change * u, width=width), np.asarray(u[:, None]))
        for time, u in zip(times, along, strict=True)
    ]


def _equations(
    sample: Callable[[int, float, float], list[_Samples]],
    geometries: Mapping[tuple[int, int], PairGeometry],
    clocks: Floats,
    *,
    part: Ints,
) -> _Equations:
    """Return the equations of clocks (V, 2): frames late in the middle, and half their change over the recording.

    Args:
        sample: Tracks of a view at the later and the earlier frames that are compared.
        geometries: Pairs of views to compare.
        clocks: (V, 2) clocks.
        part: (M,) stretch of each frame.
    """
    num_views, num_parts = len(clocks), int(part[-1]) + 1
    views = sorted({view for pair in geometries for view in pair})
    sampled = {view: sample(view, *map(float, clocks[view])) for view in views}
    normal, gradient = np.zeros((2 * num_views, 2 * num_views)), np.zeros((num_parts, 2 * num_views))
    information = np.zeros((len(part), 2 * num_views))
    distances: list[list[Floats]] = [[] for _ in range(num_views)]
    for (one, other), geometry in geometries.items():
        found = []
        for first, second in zip(sampled[one], sampled[other], strict=True):
            lines = lines_of_first(geometry, first.points), lines_of_second(geometry, second.points)
            value, u = residuals(*lines), first.along
            by_one, by_other = residual_changes(*lines, first.slopes, second.slopes)
            found.append(np.stack([value, by_one, by_one * u, by_other, by_other * u], axis=-1))
        change = found[0] - found[1]
        both = np.isfinite(change).all(axis=-1)
        if both.sum() < MIN_POINTS:
            continue
        left, jacobian = change[both][:, 0], change[both][:, 1:]
        scale = max(1.4826 * float(np.median(np.abs(left))), 1e-9)
        # Pairs are comparable in standard deviations of their own residuals.
        weights = 1 / (1 + (left / (_SCALE * scale)) ** 2) / scale**2
        weighted = jacobian * weights[:, None]
        index = [2 * one, 2 * one + 1, 2 * other, 2 * other + 1]
        normal[np.ix_(index, index)] += weighted.T @ jacobian
        frame, _ = np.nonzero(both)
        for column, place in enumerate(index):
            gradient[:, place] += np.bincount(part[frame], weighted[:, column] * left, minlength=num_parts)
            information[:, place] += np.bincount(frame, weighted[:, column] * jacobian[:, column], minlength=len(part))
        for view in (one, other):
            distances[view].append(np.abs(found[0][both][:, 0]))
    medians = [float(np.median(np.concatenate(each))) if each else np.nan for each in distances]
    return _Equations(normal, gradient, information, np.array(medians))


def _slopes(
    equate: Callable[[Mapping[tuple[int, int], PairGeometry], Floats], _Equations],
    geometries: Mapping[tuple[int, int], PairGeometry],
    clocks: Floats,
    chosen: Ints,
) -> Floats:
    """Return the change (P, P) of the chosen gradients with the chosen clocks, by differences.

    The normal equations have the noise of the tracks' slopes in them, and claim far too much of slow motion. In the
    change of the gradient it cancels: what is left is the motion.
    """
    result = np.zeros((len(chosen), len(chosen)))
    for column, place in enumerate(chosen):
        view, entry = divmod(int(place), 2)
        touched = {pair: each for pair, each in geometries.items() if view in pair}
        step = np.zeros(clocks.shape)
        step[view, entry] = _STEP
        ends = [equate(touched, clocks + sign * step).gradient.sum(axis=0)[chosen] for sign in (-1, 1)]
        result[:, column] = (ends[1] - ends[0]) / (2 * _STEP)
    return (result + result.T) / 2


def _covariance(equations: _Equations, slopes: Floats, chosen: Ints, num_views: int) -> Floats:
    """Return the covariance (V, 2, 2) of each camera's clock, by the gradients of the stretches."""
    gradient = equations.gradient[:, chosen]
    used = int((np.abs(gradient).sum(axis=1) > 0).sum())
    inverse = _inverse(equations.normal[np.ix_(chosen, chosen)], slopes)
    # Stretches are few: the usual correction for the two numbers that a clock takes.
    correction = used / max(used - 2, 1)
    whole = np.zeros((2 * num_views, 2 * num_views))
    found = correction * inverse @ (gradient.T @ gradient) @ inverse
    # Fewer stretches than parameters tell nothing of some: never less than errors that do not last, of variance 1.
    grow = np.sqrt(np.maximum(np.diag(inverse) / np.maximum(np.diag(found), 1e-300), 1.0))
    grow[np.diag(found) <= 0] = 1.0
    plain = np.where(np.diag(found) <= 0, np.diag(inverse), 0.0)
    whole[np.ix_(chosen, chosen)] = found * grow[:, None] * grow + np.diag(plain)
    return np.stack([whole[place : place + 2, place : place + 2] for place in range(0, 2 * num_views, 2)])


def _inverse(normal: Floats, slopes: Floats) -> Floats:
    """Return the inverse (P, P) of the slopes; where the noise has more than they, of a thousandth of the normal."""
    if not len(normal):
        return normal
    scale = np.sqrt(np.maximum(np.diag(normal), 1e-300))
    values, vectors = np.linalg.eigh(slopes / np.outer(scale, scale))
    return np.asarray((vectors / np.maximum(values, _LEAST)) @ vectors.T / np.outer(scale, scale))


def _span(information: Floats) -> float:
    """Return the share of the frames that hold the middle eight tenths of the information (M, P); 1 without any."""
    total = information.sum(axis=0)
    share = np.cumsum((information[:, total > 0] / total[total > 0]).sum(axis=1))
    if not len(share) or share[-1] == 0:
        return 1.0
    first, last = np.searchsorted(share, np.array([0.1, 0.9]) * share[-1])
    return float((last - first) / len(share))
