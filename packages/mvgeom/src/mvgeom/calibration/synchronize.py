"""Offsets and drifts of cameras' clocks, from keypoints of one recording or from the corners of a board."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from mvgeom._arrays import check_number
from mvgeom.calibration.boards import Floats
from mvgeom.calibration.clock_findings import find_uncertain_clocks
from mvgeom.calibration.clock_fit import ClockFit, fit_clocks
from mvgeom.calibration.epipolar_residuals import pair_geometry
from mvgeom.calibration.findings import Finding, sort_findings
from mvgeom.calibration.input_checks import as_recording
from mvgeom.calibration.shift_curves import Curves, Offset, find_offset_line, mirrored, pool, shift_curves
from mvgeom.calibration.smooth_tracks import resample, without_spikes
from mvgeom.cameras import CameraGroup
from mvgeom.clocks import Clocks
from mvgeom.errors import InputError
from mvgeom.projection import undistort

__all__ = ["LONGEST_OFFSET", "Synchronization", "synchronize"]

LONGEST_OFFSET = 60
"""Frames tried in each direction by default."""

_LAGS = (3, 12)
"""Frames over which motion is compared; the first at which all cameras are determined."""

_MAX_DRIFT = 0.01
_WANDERING = 2.0
"""Frames by which the offset at the start of a recording may differ from that at its end, unless the clock drifts."""

_OTHER_LAGS = (2, 4)
"""Multiples of the lag at which the adjustment is repeated: errors of the calibration show as a difference."""

_EXACT = 0.02
"""Standard deviation in frames that is good enough: no longer lag and no wider kernel is tried."""

_SCALES = ((1, 1.0), (4, 1.0), (4, 2.0), (8, 2.0), (8, 4.0))
"""Multiples of the lag, and widths of the kernel in frames, of which the most precise ones are taken."""

_LEAST_LAGS = 16
"""Least length of a recording in lags; the first lag is tried in any."""

_KNOWN_DRIFT = 1 / 250
"""Drifts are estimated in recordings of 250 frames or more; usual clocks gain less than 0.1 frames in fewer."""

_SURE_DRIFT = 8.0
"""Standard deviations from which on a drift counts; those of slow motion are too small, and five made false drifts."""

_LIKELY_DRIFT = 3.0
"""Standard deviations of the adjustment's drift from which on a change of the offset by whole frames counts."""

_SMALLEST_DRIFT = 0.2
"""Frames over the recording that a drift must make in order to count."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Synchronization:
    """Clocks of the cameras of one recording.

    Attributes:
        names: V camera names.
        clocks: Clocks of all cameras; None if that of any camera cannot be determined.
        offset: (V,) frames that each camera shows late what the reference shows in frame 0; NaN if undetermined.
        offset_std: (V,) standard deviations of the offsets in frames, calibration errors included.
        drift: (V,) frames gained per frame; 0 where no drift is significant.
        drift_std: (V,) standard deviations of the drifts; those of the fit where the drift is 0.
        distance_before: (V,) median epipolar distance in px of each camera from the others as recorded, NaN if unknown.
        distance: (V,) the same at the clocks found.
        findings: Problems found.
    """

    names: tuple[str, ...]
    clocks: Clocks | None
    offset: Floats
    offset_std: Floats
    drift: Floats
    drift_std: Floats
    distance_before: Floats
    distance: Floats
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Return True if no finding is an error."""
        return all(each.severity != "error" for each in self.findings)


def synchronize(
    cams: CameraGroup,
    points: Floats,
    *,
    frame_rate: float,
    reference: str | None = None,
    longest: int = LONGEST_OFFSET,
) -> Synchronization:
    """Find offset and drift of each camera's clock, in parts of a frame, from the motion of keypoints.

    1. Spikes of the tracks are left out. Motions across the epipolar lines are compared for all pairs of cameras, over
       shifts by whole frames. A camera is added to those that are placed by its agreement with all of them
       (`find_offset_line` tests whether it tells the offset).
    2. All clocks are adjusted together to the epipolar residuals of all pairs, with keypoints smoothed over a frame.
       Where that is not precise, as of slow motion, longer lags and wider kernels are tried.
    3. The adjustment is repeated over two and four times the lag. What differs is due to errors of the calibration and
       of the detector, and is added to the standard deviations. A drift counts if it differs from 0 by eight standard
       deviations, in recordings of 250 frames or more.

    Args:
        cams: V cameras, NumPy, no batch dimensions, at least 2.
        points: (N, V, K, 2) keypoints of frames that follow each other, row n frame n of each camera, in full-image px;
            NaN is missing.
        frame_rate: Frames per second.
        reference: Camera whose frames are those of the recording; None takes the first.
        longest: Largest offset in frames to try, in both directions; at most a third of the frames.

    Returns:
        The clocks, with findings: `offset_undetermined` (an error) for each camera whose offset cannot be determined,
        because the subject is still, moves periodically, or is not seen by two cameras, or because frames were lost;
        `uncertain_offset`; `large_drift`, where a few frames may have been lost.

    Raises:
        InputError: `wrong-shape`, if a shape is wrong; `too-few-views`, if there are fewer than two cameras;
            `missing-view`, if there is no such reference; `out-of-range`, if the frame rate is not positive.
    """
    check_number(frame_rate, "frame_rate")
    check_number(longest, "longest", whole=True)
    points = as_recording(points, cams)
    if not frame_rate > 0:
        raise InputError(f"frame_rate: must be positive, found {frame_rate:g}", code="out-of-range", found=frame_rate)
    names = list(cams.names)
    (first,) = cams.index([names[0] if reference is None else reference])
    order = [first, *(view for view in range(len(cams)) if view != first)]
    chosen = cams.select([names[view] for view in order])
    tracks = np.asarray(undistort(without_spikes(points[:, order]), chosen))
    longest = max(1, min(longest, len(points) // 3))
    lag, placed = _place(chosen, tracks, longest)
    result, change = _fitted(chosen, tracks, lag, placed)
    placed = {
        view: each._replace(problem="wandering", rival=round(change[view])) if abs(change[view]) > _WANDERING else each
        for view, each in placed.items()
    }
    findings = find_uncertain_clocks(chosen.names, result.offset, result.offset_std, result.drift, placed, longest)
    back = np.argsort(order)
    values = {field: getattr(result, field)[back] for field in _Fitted.__annotations__}
    known = all(each.severity != "error" for each in findings)
    clocks = Clocks(
        names=cams.names,
        reference=names[first],
        frame_rate=frame_rate,
        offset=values["offset"] / frame_rate,
        drift=values["drift"],
        offset_std=values["offset_std"] / frame_rate,
        drift_std=values["drift_std"],
    ) if known else None  # fmt: skip
    return Synchronization(names=cams.names, clocks=clocks, findings=sort_findings(findings), **values)


def _place(cams: CameraGroup, tracks: Floats, longest: int) -> tuple[int, dict[int, Offset]]:
    """Return the offset of each camera by whole frames, and the lag at which most of them are determined."""
    frames = np.arange(len(tracks), dtype=np.float64)
    smooth = [resample(tracks[:, view], frames)[0] for view in range(len(cams))]
    best: tuple[tuple[int, float], int, dict[int, Offset]] | None = None
    for lag in _LAGS:
        curves: dict[tuple[int, int], Curves] = {}
        for one, other in combinations(range(len(cams)), 2):
            found = shift_curves(pair_geometry(cams, one, other), smooth[one], smooth[other], lag, 2 * longest)
            if found is not None:
                curves[one, other], curves[other, one] = found, mirrored(found)
        placed = _grow(curves, len(cams), longest, min(_MAX_DRIFT * len(tracks), longest))
        solved = [each for each in placed.values() if each.problem is None]
        rank = len(solved), sum(each.certainty for each in solved)
        if best is None or rank > best[0]:
            best = rank, lag, placed
        if len(solved) == len(cams):
            break
    assert best is not None
    return best[1], best[2]


def _grow(
    curves: Mapping[tuple[int, int], Curves], num_views: int, longest: int, max_drift: float
) -> dict[int, Offset]:
    """Place the cameras one after the other, the most certain one first, from the pair that agrees best.

    Returns:
        Offsets by camera, relative to that of camera 0 if it is placed; cameras that share no keypoints are left out.
    """
    origin = Offset((0.0, 0.0), np.inf, None, (0.0, 0.0))
    pairs = {pair: find_offset_line(each, max_drift) for pair, each in curves.items() if pair[0] < pair[1]}
    if not pairs:
        return {}
    seed = max(pairs, key=lambda pair: (pairs[pair].problem is None, pairs[pair].certainty))
    placed = {seed[0]: origin}
    while True:
        candidates = {}
        for view in set(range(num_views)) - set(placed):
            others = [other for other in placed if placed[other].problem is None and (other, view) in curves]
            if others:
                chosen = [curves[other, view] for other in others]
                pooled = pool(chosen, [placed[other].sure for other in others], 2 * longest)
                candidates[view] = find_offset_line(pooled, max_drift)
        if not candidates:
            break
        view = max(candidates, key=lambda each: (candidates[each].problem is None, candidates[each].certainty))
        placed[view] = candidates[view]
    zero = placed[0].sure if 0 in placed else (0.0, 0.0)
    result = {view: each.since(zero) for view, each in placed.items()}
    if 0 in result:
        for view, each in result.items():
            if each.problem is None and max(map(abs, each.line)) > longest:
                result[view] = each._replace(problem="limit")
    return result


def _most_precise(
    cams: CameraGroup, tracks: Floats, start: Floats, end: Floats, *, lag: int, drifts: bool
) -> tuple[ClockFit, Floats]:
    """Adjust clocks at the lag and with the kernel that state them most precisely.

    Changes over few frames tell least of slow motion, but errors of the calibration count least, too: what the clocks
    differ by at longer lags is in the standard deviations.

    Returns:
        The clocks, and standard deviations (V, 2) of offset and drift.
    """
    best: tuple[float, ClockFit, Floats] | None = None
    longest = max(lag, len(tracks) // _LEAST_LAGS)
    for own_lag, width in dict.fromkeys((min(times * lag, longest), width) for times, width in _SCALES):
        fit = partial(fit_clocks, cams, tracks, drifts=drifts, width=width)
        own = fit(start, end, lag=own_lag)
        start, end = own.offset, own.offset + own.drift * (len(tracks) - 1)
        others = [fit(start, end, lag=times * own_lag, only_clocks=True) for times in _OTHER_LAGS]
        spread = np.mean([(np.stack(each[:2]) - np.stack(own[:2])) ** 2 for each in others], axis=0).T
        deviation = np.sqrt(np.diagonal(own.covariance, axis1=1, axis2=2) + spread)
        size = float(deviation[1:, 0].mean())
        if best is None or size < best[0]:
            best = size, own, deviation
        if size < _EXACT:
            break
    assert best is not None
    return best[1:]


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    """Fields of `Synchronization` in the order of the cameras given; NaN for those that are not determined."""

    offset: Floats
    offset_std: Floats
    drift: Floats
    drift_std: Floats
    distance_before: Floats
    distance: Floats


def _fitted(cams: CameraGroup, tracks: Floats, lag: int, placed: Mapping[int, Offset]) -> tuple[_Fitted, Floats]:
    """Adjust the clocks of the cameras whose offsets are known by whole frames, camera 0 among them.

    Returns:
        The clocks, and the frames (V,) by which offsets change over the recording without a drift that counts.
    """
    num_views, num_frames = len(cams), len(tracks)
    nothing = np.full(num_views, np.nan)
    known = sorted(view for view, each in placed.items() if each.problem is None)
    if len(known) < 2 or known[0] != 0:
        return _Fitted(**{field: nothing.copy() for field in _Fitted.__annotations__}), np.zeros(num_views)
    group, own = cams.select([cams.names[view] for view in known]), tracks[:, known]
    start, end = (np.array([placed[view].sure[side] for view in known]) for side in (0, 1))

    fit = partial(_most_precise, group, own, lag=lag)
    drifts, likely = np.zeros(len(known), dtype=bool), np.ones(len(known), dtype=bool)
    if _KNOWN_DRIFT * num_frames >= 1:
        found, deviation = fit(start, end, drifts=True)
        least = np.maximum(_SURE_DRIFT * deviation[:, 1], _SMALLEST_DRIFT / num_frames)
        likely = np.abs(found.drift) > _LIKELY_DRIFT * deviation[:, 1]
        drifts = (np.abs(found.drift) > least) & (np.abs(found.drift) < _MAX_DRIFT)
    if not drifts.any():
        middle = (start + end) / 2
        found, deviation = fit(middle, middle, drifts=False)
    # What lines by whole frames change while the subject moves; at rest, chance turns them. It counts where the
    # adjustment, which is far more precise, changes as well.
    turned = found.span * np.array([placed[view].line[1] - placed[view].line[0] for view in known])
    change = np.zeros(num_views)
    change[known] = np.where((found.drift == 0) & likely, turned, 0.0)
    before = fit_clocks(group, own, 0 * start, 0 * start, lag=lag, drifts=False, max_steps=0, only_clocks=True)
    values = {
        "offset": found.offset,
        "offset_std": deviation[:, 0],
        "drift": found.drift,
        "drift_std": deviation[:, 1],
        "distance_before": before.distance,
        "distance": found.distance,
    }
    result = {field: nothing.copy() for field in values}
    for field, value in values.items():
        result[field][known] = value
    return _Fitted(**result), change
