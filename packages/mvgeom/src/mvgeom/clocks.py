"""Clocks of cameras that are not synchronized: offset and drift, their file beside the calibration, their use.

What the reference camera shows at t seconds of its recording, a camera shows at offset + (1 + drift) t seconds of its
own. Frame n of a recording is at n / frame rate seconds. A positive offset means that a camera shows things late.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mvgeom.documents import parse_json
from mvgeom.errors import InputError
from mvgeom.files import read_text, write_text

__all__ = [
    "CLOCKS_SUFFIX",
    "Clocks",
    "clocks_file",
    "copy_clocks",
    "find_clocks",
    "interpolate_keypoints",
    "load_clocks",
    "save_clocks",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CLOCKS_SUFFIX = ".sync.json"
"""End of the file's name, after the calibration's name without its suffix."""

_RATE_TOLERANCE = 0.01
_EXACT = 1e-6
"""Part of a frame up to which a position is a frame itself."""

_LARGEST_DRIFT = 0.5
_PURPOSE = (
    "Clocks of cameras. What the reference shows at t seconds of its recording, a camera shows at "
    "offset + (1 + drift) t seconds of its own. Written by mvgeom sync."
)
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


def clocks_file(calibration: Path) -> Path:
    """Return the path of the clocks that belong to a calibration file or folder, beside it, which need not exist."""
    path = calibration if calibration.name not in ("", "..") else calibration.resolve()
    name = path.name if path.is_dir() else path.stem
    return path.with_name(f"{name}{CLOCKS_SUFFIX}")


def find_clocks(calibration: Path) -> Clocks | None:
    """Load the clocks beside a calibration; None where there are none.

    Raises:
        InputError: As `load_clocks`.
    """
    path = clocks_file(calibration)
    return load_clocks(path) if path.is_file() else None


def copy_clocks(calibration: Path, target: Path, renamed: Mapping[str, str] | None = None) -> Path | None:
    """Write the clocks beside a calibration beside a copy of it, too; return their path, None where there are none.

    Args:
        calibration: Calibration file or folder.
        target: Its copy.
        renamed: New names of cameras by old ones; others keep their names.

    Raises:
        InputError: As `load_clocks` and `save_clocks`.
    """
    clocks, path = find_clocks(calibration), clocks_file(target)
    if clocks is None:
        return None
    if renamed:
        names = tuple(renamed.get(name, name) for name in clocks.names)
        clocks = replace(clocks, names=names, reference=renamed.get(clocks.reference, clocks.reference))
    if renamed or path.absolute() != clocks_file(calibration).absolute():
        save_clocks(clocks, path)
    return path


def load_clocks(path: Path) -> Clocks:
    """Load the clocks of cameras from their JSON file.

    Raises:
        InputError: `unreadable-file`, `not-text` or `invalid-syntax`, if it is no JSON; `missing-field`, `bad-field` or
            `bad-number`, if an entry is missing or wrong; further codes of `Clocks`. The message names the file.
    """
    document = parse_json(read_text(path), path)
    cameras = document.get("cameras") if isinstance(document, dict) else None
    if not isinstance(cameras, dict) or not cameras:
        raise InputError(
            f"{path}: not the clocks of cameras: there is no map 'cameras'. Write it with mvgeom sync",
            code="missing-field",
            path=path,
            field="cameras",
        )
    reference = document.get("reference")
    if not isinstance(reference, str) or reference not in cameras:
        raise InputError(
            f"{path}: reference must be one of the cameras, found {reference!r}, expected one of {list(cameras)}",
            code="bad-field",
            path=path,
            field="reference",
        )
    rows = [_read_camera(name, entry, path) for name, entry in cameras.items()]
    rate = _number(document.get("frame_rate"), f"{path}: frame_rate", path, "frame_rate")
    try:
        return Clocks(
            names=tuple(cameras),
            reference=reference,
            frame_rate=rate,
            **{field: np.array([row[field] for row in rows]) for field in _FIELDS},
        )
    except InputError as error:
        raise error.prefixed(f"{path}: ", path=path) from error


def save_clocks(clocks: Clocks, path: Path) -> None:
    """Save the clocks of cameras as JSON; the file is replaced atomically.

    Raises:
        InputError: `unwritable-file`, if the file cannot be written.
    """
    cameras: dict[str, dict[str, float | None]] = {}
    for row, name in enumerate(clocks.names):
        values = {field: float(getattr(clocks, field)[row]) for field in _FIELDS}
        cameras[name] = {field: value if np.isfinite(value) else None for field, value in values.items()}
    document = {
        "purpose": _PURPOSE,
        "units": {"offset": "s", "drift": "s per s", "frame_rate": "frames per s"},
        "reference": clocks.reference,
        "frame_rate": clocks.frame_rate,
        "cameras": cameras,
    }
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def interpolate_keypoints(points: Floats, clocks: Clocks, likelihood: Floats | None = None) -> tuple[Floats, Floats]:
    """Interpolate the keypoints of every camera at the times of the reference's frames.

    A position between two frames is a straight line between them, and missing where either is: no gap is bridged. The
    likelihood is the lower one of the two.

    Args:
        points: (N, V, K, 2) keypoints in px; row n is frame n of each camera's own numbering; NaN is missing.
        clocks: Clocks of the V cameras in the same order.
        likelihood: (N, V, K) likelihoods; None for none.

    Returns:
        Keypoints (N, V, K, 2); row n is frame n of the reference; NaN where missing. And their likelihoods (N, V, K);
        all 1 without `likelihood`.
    """
    count = len(points)
    given = np.ones(points.shape[:3]) if likelihood is None else likelihood
    result, lowest = np.full_like(points, np.nan), np.full(points.shape[:3], np.nan)
    for view, positions in enumerate(clocks.own_positions(np.arange(count))):
        before = np.floor(positions + _EXACT).astype(np.int64)
        part = np.clip(positions - before, 0, 1)
        part[part < _EXACT] = 0
        after = before + (part > 0)
        inside = (before >= 0) & (after < count)
        first, second, share = before[inside], after[inside], part[inside, None, None]
        result[inside, view] = (1 - share) * points[first, view] + share * points[second, view]
        lowest[inside, view] = np.minimum(given[first, view], given[second, view])
    return result, lowest


def _read_camera(name: str, entry: Any, path: Path) -> dict[str, float]:
    if not isinstance(entry, dict):
        raise InputError(
            f"{path}: camera {name!r}: must be a map, found {entry!r}", code="bad-field", path=path, view=name
        )
    missing = [field for field in ("offset", "drift") if field not in entry]
    if missing:
        raise InputError(
            f"{path}: camera {name!r} has no {missing[0]}", code="missing-field", path=path, view=name, field=missing[0]
        )
    values = {field: entry.get(field) for field in _FIELDS}
    return {
        field: float("nan")
        if value is None and field.endswith("_std")
        else _number(value, f"{path}: camera {name!r}: {field}", path, field)
        for field, value in values.items()
    }


def _number(value: Any, where: str, path: Path, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where} must be a number, found {value!r}", code="bad-number", path=path, field=field)
    return float(value)
