"""Methods of matching the images of several views to frames, for recordings that have gaps."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_SAME = 0.5
"""Difference of times, in steps, below which two images belong to one frame."""

_CLEAR = 0.4
"""Difference of times, in steps, from which it is open to which of two frames the first image after a gap belongs."""

_LEVEL_LENGTH = 15
"""Images over which a difference of times must persist in order to be a gap and not jitter."""

_EXACT = 0.25
"""Difference of times, as a fraction of the shortest interval, below which they are the same."""

_FULL = 0.6
"""Least share of the frames between its first and last image of which a view has an image."""

_LOOSE = 0.27
"""Standard deviation, in steps, above which times do not have a constant rate; 0.29 is that of any times."""

_NOISY = 0.2
"""Standard deviation of the times of one frame, in steps, above which no gap can be found in them."""

_CLOCK_GAIN, _OFFSET_GAIN = 0.1, 0.03
"""Shares of a difference of times by which the common clock and a view's clock follow it."""

_RATE_CHANGE = 0.35
"""Difference of times, in steps, from which the rate has changed if all views agree about it."""


class OpenImage:
    """Image whose frame the times do not tell, `offset` steps from a frame."""

    def __init__(self, view: int, image: int, frame: int, offset: float) -> None:
        self.view, self.image, self.frame, self.offset = view, image, frame, float(offset)


class Merger:
    """Matcher that goes through the images of all views in the order of their times, with a clock for each view.

    Args:
        times: Per view (T,) times in s.
        step: Typical interval in s.
    """

    def __init__(self, times: Sequence[Floats], step: float) -> None:
        start = min(each[0] for each in times if len(each))
        self.times = [((each - start) / step).tolist() for each in times]
        self.offsets = [0.0] * len(times)
        self.next_images = [0] * len(times)
        self.last_frames = [-1] * len(times)

    def match(self) -> tuple[Ints, ...] | OpenImage:
        """Return the frame numbers of all images, or the first image whose frame is open."""
        frames: list[list[int]] = [[] for _ in self.times]
        corrected: list[list[float]] = [[] for _ in self.times]
        clock, frame = 0.0, 0
        after_gap: OpenImage | None = None
        squares, number = 0.0, 1
        while heads := self._heads():
            nearest = min(heads.values())
            if frame and nearest < clock - 1 + _SAME:  # closer to the frame before
                early = min(heads, key=heads.__getitem__)
                return OpenImage(early, self.next_images[early], frame - 1, nearest - clock + 1)
            together = len(heads) > 1 and max(heads.values()) - nearest <= _SAME
            base = clock if nearest <= clock + _SAME else nearest
            members = [view for view in heads if together or abs(heads[view] - base) <= _SAME]
            center = median(heads[view] for view in members)
            for view in members:
                # An image after a gap, or the first one of a view, has nothing but its time that tells its frame.
                if self.last_frames[view] < frame - 1 and len(members) > 1:
                    offset = heads[view] - median(heads[other] for other in members if other != view)
                    image = OpenImage(view, self.next_images[view], frame, offset)
                    if abs(offset) > _CLEAR:
                        return image
                    after_gap = after_gap or image
                self.offsets[view] += _OFFSET_GAIN * (heads[view] - center)  # 0 for a view that is alone
                frames[view].append(frame)
                corrected[view].append(heads[view])
                self.next_images[view] += 1
                self.last_frames[view] = frame
            squares += sum((heads[view] - center) ** 2 for view in members)
            number += len(members) - 1
            moved = center - clock
            jumps = base > clock or (together and abs(moved) > _RATE_CHANGE)
            clock += 1 + (moved if jumps else max(_CLOCK_GAIN, 1 / (1 + frame)) * moved)
            frame += 1
        if after_gap is not None and squares > number * _NOISY**2:
            return after_gap
        found = tuple(np.array(each, dtype=np.int64) for each in frames)
        return _find_closer([np.array(each) for each in corrected], found, frame) or found

    def _heads(self) -> dict[int, float]:
        """Return the time, in steps of the common clock, of the next image of each view that has one."""
        return {
            view: times[number] - self.offsets[view]
            for view, (times, number) in enumerate(zip(self.times, self.next_images, strict=True))
            if number < len(times)
        }


def _find_closer(times: Sequence[Floats], frames: Sequence[Ints], num_frames: int) -> OpenImage | None:
    """Return the first image whose time is closer to the other views' images of a neighboring frame than of its own."""
    sums, counts = np.zeros(num_frames + 2), np.zeros(num_frames + 2)
    for each, numbers in zip(times, frames, strict=True):
        sums[numbers + 1] += each
        counts[numbers + 1] += 1
    for view, (each, numbers) in enumerate(zip(times, frames, strict=True)):
        other_sums, other_counts = sums.copy(), counts.copy()
        other_sums[numbers + 1] -= each
        other_counts[numbers + 1] -= 1
        centers = np.where(other_counts > 0, other_sums / np.maximum(other_counts, 1), np.nan)
        own = np.abs(each - centers[numbers + 1])
        for neighbor in (numbers, numbers + 2):
            closer = np.flatnonzero(np.abs(each - centers[neighbor]) < own)  # false where either is missing
            if len(closer):
                first = int(closer[0])
                offset = each[first] - centers[numbers[first] + 1]
                return OpenImage(view, first, int(numbers[first]), offset)
    return None


def match_same_times(
    times: Sequence[Floats], step: float, intervals: Sequence[int] | None = None
) -> tuple[Ints, ...] | None:
    """Match images that have the same time to within a fraction of any interval; None if there are others.

    Args:
        times: Per view (T,) times in s.
        step: Typical interval of the fastest view in s.
        intervals: Per view the frames from one image to the next; None if each view has an image of every frame.
    """
    shortest = min((float(np.diff(each).min()) for each in times if len(each) > 1), default=0.0)
    if shortest < _SAME * step:
        return None  # images were delivered late
    together = np.sort(np.concatenate(times))
    starts = np.concatenate([[0], np.flatnonzero(np.diff(together) > _EXACT * shortest) + 1])
    firsts, lasts = together[starts], together[np.concatenate([starts[1:], [len(together)]]) - 1]
    if (lasts - firsts).max() > _EXACT * shortest or (firsts[1:] - lasts[:-1] < (1 - _EXACT) * shortest).any():
        return None
    frames = tuple(np.searchsorted(firsts, each, side="right") - 1 for each in times)
    expected = zip(frames, intervals or [1] * len(frames), strict=True)
    if any(len(each) * interval < _FULL * (each[-1] - each[0] + 1) for each, interval in expected if len(each)):
        return None  # a lower rate
    return frames


def match_by_grid(times: Sequence[Floats], step: float) -> tuple[Ints, ...] | None:
    """Match images to the steps of a constant rate; None if the times do not have one, or leave a frame open."""
    together = np.sort(np.concatenate(times))
    start, length = together[0], 16
    while True:
        near = together[:length]
        # The step is known better the longer the part of the recording that it was estimated from.
        numbers = np.round((near - start) / step)
        if numbers[-1] > numbers[0]:
            step, start = np.polyfit(numbers, near, 1).tolist()
        if length >= len(together):
            break
        length *= 2
    if step <= 0 or np.std((together - start) / step - np.round((together - start) / step)) > _LOOSE:
        return None
    frames = [np.round((each - start) / step).astype(np.int64) for each in times]
    residuals = [(each - start) / step - numbers for each, numbers in zip(times, frames, strict=True)]
    if any((np.diff(numbers) < 1).any() for numbers in frames) or not levels_agree(frames, residuals):
        return None
    present = np.unique(np.concatenate(frames))
    return tuple(np.searchsorted(present, each) for each in frames)


def levels_agree(frames: Sequence[Ints], residuals: Sequence[Floats]) -> bool:
    """Return True if the images after each gap of a view are as late as those of the other views in the same frames.

    Args:
        frames: Frame numbers of each view's images, ascending.
        residuals: Distance of each image's time from that of its frame, in steps.
    """
    for view, numbers in enumerate(frames):
        firsts = np.flatnonzero(np.diff(numbers, prepend=numbers[:1] - 2) > 1)
        lasts = np.minimum(firsts + _LEVEL_LENGTH, len(numbers)) - 1
        others = [other for other in range(len(frames)) if other != view]
        # All frame numbers increase, so images of a range of frames are found by bisection.
        starts = np.array([np.searchsorted(frames[other], numbers[firsts], side="left") for other in others])
        stops = np.array([np.searchsorted(frames[other], numbers[lasts], side="right") for other in others])
        for column, (first, last) in enumerate(zip(firsts.tolist(), lasts.tolist(), strict=True)):
            level = residuals[view][first : last + 1].mean()
            ranges = zip(others, starts[:, column], stops[:, column], strict=True)
            reference = np.concatenate([residuals[other][start:stop] for other, start, stop in ranges])
            if len(reference) and abs(level - reference.mean()) > _CLEAR:
                return False
    return True
