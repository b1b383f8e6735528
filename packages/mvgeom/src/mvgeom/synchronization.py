"""Matching of the images of several videos to common frames, by their presentation times."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from mvgeom._frame_matching import Floats, Ints, Merger, OpenImage, match_by_grid, match_same_times
from mvgeom.errors import InputError

__all__ = ["match_images"]

_RATE_TOLERANCE = 0.01
"""Relative difference up to which two frame rates are the same."""

_SAME = 0.5
"""Difference of times, in steps, below which two images belong to one frame."""

_MOST = 0.95
"""Difference of the times of two images of the same number, in steps, which jitter does not reach."""

_LEVEL_LENGTH = 15
"""Images over which a difference of times must persist in order to be a gap and not jitter."""

_OUTLYING = 6.0
"""Difference of times, in medians of all differences, up to which it is jitter."""

_ON_TIME = 0.1
"""Median delay of the images of a view, in steps, up to which single late ones stand out."""

_LATEST = 8
"""Images after which a delivery that was late is on time again."""


def match_images(times: Sequence[Floats], names: Sequence[str], *, multiples: bool = False) -> tuple[Ints, ...]:
    """Match the images of several videos to frames by their presentation times.

    Images whose times differ by less than half a step between images belong to one frame. So a gap in the times of one
    view means that it has no image of the frames in between. Where the times of all views have the same gaps, or the
    same varying rate, or jitter by less than half a step, image n of every view is of frame n. Frames without any image
    do not count: every frame has an image of at least one view. Clocks that drift apart by up to 1 % are followed, with
    a warning if it is more than half a step.

    Args:
        times: Per view (T,) presentation times of its images in s, ascending, of a clock that all views share; all NaN
            where a video has no times.
        names: Names of the views, for messages.
        multiples: True allows frame rates that are whole multiples of each other, such as 30 and 60, if the times of
            the images are exact. The frames are those of the highest rate; slower views have images of some of them.

    Returns:
        Per view (T,) frame numbers of its images, strictly ascending from 0 or more.

    Raises:
        InputError: `rates-differ`, if the views have different frame rates; `unmatched-frames`, if the times do not
            tell which images belong together. The message names view, image and frame.
    """
    by_number = tuple(np.arange(len(each)) for each in times)
    if len(times) < 2:
        return by_number
    if any(len(each) > 1 and not np.isfinite(each).all() for each in times):
        _check_counts(times, names)
        return by_number
    steps, doubts = _typical_steps(times)
    if np.isnan(steps).all():
        return by_number
    step = float(np.nanmedian(steps))
    if _match_by_number(times, step):
        return by_number
    found: tuple[Ints, ...] | OpenImage | None = match_same_times(times, step)
    if found is None and multiples:
        found = _match_multiples(times, steps)
    if found is None:
        _check_rates(times, names, steps, doubts)
        found = match_by_grid(times, step) or Merger(times, step).match()
    if isinstance(found, OpenImage):
        on_time = [_undelayed(each, step) for each in times]
        late = [np.median(each - earliest) for each, earliest in zip(times, on_time, strict=True)]
        if max(late) < _ON_TIME * step:
            # Only a few images were delivered late; those after them were on time again, so that there was no gap.
            repeated = Merger(on_time, step).match()
            found = found if isinstance(repeated, OpenImage) else repeated
    if isinstance(found, OpenImage):
        seconds = times[found.view][found.image]
        raise InputError(
            f"{names[found.view]}: image {found.image} at {seconds:.4f} s cannot be matched to a frame of the other "
            f"views by its time, found {found.offset:+.2f} steps of {step:.4g} s from frame {found.frame}, expected "
            "less than half a step. Record all views by one clock, or match the images by number",
            code="unmatched-frames",
            view=names[found.view],
            image=found.image,
            frame=found.frame,
            found=found.offset,
            step=step,
        )
    rows = [set(each.tolist()) for each in found]
    if not set.union(*(a & b for place, a in enumerate(rows) for b in rows[place + 1 :])):
        spans = "; ".join(f"{name} {each[0]:.3f} to {each[-1]:.3f}" for name, each in zip(names, times, strict=True))
        raise InputError(
            f"{', '.join(names)}: no two views have an image of the same time, found the times {spans} s. Record all "
            "views by one clock, or match the images by number",
            code="unmatched-frames",
            views=tuple(names),
            view=names[0],
            step=step,
        )
    _warn_of_drift(times, found, names, step)
    return found


def _warn_of_drift(times: Sequence[Floats], frames: Sequence[Ints], names: Sequence[str], step: float) -> None:
    """Warn if the times of one frame differ more and more between views."""
    first = max(range(len(times)), key=lambda view: len(times[view]))
    for each, numbers, name in zip(times, frames, names, strict=True):
        _, here, there = np.intersect1d(numbers, frames[first], assume_unique=True, return_indices=True)
        differences = (each[here] - times[first][there]) / step
        if len(differences) < 2 * _LEVEL_LENGTH:
            continue
        drift = np.median(differences[-_LEVEL_LENGTH:]) - np.median(differences[:_LEVEL_LENGTH])
        if abs(drift) > _SAME:
            warnings.warn(
                f"{name}: its clock drifts against that of {names[first]}, by {drift:+.1f} steps of {step:.4g} s over "
                "the recording. The images are matched as if both had one rate",
                stacklevel=4,
            )


def _check_counts(times: Sequence[Floats], names: Sequence[str]) -> None:
    """Check that views of which one has no times have the same number of images."""
    if len({len(each) for each in times}) == 1:
        return
    counts = {name: len(each) for name, each in zip(names, times, strict=True)}
    without = next(name for name, each in zip(names, times, strict=True) if len(each) > 1 and np.isnan(each).any())
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    raise InputError(
        f"{without}: the video does not state the times of its images, so a missing image cannot be found, found "
        f"different numbers of images: {listed}. Store the videos with their times, or match the images by number",
        code="unmatched-frames",
        view=without,
        found=counts,
    )


def _typical_steps(times: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Return per view the typical interval between images in s, NaN for less than two images, and its uncertainty."""
    steps, doubts = np.full(len(times), np.nan), np.zeros(len(times))
    for view, each in enumerate(times):
        intervals = np.diff(each)
        if len(intervals):
            typical = np.median(intervals)
            # Times are rounded, to whole milliseconds for example, so their median alone is not exact.
            near = intervals[np.abs(intervals - typical) <= 0.3 * typical]
            spread = np.median(np.abs(intervals - typical))
            steps[view], doubts[view] = near.mean(), 3 * max(near.std(), spread) / np.sqrt(len(intervals))
    return steps, doubts


def _check_rates(times: Sequence[Floats], names: Sequence[str], steps: Floats, doubts: Floats) -> None:
    """Check that all views have one frame rate."""
    slow, fast = int(np.nanargmax(steps)), int(np.nanargmin(steps))
    difference = steps[slow] / steps[fast] - 1
    doubt = (doubts[slow] + doubts[fast]) / steps[fast]
    num_images = min(len(times[slow]), len(times[fast]))
    if difference > max(_RATE_TOLERANCE, doubt) and difference * num_images > _SAME:
        rates = {name: round(1 / step, 3) for name, step in zip(names, steps, strict=True) if np.isfinite(step)}
        listed = ", ".join(f"{name} {rate:g}" for name, rate in rates.items())
        raise InputError(
            f"{names[slow]}: the videos have different frame rates, found {listed} frames/s, expected one rate, else "
            "images of the same number are not of the same time. Convert them to one rate, or match the images by "
            "number if the stated rates are wrong",
            code="rates-differ",
            view=names[slow],
            found=rates,
        )


def _match_multiples(times: Sequence[Floats], steps: Floats) -> tuple[Ints, ...] | None:
    """Match images of rates that are whole multiples of each other by exact times; None if they are not."""
    step = float(np.nanmin(steps))
    ratios = np.where(np.isfinite(steps), steps / step, 1.0)
    intervals = np.round(ratios)
    if (intervals == 1).all() or (np.abs(ratios / intervals - 1) > _RATE_TOLERANCE).any():
        return None
    return match_same_times(times, step, intervals.astype(np.int64).tolist())


def _match_by_number(times: Sequence[Floats], step: float) -> bool:
    """Return True if images of the same number are of the same time in all views, but for jitter."""
    longest = max(times, key=len)
    for each in times:
        differences = (each - longest[: len(each)]) / step
        largest = np.abs(differences).max(initial=0)
        if largest >= _SAME:
            # A gap shifts all times after it by a step or more. Jitter does not, and shows everywhere.
            level = _running_median(differences)
            jitter = _OUTLYING * np.median(np.abs(differences - level))
            if largest >= min(jitter, _MOST) or (np.abs(level) >= _SAME).any():
                return False
    return True


def _running_median(values: Floats) -> Floats:
    """Return the median of the images around each; at the ends, of the first and the last images."""
    length = min(_LEVEL_LENGTH, len(values))
    medians = np.median(np.lib.stride_tricks.sliding_window_view(values, length), axis=-1)
    before = (length - 1) // 2
    return np.pad(medians, (before, len(values) - len(medians) - before), mode="edge")


def _undelayed(times: Floats, step: float) -> Floats:
    """Return the latest times at which images could have been taken if those after them are on time."""
    earliest = times.copy()
    for later in range(1, min(_LATEST, len(times) - 1) + 1):
        earliest[:-later] = np.minimum(earliest[:-later], times[later:] - later * step)
    return earliest
