"""Error bars in 3D that were fitted to labels, kept beside the weights.

The views' disagreement tells how large those errors are that differ from view to view. What the views share, only known
positions tell: `mvtrain.evaluation.fits_to_labels` compares predictions with the labels of the validation split.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mvgeom import SharedError
from mvgeom.documents import parse_yaml
from mvgeom.errors import InputError
from mvgeom.files import read_text, write_text
from mvgeom.wording import counted

OTHER_UNIT = 4.0
"""Ratio of the subject's sizes, either way, beyond which a recording's calibration must be in another unit."""

NOT_FITTED = (
    "standard deviations in 3D are those of the views' disagreement, not fitted to labels (mvtrain evaluate RUN "
    "--fit-confidence)"
)


@dataclass(frozen=True, kw_only=True)
class ErrorBars:
    """Standard deviations of triangulated predictions, as labels show them.

    A coordinate has the variance `(scale s)^2 + std^2`, where s is the standard deviation by the disagreement of the
    views over the recording.

    Attributes:
        scale: Factor of the standard deviations by the views' disagreement, 1 or more.
        std: Standard deviation of each of the K keypoints that is added, in the unit of the project's calibration.
        factor: Factor of `mvgeom.left_out` of the frames that it was fitted to. In a recording where it is larger, the
            scale grows with it.
        size: Median size of the subject in the same unit, see `subject_size_3d`.
        num_frames: Number of frames of the fit.
        num_points: Number of positions of the fit.

    Raises:
        InputError: `not-finite`, or `out-of-range` for a scale or factor below 1, a negative standard deviation, or a
            size of 0.
    """

    scale: float
    std: tuple[float, ...]
    factor: float
    size: float
    num_frames: int
    num_points: int

    def __post_init__(self) -> None:
        numbers = (self.scale, *self.std, self.factor, self.size, self.num_frames, self.num_points)
        if not all(isinstance(value, int | float) and np.isfinite(value) for value in numbers):
            raise InputError(f"error bars: expected finite numbers, found {numbers}", code="not-finite")
        if self.scale < 1 or self.factor < 1 or self.size <= 0 or min(self.std, default=0.0) < 0:
            raise InputError(
                f"error bars: expected scale and factor from 1, std from 0 and size > 0, found {numbers}",
                code="out-of-range",
            )

    def in_recording(self, factor: float, size: float) -> SharedError:
        """Return the shared errors of a recording, in its calibration's unit.

        Args:
            factor: Factor of `mvgeom.left_out` of the recording.
            size: Size of the subject, see `subject_size_3d`; NaN where it is not known.
        """
        ratio = size / self.size
        in_other_unit = np.isfinite(ratio) and ratio > 0 and not 1 / OTHER_UNIT < ratio < OTHER_UNIT
        return SharedError(
            scale=self.scale * max(1.0, factor / self.factor),
            std=np.array(self.std) * (ratio if in_other_unit else 1.0),
        )

    def describe(self) -> str:
        """Describe the standard deviations, as a phrase."""
        typical = float(np.median(self.std)) if self.std else 0.0
        return (
            f"standard deviations in 3D are those of the labels: {self.scale:.3g} times the views' disagreement and "
            f"{typical:.3g} in the calibration's unit (fitted to {counted(self.num_points, 'point')} of "
            f"{counted(self.num_frames, 'frame')})"
        )


def shared_to_plain(shared: SharedError) -> dict[str, Any]:
    """Return shared errors as plain values, for the summary of a recording."""
    return {"scale": float(f"{shared.scale:.6g}"), "std": [float(f"{value:.6g}") for value in shared.std]}


def shared_from_plain(values: Any) -> SharedError:
    """Return the shared errors of a summary.

    Raises:
        InputError: `not-finite` or `out-of-range`. Besides, TypeError, KeyError or ValueError.
    """
    return SharedError(scale=float(values["scale"]), std=np.array([float(value) for value in values["std"]]))


def combined_error_bars(networks: Sequence[ErrorBars | None]) -> ErrorBars | None:
    """Return the error bars of an ensemble of which only those of its networks are known; None if any has none.

    Nothing tells which errors the networks share: the root mean square holds if they share all.
    """
    known = [each for each in networks if each is not None]
    if not known or len(known) < len(networks):
        return None

    def square_mean(values: Sequence[Any]) -> Any:
        return np.sqrt(np.mean(np.square(values), axis=0))

    return ErrorBars(
        scale=float(square_mean([each.scale for each in known])),
        std=tuple(square_mean([each.std for each in known]).tolist()),
        factor=float(np.median([each.factor for each in known])),
        size=float(np.median([each.size for each in known])),
        num_frames=min(each.num_frames for each in known),
        num_points=min(each.num_points for each in known),
    )


def subject_size_3d(points: np.ndarray) -> float:
    """Return the median over frames of the diagonal of the box around the keypoints (N, K, 3); NaN without any frame.

    Frames in which fewer keypoints than usual are known do not count: their box is too small.
    """
    known = np.isfinite(points).all(-1)
    count = known.sum(1)
    if not known.any():
        return float("nan")
    rows = (count >= 2) & (count >= np.median(count[count > 0]))
    if not rows.any():
        return float("nan")
    chosen = np.where(known[rows][..., None], points[rows], np.nan)
    return float(np.median(np.linalg.norm(np.nanmax(chosen, axis=1) - np.nanmin(chosen, axis=1), axis=-1)))


def ensemble_checksum(checksums: Sequence[str]) -> str:
    """Return the checksum that stands for the weights of several networks in any order; of one, its own."""
    return checksums[0] if len(checksums) == 1 else hashlib.sha256("\n".join(sorted(checksums)).encode()).hexdigest()


def save_error_bars(folder: Path, checksum: str, error_bars: ErrorBars | None) -> Path | None:
    """Save error bars named by the weights that they were fitted to, and remove all others of the folder.

    Args:
        folder: Folder of the checkpoint, or of the ensemble.
        checksum: Checksum of its weights, see `ensemble_checksum`.
        error_bars: Error bars; None only removes.

    Returns:
        Path of the file, if there is one.

    Raises:
        InputError: The folder cannot be written.
    """
    path = _path(folder, checksum)
    if error_bars is not None:
        fields = dataclasses.asdict(error_bars) | {"std": list(error_bars.std)}
        comment = f"# {error_bars.describe()}\n# variance = (scale s)^2 + std^2, s by the views' disagreement\n"
        write_text(path, comment + yaml.safe_dump(fields, sort_keys=False))
    for old in folder.glob(_path(folder, "*").name):
        if error_bars is None or old != path:
            old.unlink()
    return path if error_bars is not None else None


def load_error_bars(folder: Path, checksum: str, num_keypoints: int) -> ErrorBars | None:
    """Load the error bars that were fitted to these weights; None without any.

    Raises:
        InputError: `damaged-file`.
    """
    path = _path(folder, checksum)
    if not path.is_file():
        return None
    try:
        fields = parse_yaml(read_text(path), path)
        found = ErrorBars(**fields | {"std": tuple(fields["std"])})
        if len(found.std) != num_keypoints:
            raise TypeError(f"found {counted(len(found.std), 'keypoint')}, expected {num_keypoints}")
    except (TypeError, KeyError, InputError) as error:
        raise InputError(
            f"{path}: does not describe error bars in 3D: {error}. Fit them again with mvtrain evaluate RUN "
            "--fit-confidence, or remove the file.",
            code="damaged-file",
            path=path,
        ) from error
    return found


def _path(folder: Path, checksum: str) -> Path:
    # Named by the weights, as the calibration of confidence is.
    return folder / f"error_bars-{checksum[:12]}.yaml"
