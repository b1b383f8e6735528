"""Agreement of cameras over shifts in time by whole frames, and whether it tells their offset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from mvgeom.calibration.boards import Floats, Ints
from mvgeom.calibration.epipolar_residuals import (
    PairGeometry,
    lines_of_first,
    lines_of_second,
    residuals,
    take,
)

__all__ = ["MIN_POINTS", "Curves", "Line", "Offset", "find_offset_line", "mirrored", "pool", "shift_curves"]

MIN_POINTS = 20
"""Keypoints that two cameras must share."""

Line = tuple[float, float]
"""Frames that a camera is late at the start and at the end of the recording."""

_CLIP = 5.0
"""Size of a change, in median sizes, beyond which it counts hardly more."""

_MAX_POINTS = 20_000
_MIN_OVERLAP = 0.4
"""Least share of the keypoints that two cameras must share at a shift, of those shared at the best covered one."""

_CERTAIN = 5.0
"""Agreement, in standard deviations of chance, that the motion of the subject must reach; noise reaches 3 to 4."""

_CERTAIN_DRIFT = 4.0
"""Agreement, in standard deviations of chance, that an offset gains by a drift."""

_HIGHEST_CORRELATION = 0.99

_SAME_FRAMES = 4
"""Largest difference of the offsets, in frames, that the two halves state by themselves."""

_LONGEST_JUMP = 60
"""Frames by which an offset may change at once."""

_RIVAL_FRAMES = 3
_RIVAL = 0.8
"""Share of the highest agreement at which another peak may be the truth, too."""

_VALLEY = 0.6
"""Share of the highest agreement below which the valley between two peaks makes them two."""


class Curves(NamedTuple):
    """Agreement of two cameras in each stretch of the recording, in standard deviations of chance of the whole sum.

    Attributes:
        agreement: (B, S) agreement of stretches at shifts.
        points: (B, S) number of keypoints that were compared.
        place: (B,) middle of each stretch as a fraction of the recording.
        shifts: (S,) frames that the second camera is late, -n to n.
        variance: Variance by chance of the sum of all stretches.
        highest: Sum of all stretches if both motions are the same.
    """

    agreement: Floats
    points: Floats
    place: Floats
    shifts: Ints
    variance: float
    highest: float


class Offset(NamedTuple):
    """Offset of a camera, and whether it is determined.

    Attributes:
        line: Frames that the camera is late at the start and at the end of the recording.
        certainty: Agreement at the offset in standard deviations of chance.
        problem: Reason why nothing can be told; None where the offset is determined.
        sure: The line without a drift that chance explains, from which an adjustment starts.
        rival: Other offset, relative to `line`, that fits about as well, where the problem is `ambiguous`; frames by
            which the offset changes while the subject moves, where it is `wandering`.
    """

    line: Line
    certainty: float
    problem: Literal["few", "still", "ambiguous", "limit", "wandering"] | None
    sure: Line
    rival: int = 0

    def since(self, origin: Line) -> Offset:
        """Return the offset relative to a line."""
        line, sure = ((start - origin[0], end - origin[1]) for start, end in (self.line, self.sure))
        return self._replace(line=line, sure=sure)


def shift_curves(geometry: PairGeometry, one: Floats, other: Floats, lag: int, longest: int) -> Curves | None:
    """Compute the agreement of two cameras over shifts in time.

    Compared are motions across the epipolar lines: the change of the epipolar residual over a few frames by the motion
    in the first camera must be undone by that in the second. The agreement is the sum of the products of both, clipped.
    A wrong pose or lens, and errors of a detector that last, hardly touch it; keypoints at rest count by themselves for
    nothing. Its variance by chance follows from the autocorrelations of both (Bartlett 1935).

    Args:
        geometry: Epipolar geometry of the cameras.
        one: (N, K, 2) smoothed keypoints of the first camera at depth 1, in frames that follow each other.
        other: (N, K, 2) those of the second.
        lag: Frames over which changes are taken.
        longest: Largest shift in frames, in both directions.

    Returns:
        The curves; None if the cameras share fewer than 20 keypoints at all shifts.
    """
    num_frames = len(one)
    shifts = np.arange(-longest, longest + 1)
    length = max(2 * lag, 8)
    number = num_frames // length + 1
    agreement, count = np.zeros((2, number, len(shifts)))
    rows = np.arange(lag, num_frames)
    stride = max(1, len(rows) * one.shape[1] // _MAX_POINTS)
    rows = rows[::stride]
    first, second = lines_of_first(geometry, one), lines_of_second(geometry, other)
    variance = highest = 0.0
    for column in np.argsort(np.abs(shifts), kind="stable"):
        shift = shifts[column]
        kept = rows[(rows - lag + shift >= 0) & (rows + shift < num_frames)]
        if not len(kept):
            continue
        early, late = take(second, kept - lag + shift), take(second, kept + shift)
        middle = residuals(take(first, kept - lag), late)
        by_one = residuals(take(first, kept), late) - middle
        by_other = residuals(take(first, kept - lag), early) - middle
        both = np.isfinite(by_one) & np.isfinite(by_other)
        if both.sum() < MIN_POINTS:
            continue
        by_one, by_other = _clipped(by_one, both), _clipped(by_other, both)
        if not variance:  # of the smallest shift, which has most keypoints
            variance = _chance(by_one, by_other, both, 3 * lag // stride + 1)
            highest = float(np.sqrt((by_one**2).sum() * (by_other**2).sum()))
        part = kept // length
        agreement[:, column] = np.bincount(part, (by_one * by_other).sum(axis=1), minlength=number)
        count[:, column] = np.bincount(part, both.sum(axis=1), minlength=number)
    used = count.any(axis=1)
    if not used.any() or variance <= 0:
        return None
    place = (np.arange(number) + 0.5) * length / num_frames
    return Curves(agreement[used], count[used], place[used], shifts, variance, highest)


def mirrored(curves: Curves) -> Curves:
    """Return the curves of the same two cameras in the other order."""
    return curves._replace(agreement=curves.agreement[:, ::-1], points=curves.points[:, ::-1])


def pool(curves: Sequence[Curves], lines: Sequence[Line], longest: int) -> Curves:
    """Add the agreement of one camera with several others whose offsets are known.

    Args:
        curves: Agreement of each other camera (the first) with this one (the second), with the same stretches.
        lines: Offsets of the other cameras.
        longest: Largest shift of the result.
    """
    shifts = np.arange(-longest, longest + 1)
    places = np.unique(np.concatenate([each.place for each in curves]))
    agreement, count = np.zeros((2, len(places), len(shifts)))
    for each, (start, end) in zip(curves, lines, strict=True):
        moved = _along(each, (-start, -end), shifts)
        rows = np.searchsorted(places, each.place)
        agreement[rows] += moved.agreement / np.sqrt(each.variance)
        count[rows] += moved.points
    highest = sum(each.highest / np.sqrt(each.variance) for each in curves)
    return Curves(agreement, count, places, shifts, float(len(curves)), float(highest))


def find_offset_line(curves: Curves, max_drift: float) -> Offset:
    """Find the offset at which the agreement is highest, and test whether it is determined.

    The offset counts if chance does not explain the agreement, if the parts before and after any time have no offsets
    of their own (as where frames were lost), if the stretches of even number and those of odd number state it
    independently, and if no other peak is about as high (as with periodic motion).

    Args:
        curves: Agreement of the camera with others.
        max_drift: Largest change of the offset over the recording in frames.
    """
    line = _highest_line(curves, max_drift)
    even = np.arange(len(curves.place)) % 2 == 0
    halves = [_part(curves, even), _part(curves, ~even)]
    if any(not half.points.any() for half in halves):
        return Offset(line, 0.0, "few", line)
    lines = [_without_chance(half, _highest_line(half, max_drift)) for half in halves]
    certainty, sure = _certainty(curves, line), _without_chance(curves, line)
    apart = float(np.abs(np.subtract(lines[0], lines[1])).max())
    jump = _jump(curves, sure)
    if certainty >= _CERTAIN and jump:
        return Offset(line, certainty, "wandering", sure, jump)
    if certainty < _CERTAIN or apart > _SAME_FRAMES:
        return Offset(line, certainty, "still", sure)
    rival = _rival(curves, line)
    if rival is not None:
        return Offset(line, certainty, "ambiguous", sure, rival)
    if max(map(abs, line)) >= curves.shifts[-1]:
        return Offset(line, certainty, "limit", sure)
    return Offset(line, certainty, None, sure)


def _jump(curves: Curves, line: Line) -> int:
    """Return the frames by which the offset changes at some time; 0 if chance explains what two offsets gain."""
    shifts = np.arange(-_LONGEST_JUMP, _LONGEST_JUMP + 1)
    before = np.cumsum(_along(curves, line, shifts).agreement, axis=0)
    after = before[-1] - before
    gain = before.max(axis=1) + after.max(axis=1) - before[-1, _LONGEST_JUMP]
    place = int(np.argmax(gain))
    jump = int(after[place].argmax() - before[place].argmax())
    return jump if gain[place] > _CERTAIN * np.sqrt(max(curves.variance, 0.0)) else 0


def _clipped(changes: Floats, both: np.ndarray) -> Floats:
    """Return changes (M, K) without their mean by keypoint, softly clipped; 0 where something is missing."""
    count = np.maximum(both.sum(axis=0), 1)
    changes = np.where(both, changes, 0)
    scale = max(_CLIP * float(np.median(np.abs(changes[both]))), 1e-12)
    soft = np.tanh(changes / scale)
    return np.asarray(np.where(both, soft - soft.sum(axis=0) / count, 0))


def _chance(first: Floats, second: Floats, both: np.ndarray, longest: int) -> float:
    """Return the variance of the sum of products (M, K) of two independent series with their autocorrelations."""
    total = float(((first**2).sum(axis=0) * (second**2).sum(axis=0) / np.maximum(both.sum(axis=0), 1)).sum())
    for lag in range(1, min(longest, len(first) - 1) + 1):
        pairs = np.maximum((both[lag:] & both[:-lag]).sum(axis=0), 1)
        one, other = ((each[lag:] * each[:-lag]).sum(axis=0) for each in (first, second))
        total += 2 * float((one * other / pairs).sum())
    floor = float(((first * second) ** 2).sum())
    return max(total, floor)


def _part(curves: Curves, chosen: np.ndarray) -> Curves:
    share = float(curves.points[chosen].sum() / max(curves.points.sum(), 1))
    return Curves(
        curves.agreement[chosen],
        curves.points[chosen],
        curves.place[chosen],
        curves.shifts,
        curves.variance * share,
        curves.highest * share,
    )


def _along(curves: Curves, line: Line, shifts: Ints) -> Curves:
    """Return the curves over shifts relative to a line; 0 where there is none."""
    moved = np.rint(line[0] + (line[1] - line[0]) * curves.place).astype(int)
    column = shifts + moved[:, None] - curves.shifts[0]
    inside = (column >= 0) & (column < len(curves.shifts))
    column = np.clip(column, 0, len(curves.shifts) - 1)
    rows = np.arange(len(moved))[:, None]
    return curves._replace(
        agreement=np.where(inside, curves.agreement[rows, column], 0),
        points=np.where(inside, curves.points[rows, column], 0),
        shifts=shifts,
    )


def _mean(curves: Curves) -> Floats:
    """Return the agreement (S,) of all stretches, for as many keypoints as at the best covered shift; NaN if few."""
    count = curves.points.sum(axis=0)
    usable = (count >= _MIN_OVERLAP * count.max()) & (count > 0)
    # The variance by chance grows with the number of keypoints.
    return np.where(usable, curves.agreement.sum(axis=0) * np.sqrt(count.max() / np.where(usable, count, 1)), np.nan)


def _highest_line(curves: Curves, max_drift: float) -> Line:
    """Return the straight line along which the agreement is highest; one without drift wins over equal ones."""
    best, highest = (0.0, 0.0), -np.inf
    for change in sorted(range(-int(max_drift), int(max_drift) + 1), key=abs):
        line, agreement = _highest_of(curves, change)
        if agreement > highest + 1e-9:
            best, highest = line, agreement
    return best


def _without_chance(curves: Curves, line: Line) -> Line:
    """Return the line, or the best one without drift if chance explains what the drift gains.

    Where a subject rests and moves once, the motion tells the offset then, and chance alone would tell the drift.
    """
    level, agreement = _highest_of(curves, 0)
    gain = _highest_of(curves, line[1] - line[0])[1] - agreement
    return level if gain < _CERTAIN_DRIFT * np.sqrt(max(curves.variance, 0.0)) else line


def _highest_of(curves: Curves, change: float) -> tuple[Line, float]:
    """Return the best line of those whose offset changes by so many frames over the recording, and its agreement."""
    mean = _mean(_along(curves, (-change / 2, change / 2), curves.shifts))
    if not np.isfinite(mean).any():
        return (0.0, 0.0), -np.inf
    place = int(np.nanargmax(mean))
    shift = float(curves.shifts[place])
    return (shift - change / 2, shift + change / 2), float(mean[place])


def _certainty(curves: Curves, line: Line) -> float:
    """Return the agreement along a line in standard deviations of chance, by Fisher's transform of the correlation."""
    value = float(np.nan_to_num(_mean(_along(curves, line, curves.shifts))[curves.shifts == 0][0]))
    highest = max(curves.highest, 1e-300)
    correlation = np.clip(value / highest, -_HIGHEST_CORRELATION, _HIGHEST_CORRELATION)
    return float(np.arctanh(correlation) * highest / np.sqrt(max(curves.variance, 1e-300)))


def _rival(curves: Curves, line: Line) -> int | None:
    """Return the shift, relative to a line, of another peak that is nearly as high; None if there is none."""
    mean = _mean(_along(curves, line, curves.shifts))
    zero = int(np.flatnonzero(curves.shifts == 0)[0])
    height = mean - np.nanmean(mean)
    for place in np.argsort(np.where(np.isfinite(height), -height, np.inf)):
        if not height[place] > _RIVAL * height[zero]:
            return None
        first, last = sorted((int(place), zero))
        valley = float(np.nanmin(height[first : last + 1]))
        if abs(curves.shifts[place]) >= _RIVAL_FRAMES and valley < _VALLEY * height[zero]:
            return int(curves.shifts[place])
    return None
