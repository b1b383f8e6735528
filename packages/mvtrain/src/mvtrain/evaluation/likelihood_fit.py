"""Calibration of likelihoods: the fit of the map from confidence, and its reliability.

A likelihood p states that of such keypoints a share p lies within `share` of the subject's size of their true places.
The distance is relative to the subject, so that p means the same at any image size and in every view. Its default is
0.1, at which percentages of correct keypoints are usually given: the point is on the right part of the body. Hidden
keypoints count as well, as far as labels give their places: recordings have many of them, and at the same confidence
their errors are larger than those of visible ones.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit

from mvgeom.errors import InputError
from mvtrain.evaluation.evaluation import Evaluation
from mvtrain.model.likelihood import ConfidenceMap, log_odds_terms
from mvtrain.project.held_out import EVALUATED_SPLITS

DEFAULT_SHARE = 0.1
"""Share of the subject's size within which a keypoint counts as found."""

NUM_BINS = 10
"""Number of bins of confidence."""

_PRIOR = 1.0
"""Cost of a departure from powers of 1, in nats: it matters for few points, and hardly for many."""


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
