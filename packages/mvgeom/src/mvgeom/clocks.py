"""Clocks of cameras that are not synchronized: offset and drift, and the frames that belong together by them.

What the reference camera shows at t seconds of its recording, a camera shows at offset + (1 + drift) t seconds of its
own. Frame n of a recording is at n / frame rate seconds. A positive offset means that a camera shows things late.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mvgeom.errors import InputError

__all__ = ["Clocks", "interpolate_keypoints"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_RATE_TOLERANCE = 0.01
_EXACT = 1e-6
"""Part of a frame up to which a position is a frame itself."""

_LARGEST_DRIFT = 0.5
_FIELDS = ("offset", "drift", "offset_std", "drift_std")


@dataclass(frozen=True, kw_only=True, eq=False)
class Clocks:
    """Offsets and drifts of the clocks of V cameras against a reference.

    Attributes:
        names: V camera names.
        reference: Camera whose frames are those of the recording; its offset and drift are 0.
        frame_rate: Frames per second of the recordings.
        offset: (V,) seconds that each camera shows late what the reference shows at its start.
        drift: (V,) seconds that each camera's clock gains per second; 0.001 is 1 ms per second.
        offset_std: (V,) standard deviations of the offsets in s; NaN if unknown.
        drift_std: (V,) standard deviations of the drifts; NaN if unknown.

    Raises:
        InputError: `wrong-shape`, if shapes are inconsistent; `out-of-range`, if the rate is not positive, or a drift
            is 0.5 or more; `not-finite`, if an offset or a drift is not finite; `duplicate-name`, if names repeat.
    """

    names: tuple[str, ...]
    reference: str
    frame_rate: float
    offset: Floats
    drift: Floats
    offset_std: Floats
    drift_std: Floats

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            raise InputError(f"names: must be distinct, found {list(self.names)}", code="duplicate-name")
        if not (np.isfinite(self.frame_rate) and self.frame_rate > 0):
            raise InputError(
                f"frame_rate: must be positive, found {self.frame_rate}",
                code="out-of-range",
                argument="frame_rate",
                found=self.frame_rate,
            )
        for field in _FIELDS:
            value = np.asarray(getattr(self, field), dtype=np.float64)
            object.__setattr__(self, field, value)
            if value.shape != (len(self.names),):
                raise InputError(
                    f"{field}: wrong shape, found {value.shape}, expected ({len(self.names)},)",
                    code="wrong-shape",
                    argument=field,
                    found=value.shape,
                )
        if not (np.isfinite(self.offset).all() and np.isfinite(self.drift).all()):
            raise InputError("offset, drift: must be finite", code="not-finite", argument="offset")
        if (np.abs(self.drift) >= _LARGEST_DRIFT).any():
            raise InputError(
                f"drift: must be below {_LARGEST_DRIFT}, found {np.abs(self.drift).max():g}",
                code="out-of-range",
                argument="drift",
            )

    @property
    def offset_frames(self) -> Floats:
        """(V,) offsets in frames."""
        return np.asarray(self.offset * self.frame_rate)

    def select(self, names: Iterable[str]) -> Self:
        """Return the clocks of the named cameras in the requested order; the reference stays.

        Raises:
            InputError: `missing-view`, if a camera has no clock.
        """
        wanted = list(names)
        missing = [name for name in wanted if name not in self.names]
        if missing:
            raise InputError(
                f"clocks: no clock of camera {', '.join(map(repr, missing))}, found {list(self.names)}. Run mvgeom "
                "sync with all cameras",
                code="missing-view",
                view=missing[0],
                found=self.names,
            )
        rows = [self.names.index(name) for name in wanted]
        fields = {field: getattr(self, field)[rows] for field in _FIELDS}
        return type(self)(names=tuple(wanted), reference=self.reference, frame_rate=self.frame_rate, **fields)

    def from_frame(self, first: int) -> Self:
        """Return the same clocks, counted from frame 0, where their offsets hold at the frame `first` of all cameras.

        Frame first + n of the reference is at first + offset + (1 + drift) n in a camera's own numbering.
        """
        if not first:
            return self
        seconds = first / self.frame_rate
        drifting = self.drift != 0
        return replace(
            self,
            offset=self.offset - self.drift * seconds,
            offset_std=np.where(drifting, np.hypot(self.offset_std, self.drift_std * seconds), self.offset_std),
        )

    def own_positions(self, frames: npt.ArrayLike) -> Floats:
        """Return where frames (N,) of the reference lie in each camera's own numbering (V, N), in frames."""
        numbers = np.asarray(frames, dtype=np.float64)
        return np.asarray(numbers * (1 + self.drift[:, None]) + self.offset_frames[:, None])

    def nearest_frames(self, view: int, numbers: npt.ArrayLike) -> Ints:
        """Return the frames of the reference nearest in time to frames (N,) of a camera's own numbering.

        They ascend, and may be negative. Where a clock is fast, two may be nearest to the same frame.
        """
        own = np.asarray(numbers, dtype=np.float64)
        return np.asarray(np.rint((own - self.offset_frames[view]) / (1 + self.drift[view])), dtype=np.int64)

    def check_rate(self, rate: float, where: str) -> None:
        """Check that a video has the frame rate for which the offsets hold; 0 is unknown.

        Raises:
            InputError: `rates-differ`, if it has another one.
        """
        if rate > 0 and abs(rate / self.frame_rate - 1) > _RATE_TOLERANCE:
            raise InputError(
                f"{where}: another frame rate than that of the cameras' clocks, found {rate:g}, expected "
                f"{self.frame_rate:g} frames/s. Run mvgeom sync with --fps {rate:g}, which is the rate that the video "
                "states",
                code="rates-differ",
                found=rate,
                expected=self.frame_rate,
            )

    def as_plain(self) -> dict[str, Any]:
        """Return the plain values that determine which frames belong together."""
        return {
            "frame_rate": self.frame_rate,
            "offset": self.offset.tolist(),
            "drift": self.drift.tolist(),
        }

    def describe(self) -> str:
        """Describe the offsets of the cameras in one line."""
        parts = []
        for name, offset, drift in zip(self.names, self.offset_frames, self.drift, strict=True):
            if name != self.reference:
                parts.append(f"{name} {offset:+.2f} frames" + (f" {1e6 * drift:+.0f} ppm" if drift else ""))
        return f"{', '.join(parts)}, against {self.reference}"


def interpolate_keypoints(
    points: Floats, clocks: Clocks, likelihood: Floats | None = None, frames: Ints | None = None
) -> tuple[Floats, Floats]:
    """Interpolate the keypoints of every camera at the times of the reference's frames.

    A position between two rows is a straight line between them, and missing where either is: no gap is bridged. A gap
    is a distance beyond the view's step: n frames if most of its rows with keypoints are n frames apart, as in tables
    of every n-th frame, and 1 without such a rule. The likelihood is the lower one of the two.

    Args:
        points: (N, V, K, 2) keypoints in px; row n is frame `frames[n]` of each camera's own numbering; NaN is missing.
        clocks: Clocks of the V cameras in the same order.
        likelihood: (N, V, K) likelihoods; None for none.
        frames: (N,) distinct frame numbers in any order, which may begin anywhere and have gaps; None for 0 to N - 1.

    Returns:
        Keypoints (N, V, K, 2); row n is frame `frames[n]` of the reference; NaN where missing. And their likelihoods
        (N, V, K); all 1 without `likelihood`.
    """
    numbers = np.arange(len(points)) if frames is None else np.asarray(frames, dtype=np.int64)
    given = np.ones(points.shape[:3]) if likelihood is None else likelihood
    result, lowest = np.full_like(points, np.nan), np.full(points.shape[:3], np.nan)
    order = np.argsort(numbers)
    for view, positions in enumerate(clocks.own_positions(numbers)):
        rows = order[np.isfinite(points[order, view]).all(-1).any(-1)]
        if not len(rows):
            continue
        known = numbers[rows]
        first = np.searchsorted(known, positions + _EXACT, side="right") - 1
        inside = first >= 0
        share = positions - known[first]
        share[share < _EXACT] = 0
        second = np.minimum(first + (share > 0), len(rows) - 1)
        width = known[second] - known[first]
        inside &= (share == 0) | ((width > 0) & (width <= _step(known)))
        share = (share[inside] / np.maximum(width[inside], 1))[:, None, None]
        one, other = rows[first[inside]], rows[second[inside]]
        result[inside, view] = (1 - share) * points[one, view] + share * points[other, view]
        lowest[inside, view] = np.minimum(given[one, view], given[other, view])
    return result, lowest


def _step(numbers: Ints) -> int:
    """Return the distance of most of the ascending frame numbers to the next one; 1 if there is none such."""
    widths, counts = np.unique(np.diff(numbers), return_counts=True)
    most = int(counts.argmax()) if len(counts) else 0
    return int(widths[most]) if len(numbers) > 2 and 2 * counts[most] > counts.sum() else 1
