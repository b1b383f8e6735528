"""Whether a likelihood is what it says, and fitting the map that makes it so.

A likelihood p says: of such keypoints a share p lies within `share` of the subject's size of where they truly are.
The distance is relative to the subject, so that p means the same at any image size and in every view; unless asked
otherwise it is 0.1, at which percentages of correct keypoints are usually given: the point is on the right part of the
body. Hidden keypoints count as well, as far as labels tell where they are: recordings are full of them, and at the same
confidence they are further off than visible ones.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit

from mvtrain.evaluate.evaluation import Evaluation
from mvtrain.model.likelihood import ConfidenceMap, log_odds_terms
from mvtrain.project.splits import SET_NAMES

DEFAULT_SHARE = 0.1
NUM_BINS = 10
_PRIOR = 1.0
"""How much departing from powers of 1 costs, in nats: decides where few points do not, and fades with more."""


def outcomes(evaluation: Evaluation, share: float) -> np.ndarray:
    """(N, V, K) 1 where a keypoint was found within a share of the subject's size, 0 where not, NaN where unknown."""
    error = evaluation.relative_error
    return np.where(np.isfinite(error), error <= share, np.nan)


def fit_confidence(confidence: np.ndarray, found: np.ndarray, share: float) -> ConfidenceMap:
    """The map from confidence to the probability of being found, by maximum likelihood.

    Few points give no extremes: what they should be is not 0 and 1 but Platt's (1999) (n1 + 1) / (n1 + 2) and
    1 / (n0 + 2), and powers of 1, the network's own shape, are preferred a little.

    Args:
        confidence: (...) of the network, in [0, 1].
        found: (...) 1 where the keypoint was found, 0 where not, NaN where that is not known.
        share: what found means.

    Raises:
        ValueError: no point of which both are known.
    """
    known = np.isfinite(confidence) & np.isfinite(found)
    if not known.any():
        raise ValueError("no keypoint of known place to fit the calibration of confidence to")
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
    """Predicted beside observed, in bins of confidence.

    Args:
        confidence: (...) in [0, 1].
        found: (...) 1, 0, or NaN where unknown.

    Returns:
        Columns `lower`, `upper`, `count`, `predicted` (mean confidence), `observed` (share found); bins without a point
        are left out.
    """
    known = np.isfinite(confidence) & np.isfinite(found)
    said, success = confidence[known], found[known]
    bins = np.minimum((said * NUM_BINS).astype(int), NUM_BINS - 1)
    rows = [
        {
            "lower": number / NUM_BINS,
            "upper": (number + 1) / NUM_BINS,
            "count": int((bins == number).sum()),
            "predicted": float(said[bins == number].mean()),
            "observed": float(success[bins == number].mean()),
        }
        for number in np.unique(bins)
    ]
    return pd.DataFrame(rows, columns=["lower", "upper", "count", "predicted", "observed"])


def calibration_error(bins: pd.DataFrame) -> float:
    """Expected calibration error (ECE): mean distance between predicted and observed, bins weighted by count."""
    if bins["count"].sum() == 0:
        return float("nan")
    return float(np.average((bins["predicted"] - bins["observed"]).abs(), weights=bins["count"]))


def calibration_table(evaluation: Evaluation, share: float, confidence_map: ConfidenceMap | None) -> pd.DataFrame:
    """The reliability of every split, of the network's own confidence and of the calibrated one where there is one.

    Returns:
        Columns `split`; `confidence`: `raw` or `calibrated`; `points`: `visible`, `hidden` or `all`; those of
        `reliability`.
    """
    said = {"raw": evaluation.raw_confidence}
    if confidence_map is not None:
        said["calibrated"] = confidence_map(evaluation.raw_confidence)
    found = outcomes(evaluation, share)
    visible = np.isfinite(evaluation.pixel_error)
    parts = []
    for split in SET_NAMES:
        rows = evaluation.split == split
        for name, confidence in said.items():
            for points, chosen in (("visible", visible), ("hidden", ~visible), ("all", np.ones_like(visible))):
                bins = reliability(confidence[rows], np.where(chosen, found, np.nan)[rows])
                parts.append(bins.assign(split=split, confidence=name, points=points))
    table = pd.concat(parts, ignore_index=True)
    return table[["split", "confidence", "points", "lower", "upper", "count", "predicted", "observed"]]


def calibration_errors(table: pd.DataFrame) -> pd.DataFrame:
    """One row per split, confidence and points of a `calibration_table`.

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
