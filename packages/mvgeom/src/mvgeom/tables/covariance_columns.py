"""Columns of tables that state the covariance of a keypoint: x_std, y_std in px, and xy_correlation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["COORDS_COVARIANCE", "covariance_from_columns", "covariance_to_columns"]

Floats = npt.NDArray[np.float64]

COORDS_COVARIANCE = ("x_std", "y_std", "xy_correlation")


def covariance_to_columns(covariance: Floats) -> Floats:
    """Return the columns (..., 3) of covariances (..., 2, 2) in px^2; NaN stays NaN."""
    std = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    return np.concatenate([std, (covariance[..., 0, 1] / (std[..., 0] * std[..., 1]))[..., None]], axis=-1)


def covariance_from_columns(columns: Floats) -> Floats:
    """Return the covariances (..., 2, 2) in px^2 of columns (..., 3); NaN for NaN and negative deviations."""
    x, y, correlation = np.moveaxis(columns, -1, 0)
    x, y = (np.where(std < 0, np.nan, std) for std in (x, y))
    xy = correlation * x * y
    return np.stack([np.stack([x**2, xy], axis=-1), np.stack([xy, y**2], axis=-1)], axis=-2)
