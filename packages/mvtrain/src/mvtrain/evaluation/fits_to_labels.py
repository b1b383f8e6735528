"""Fits to labels: the map from confidence to likelihood, and the error bars in 3D."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, ndtri

from mvgeom import covariance, reprojection_error
from mvgeom.errors import InputError
from mvgeom.reconstruction import keypoint_noise
from mvtrain.evaluation.evaluation import Evaluation
from mvtrain.model.error_bars import ErrorBars, subject_size_3d
from mvtrain.model.inference import FramePredictions
from mvtrain.model.likelihood import ConfidenceMap, log_odds_terms
from mvtrain.model.reconstruction import noise_of_sessions, observations, to_3d
from mvtrain.project.held_out import EVALUATED_SPLITS
from mvtrain.project.label_tables import VISIBLE
from mvtrain.project.labels_3d import triangulate_labels
from mvtrain.project.project import Project

DEFAULT_SHARE = 0.1
"""Share of the subject's size within which a keypoint counts as found."""

NUM_BINS = 10
"""Number of bins of confidence."""

_PRIOR = 1.0
"""Cost of a departure from powers of 1, in nats: it matters for few points, and hardly for many."""

LEAST_FRAMES = 10
"""Fewest frames with a label in 3D: errors of the keypoints of a frame are not independent."""

LEAST_POINTS = 50
"""Fewest positions with a label in 3D."""

_LEVEL = 0.9
"""Share of the residuals that lie in their interval of this probability."""

_FREEDOM = 4.0
"""Degrees of freedom of Student's t: tails as networks have them."""

_SCALES = np.geomspace(1.0, 8.0, 19)
"""Scales that are tried; what is left is up to the common factor."""

_LARGEST = 100.0
"""Largest common factor, and largest `std` in typical residuals."""

_LEAST_SHARE = 1e-3
"""Typical residuals that `std` cannot be below; about that is none."""

_CONTRADICTION = 3.0
"""Residual of a position's labels, in standard deviations of labels, beyond which they contradict each other."""

_SPREAD_OF_KEYPOINTS = 0.5
"""Prior standard deviation of the logarithm of a keypoint's `std` about that of all: matters for few points."""


def outcomes(evaluation: Evaluation, share: float) -> np.ndarray:
    """Return (N, V, K) 1 where a keypoint lies within a share of the subject's size, 0 where not, NaN where unknown."""
    error = evaluation.relative_error
    return np.where(np.isfinite(error), error <= share, np.nan)


def fit_confidence(confidence: np.ndarray, found: np.ndarray, share: float) -> ConfidenceMap:
    """Fit the map from confidence to the probability of being found, by maximum likelihood.

    Few points must not give extreme probabilities: the targets are not 0 and 1 but Platt's (1999) (n1 + 1) / (n1 + 2)
    and 1 / (n0 + 2), and powers of 1, the network's own shape, are preferred slightly.

    Args:
        confidence: (...) confidence of the network, in [0, 1].
        found: (...) 1 where the keypoint was found, 0 where not, NaN where that is not known.
        share: Share of the subject's size within which a keypoint counts as found.

    Raises:
        InputError: `no-labels` if there is no point with both.
    """
    known = np.isfinite(confidence) & np.isfinite(found)
    if not known.any():
        raise InputError(
            "calibration of confidence: found no keypoint with a known place, expected at least one", code="no-labels"
        )
    seen, success = confidence[known], found[known] > 0.5
    num_found, num_lost = int(success.sum()), int((~success).sum())
    target = np.where(success, (num_found + 1) / (num_found + 2), 1 / (num_lost + 2))
    low, high = log_odds_terms(seen)
    terms = np.stack([low, -high, np.ones_like(low)], axis=-1)
    neutral = np.array([1.0, 1.0, 0.0])

    def cost(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        odds = terms @ parameters
        off = (parameters - neutral) * [_PRIOR, _PRIOR, 0.0]
        value = np.logaddexp(0, odds).sum() - target @ odds + 0.5 * off @ (parameters - neutral)
        return float(value), (expit(odds) - target) @ terms + off

    bounds = [(0, None), (0, None), (None, None)]
    fitted = minimize(cost, neutral, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 1000})
    low_power, high_power, offset = map(float, fitted.x)
    return ConfidenceMap(
        share=share,
        low_power=low_power,
        high_power=high_power,
        offset=offset,
        lowest=float(seen.min()),
        highest=float(seen.max()),
        num_points=len(seen),
    )


def reliability(confidence: np.ndarray, found: np.ndarray) -> pd.DataFrame:
    """Compare predicted with observed shares in bins of confidence.

    Args:
        confidence: (...) in [0, 1].
        found: (...) 1, 0, or NaN where unknown.

    Returns:
        Columns `lower`, `upper`, `count`, `predicted` (mean confidence), `observed` (share found); bins without a point
        are left out.
    """
    known = np.isfinite(confidence) & np.isfinite(found)
    given, success = confidence[known], found[known]
    bins = np.minimum((given * NUM_BINS).astype(int), NUM_BINS - 1)
    rows = [
        {
            "lower": number / NUM_BINS,
            "upper": (number + 1) / NUM_BINS,
            "count": int((bins == number).sum()),
            "predicted": float(given[bins == number].mean()),
            "observed": float(success[bins == number].mean()),
        }
        for number in np.unique(bins)
    ]
    return pd.DataFrame(rows, columns=["lower", "upper", "count", "predicted", "observed"])


def calibration_error(bins: pd.DataFrame) -> float:
    """Compute the expected calibration error (ECE): mean |predicted - observed|, bins weighted by count."""
    if bins["count"].sum() == 0:
        return float("nan")
    return float(np.average((bins["predicted"] - bins["observed"]).abs(), weights=bins["count"]))


def calibration_table(evaluation: Evaluation, share: float, confidence_map: ConfidenceMap | None) -> pd.DataFrame:
    """Make the table of reliability by split, of the network's own confidence and, if there is one, the calibrated.

    Returns:
        Columns `split`; `confidence`: `raw` or `calibrated`; `points`: `visible`, `hidden` or `all`; those of
        `reliability`.
    """
    given = {"raw": evaluation.raw_confidence}
    if confidence_map is not None:
        given["calibrated"] = confidence_map(evaluation.raw_confidence)
    found = outcomes(evaluation, share)
    visible = np.isfinite(evaluation.pixel_error)
    parts = []
    for split in EVALUATED_SPLITS:
        rows = evaluation.split == split
        for name, confidence in given.items():
            for points, chosen in (("visible", visible), ("hidden", ~visible), ("all", np.ones_like(visible))):
                bins = reliability(confidence[rows], np.where(chosen, found, np.nan)[rows])
                parts.append(bins.assign(split=split, confidence=name, points=points))
    table = pd.concat(parts, ignore_index=True)
    return table[["split", "confidence", "points", "lower", "upper", "count", "predicted", "observed"]]


def calibration_errors(table: pd.DataFrame) -> pd.DataFrame:
    """Summarize a `calibration_table` in one row per split, confidence and points.

    Returns:
        Columns `split`, `confidence`, `points`, `count`, `predicted`, `observed`, `calibration_error`.
    """
    rows = []
    for (split, confidence, points), bins in table.groupby(["split", "confidence", "points"], sort=False):
        weights = bins["count"]
        rows.append(
            {
                "split": split,
                "confidence": confidence,
                "points": points,
                "count": int(weights.sum()),
                "predicted": float(np.average(bins["predicted"], weights=weights)),
                "observed": float(np.average(bins["observed"], weights=weights)),
                "calibration_error": calibration_error(bins),
            }
        )
    columns = ["split", "confidence", "points", "count", "predicted", "observed", "calibration_error"]
    return pd.DataFrame(rows, columns=columns)


@dataclass(frozen=True, kw_only=True, eq=False)
class Residuals:
    """Coordinates of predictions beside those of labels: M of them.

    Attributes:
        value: (M,) differences in the calibration's unit.
        stated: (M,) standard deviations by the disagreement of the predicted views.
        label: (M,) standard deviations of the labels.
        keypoint: (M,) numbers of the keypoints.
    """

    value: np.ndarray
    stated: np.ndarray
    label: np.ndarray
    keypoint: np.ndarray


def fit_error_bars(
    project: Project, predictions: FramePredictions, rows: np.ndarray, confidence_map: ConfidenceMap | None
) -> ErrorBars | None:
    """Fit the error bars of a network to the labels of some frames.

    Args:
        project: Project with calibrated cameras.
        predictions: Predictions of N of its frames, all that there are: their noise is estimated together.
        rows: (N,) booleans, True for the frames to fit to, which the network has not learned from.
        confidence_map: Calibration of the confidence, if there is one.

    Returns:
        The error bars; None without cameras, or with fewer than `LEAST_FRAMES` frames or `LEAST_POINTS` positions.
    """
    labels = triangulate_labels(project)[predictions.index]
    deviation = label_deviation(project)[predictions.index]
    points, std = np.full_like(labels, np.nan), np.full_like(labels, np.nan)
    observed = observations(predictions, confidence_map)
    factors, counts = [1.0], [0]
    for cameras, same, noise in noise_of_sessions(project, predictions, confidence_map):
        chosen = [row for row in same if rows[row]]
        if chosen:
            found = to_3d(observed[chosen], cameras, replace(noise, factor=1.0))
            points[chosen], std[chosen] = found.points, found.std
            factors, counts = [*factors, noise.factor], [*counts, len(chosen)]
    known = np.isfinite(points) & np.isfinite(std) & np.isfinite(labels) & np.isfinite(deviation)
    whole = known.all(-1)
    size = subject_size_3d(points)
    if whole.any(1).sum() < LEAST_FRAMES or whole.sum() < LEAST_POINTS or not size > 0:
        return None
    keypoints = np.broadcast_to(np.arange(whole.shape[1])[:, None], known.shape)
    residuals = Residuals(
        value=(points - labels)[known],
        stated=std[known],
        label=deviation[known],
        keypoint=keypoints[known],
    )
    scale, std = fit_scale_and_std(residuals, whole.shape[1])
    return ErrorBars(
        scale=scale,
        std=tuple(std.tolist()),
        factor=float(np.average(factors, weights=counts)),
        size=size,
        num_frames=int(whole.any(1).sum()),
        num_points=int(whole.sum()),
    )


def label_deviation(project: Project) -> np.ndarray:
    """Return standard deviations (N, K, 3) of triangulated labels by the disagreement of their views; NaN is missing.

    The noise is that of all labels of a calibration; where labels contradict each other, that of their own residuals.
    """
    visible = (project.visibility == VISIBLE)[..., None]
    points = np.where(visible, project.points_full, np.nan)
    places = triangulate_labels(project)
    found = np.full(places.shape, np.nan)
    for cameras in {id(group): group for group in project.cameras if group is not None}.values():
        if len(cameras) < 2:
            continue
        rows = [row for row, group in enumerate(project.cameras) if group is cameras]
        flat = np.moveaxis(points[rows], 1, 0).reshape(len(cameras), -1, 2)
        noise = keypoint_noise(flat, cameras)
        error = reprojection_error(places[rows], points[rows], cameras)
        seen = np.isfinite(error)
        # Of V views, 2V - 3 residuals are free.
        own = np.sqrt(np.where(seen, error**2, 0.0).sum(1) / np.maximum(2 * seen.sum(1) - 3, 1))
        typical = noise if np.isfinite(noise) else 0.0
        each = np.where(own > _CONTRADICTION * typical, own, typical)
        # The covariance is proportional to the square of the noise, which may be 0.
        unit = covariance(places[rows], cameras, 1.0, seen)
        found[rows] = each[..., None] * np.sqrt(np.diagonal(unit, axis1=-2, axis2=-1))
    return found


def fit_scale_and_std(residuals: Residuals, num_keypoints: int) -> tuple[float, np.ndarray]:
    """Fit the scale, 1 or more, and the standard deviations (K,) that are added.

    Args:
        residuals: Residuals.
        num_keypoints: Number K of keypoints; one without residuals has the standard deviation of all.
    """
    parts = [np.flatnonzero(residuals.keypoint == number) for number in range(num_keypoints)]
    fits = [_fit_std(residuals, float(scale), parts) for scale in _SCALES]
    scale, (_, std) = min(zip(_SCALES, fits, strict=True), key=lambda fit: fit[1][0])
    factor = _factor(residuals, scale, std)
    if factor * scale >= 1:
        return float(factor * scale), factor * std
    # The views' disagreement alone explains nearly all: what is left is added.
    return 1.0, _factor(residuals, 1.0, std, keep_scale=True) * std


def _fit_std(residuals: Residuals, scale: float, parts: Sequence[np.ndarray]) -> tuple[float, np.ndarray]:
    """Fit the standard deviations that are added to a given scale.

    Args:
        residuals: Residuals.
        scale: Scale.
        parts: Per keypoint the indices of its residuals.

    Returns:
        Negative log likelihood but for a constant, and the standard deviations (K,); 0 for those that are negligible.
    """
    typical = max(float(np.median(np.abs(residuals.value))), np.finfo(np.float64).tiny)
    known = (scale * residuals.stated) ** 2 + residuals.label**2 + (1e-9 * typical) ** 2
    square = residuals.value**2

    def loss(logarithm: float, chosen: np.ndarray | slice) -> float:
        variance = known[chosen] + np.exp(2 * logarithm)
        tails = (_FREEDOM + 1) * np.log1p(square[chosen] / variance / _FREEDOM)
        return float((0.5 * np.log(variance) + 0.5 * tails).sum())

    def least(cost: Callable[[float], float], limits: tuple[float, float]) -> tuple[float, float]:
        fit = minimize_scalar(cost, bounds=limits, method="bounded")
        return float(fit.x), float(fit.fun)

    limits = np.log(_LEAST_SHARE * typical), np.log(_LARGEST * typical)
    pooled, _ = least(lambda logarithm: loss(logarithm, slice(None)), limits)
    total = 0.0
    logarithms: list[float] = []
    for part in parts:

        def cost(logarithm: float, part: np.ndarray = part) -> float:
            return loss(logarithm, part) + 0.5 * ((logarithm - pooled) / _SPREAD_OF_KEYPOINTS) ** 2

        found, value = least(cost, limits) if len(part) else (pooled, 0.0)
        total, logarithms = total + value, [*logarithms, found]
    std = np.exp(logarithms)
    return total, np.where(std > 2 * _LEAST_SHARE * typical, std, 0.0)


def _factor(residuals: Residuals, scale: float, std: np.ndarray, *, keep_scale: bool = False) -> float:
    """Return the least factor, 0 or more, of `scale` and `std`, or of `std` alone, that intervals of 90 % need."""
    stated = (scale * residuals.stated) ** 2
    added = std[residuals.keypoint] ** 2

    def covered(factor: float) -> float:
        square = factor**2 * added + (stated if keep_scale else factor**2 * stated) + residuals.label**2
        return float((np.abs(residuals.value) <= ndtri(0.5 + _LEVEL / 2) * np.sqrt(square)).mean())

    low, high = 0.0, _LARGEST
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if covered(middle) < _LEVEL else (low, middle)
    return high
