"""Likelihoods: a monotone map from the network's confidence to a probability, kept beside the weights.

A calibrated likelihood is the probability that the keypoint, visible or not, lies within a stated share of the
subject's size in the image of its true place. `mvtrain.evaluation.fits_to_labels` fits the map.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from scipy.special import expit

from mvgeom.documents import parse_yaml
from mvgeom.errors import InputError
from mvgeom.files import read_text, write_text
from mvgeom.wording import counted

_MARGIN = 1e-6
"""Confidence is kept this far from 0 and 1, where its logarithms are infinite."""

_LARGEST = 1 - 1e-6
"""Largest likelihood that a weight follows from; a map's values are below it but for a million points."""

NOT_CALIBRATED = "likelihood is the network's own confidence, not calibrated (mvtrain evaluate RUN --fit-confidence)"


@dataclass(frozen=True, kw_only=True)
class ConfidenceMap:
    """Beta calibration (Kull, Silva Filho and Flach 2017): logit p = a ln c - b ln(1 - c) + d with a, b >= 0: monotone.

    The identity is a = b = 1, d = 0. Beyond the confidences it was fitted to, the map is constant. Its values lie
    between 1 / (n + 2) and (n + 1) / (n + 2), however well the n points of the fit were found.

    Attributes:
        share: Share of the subject's size within which a keypoint counts as found.
        low_power: The a above.
        high_power: The b above.
        offset: The d above.
        lowest: Smallest confidence of the fit.
        highest: Largest confidence of the fit.
        num_points: Number n of points of the fit.

    Raises:
        InputError: `not-finite`, or `out-of-range` for negative powers, no points or bounds outside [0, 1].
    """

    share: float
    low_power: float
    high_power: float
    offset: float
    lowest: float
    highest: float
    num_points: int

    def __post_init__(self) -> None:
        numbers = dataclasses.astuple(self)
        if not all(isinstance(value, int | float) and np.isfinite(value) for value in numbers):
            raise InputError(
                f"confidence map: expected finite numbers, found {dataclasses.asdict(self)}", code="not-finite"
            )
        ordered = 0 <= self.lowest <= self.highest <= 1
        if self.share <= 0 or self.low_power < 0 or self.high_power < 0 or self.num_points < 1 or not ordered:
            raise InputError(
                "confidence map: expected share > 0, powers >= 0, 0 <= lowest <= highest <= 1 and num_points >= 1, "
                f"found {dataclasses.asdict(self)}",
                code="out-of-range",
            )

    def __call__(self, confidence: np.ndarray) -> np.ndarray:
        """Return the likelihoods (...) of the network's confidence (...) in [0, 1]; NaN stays NaN."""
        low, high = log_odds_terms(np.clip(confidence, self.lowest, self.highest))
        found = expit(self.low_power * low - self.high_power * high + self.offset)
        return np.clip(found, 1 / (self.num_points + 2), (self.num_points + 1) / (self.num_points + 2))

    def describe(self) -> str:
        """Describe the meaning of its likelihoods, as a phrase."""
        return (
            f"likelihood is calibrated: the probability that a keypoint lies within {self.share:.3g} of the subject's "
            f"size of its place (fitted to {counted(self.num_points, 'point')})"
        )


def log_odds_terms(confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ln c and ln(1 - c), finite also at 0 and 1."""
    inside = np.clip(confidence, _MARGIN, 1 - _MARGIN)
    return np.log(inside), np.log1p(-inside)


def describe_likelihood(confidence_map: ConfidenceMap | None) -> str:
    """Describe the meaning of a run's likelihoods, as a phrase for the log."""
    return NOT_CALIBRATED if confidence_map is None else confidence_map.describe()


def calibrated(confidence: np.ndarray, confidence_map: ConfidenceMap | None) -> np.ndarray:
    """Return the likelihoods of the network's confidence; without a calibration the confidence itself."""
    return confidence if confidence_map is None else confidence_map(confidence)


def view_weights(confidence: np.ndarray, confidence_map: ConfidenceMap | None) -> np.ndarray:
    """Compute the weights of predictions in a triangulation: inverse variances up to a common factor.

    Without a calibration that is the confidence itself. With one it is -ln(1 - p): the inverse variance of an isotropic
    Gaussian that has probability p within a circle of given radius r, since p = 1 - exp(-r^2 / (2 sigma^2)).

    Args:
        confidence: (...) confidence of the network; NaN stays NaN.
        confidence_map: Calibration of the confidence, if there is one.
    """
    return weights_from_likelihood(calibrated(confidence, confidence_map), is_calibrated=confidence_map is not None)


def weights_from_likelihood(likelihood: np.ndarray, *, is_calibrated: bool) -> np.ndarray:
    """Compute the weights of `view_weights` from likelihoods as tables have them.

    Args:
        likelihood: (...) likelihoods; NaN stays NaN.
        is_calibrated: True for probabilities, False for the network's own confidence.
    """
    # Tables have four digits: a likelihood of 1 there is below it.
    return -np.log1p(-np.minimum(likelihood, _LARGEST)) if is_calibrated else likelihood


def save_confidence(checkpoint: Path, checksum: str, confidence_map: ConfidenceMap) -> Path:
    """Save a map beside the weights that it was fitted to, and remove maps of older weights.

    Args:
        checkpoint: Folder of the checkpoint.
        checksum: Checksum of its weights.
        confidence_map: Map to save.

    Returns:
        Path of the file.

    Raises:
        InputError: The folder cannot be written.
    """
    path = _path(checkpoint, checksum)
    comment = f"# {confidence_map.describe()}\n# logit p = low_power ln c - high_power ln(1 - c) + offset\n"
    write_text(path, comment + yaml.safe_dump(dataclasses.asdict(confidence_map), sort_keys=False))
    for old in checkpoint.glob(_path(checkpoint, "*").name):
        if old != path:
            old.unlink()
    return path


def load_confidence(checkpoint: Path, checksum: str) -> ConfidenceMap | None:
    """Load the map that was fitted to these weights; None without one.

    Raises:
        InputError: `damaged-file`.
    """
    path = _path(checkpoint, checksum)
    if not path.is_file():
        return None
    try:
        return ConfidenceMap(**parse_yaml(read_text(path), path))
    except (TypeError, InputError) as error:
        raise InputError(
            f"{path}: does not describe a calibration of confidence: {error}. Fit it again with mvtrain evaluate RUN "
            "--fit-confidence, or remove it.",
            code="damaged-file",
            path=path,
        ) from error


def _path(checkpoint: Path, checksum: str) -> Path:
    # Named by the weights: further training replaces them, and a map must not be used with other weights.
    return checkpoint / f"confidence-{checksum[:12]}.yaml"
