"""Labels and their geometry as JSON, as the page has them, and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mvgeom.errors import InputError
from mvtrain.label.geometry import Agreement, compare_views, epipolar_curves, frame_rig
from mvtrain.label.journal import Label
from mvtrain.label.store import ORIGINS, PROJECTION, Conflict
from mvtrain.project.label_tables import VISIBLE
from mvtrain.project.project import Project

ELLIPSE_SIGMAS = math.sqrt(-2 * math.log(1 - 0.95))
"""Radius in standard deviations of the ellipse that has the true point with a probability of 95 %."""

Json = dict[str, Any]


def geometry_json(
    project: Project,
    frame: int,
    points: np.ndarray,
    visible: np.ndarray,
    origins: np.ndarray,
    *,
    threshold: float,
    noise: float,
) -> Json | None:
    """Return the geometry of K keypoints of a frame.

    Accepted projections and occluded labels are no clicks: they follow from the other views, or are guesses.

    Args:
        project: Project of the frame.
        frame: Number of the frame.
        points: (V, K, 2) labels in px of the stored images; NaN where there is none.
        visible: (V, K) 0, 1 or 2.
        origins: (V, K) numbers in `ORIGINS`.
        threshold: Reprojection error in px beyond which views disagree.
        noise: Standard deviation of a click in px of the stored image.

    Returns:
        By view and keypoint `projections` (x, y), `ellipses` (half axes, angle), `errors`; by keypoint `disagrees` and
        `suspects`; `curves` of the keypoints that have clicks and no projection; and the `noise` that ellipses are for.
        None without geometry.
    """
    rig = frame_rig(project, frame)
    if rig is None:
        return None
    clicked = (visible == VISIBLE) & (origins != PROJECTION)
    clicks = np.where(clicked[..., None], points, np.nan)
    agreement = compare_views(rig, clicks, noise=noise, threshold=threshold)
    # The distance of an accepted projection is shown, too: it grows as further clicks move the point.
    seen = np.where((visible == VISIBLE)[..., None], points, np.nan)
    distances = np.linalg.norm(seen - agreement.projections, axis=-1)
    curves: dict[str, Any] = {}
    for keypoint in np.flatnonzero(clicked.any(0) & np.isnan(agreement.projections).all(axis=(0, 2))).tolist():
        curves[str(keypoint)] = [
            {"from": view, "pieces": [[_rounded(piece, 1) for piece in pieces] for pieces in curve]}
            for view in np.flatnonzero(clicked[:, keypoint]).tolist()
            for curve in [epipolar_curves(rig, view, clicks[view, keypoint])]
        ]
    return {
        "projections": [[numbers_json(value, 3) for value in row] for row in agreement.projections],
        "ellipses": _ellipses(agreement),
        "errors": [[number_json(value, 2) for value in row] for row in distances],
        "disagrees": agreement.disagrees.tolist(),
        "suspects": [np.flatnonzero(column).tolist() for column in agreement.suspects.T],
        "curves": curves,
        "noise": round(noise, 2),
    }


def place_of(label: Label) -> tuple[float, float]:
    """Return x and y of a label, NaN where it has no place."""
    return (math.nan, math.nan) if label.x is None or label.y is None else (label.x, label.y)


def label_json(label: Label) -> list[Any]:
    """Return x, y, visible and origin of a label."""
    return [label.x, label.y, label.visible, label.origin]


def describe_conflict(conflict: Conflict) -> str:
    """Return a line about an edit that was dropped."""

    def text(label: Label) -> str:
        return "no label" if label.x is None else f"{label.x:g}, {label.y:g}"

    return (
        f"{conflict.frame}, {conflict.cell.view}, {conflict.cell.keypoint}: {text(conflict.edited)} was not kept, the "
        f"table has {text(conflict.found)}"
    )


def number_json(value: float, digits: int) -> float | None:
    """Return a rounded number, None for one that is not finite."""
    return round(float(value), digits) if math.isfinite(value) else None


def numbers_json(values: np.ndarray, digits: int) -> list[float] | None:
    """Return rounded numbers, None if one is not finite."""
    return _rounded(values, digits) if np.isfinite(values).all() else None


def _rounded(values: np.ndarray, digits: int) -> Any:
    return np.round(values, digits).tolist()


def parse_label(value: Any) -> Label:
    """Read a label of the page: a list of x, y (null without a place), visible and origin.

    Raises:
        InputError: It is not such a list (`bad-field`).
    """
    if not (isinstance(value, list) and len(value) == 4 and value[3] in ORIGINS and type(value[2]) is int):
        raise InputError(f"label: found {value!r}, expected [x, y, visible, origin]", code="bad-field", field="label")
    x, y = (None if number is None else _float(number) for number in value[:2])
    return Label(x, y, value[2], value[3])


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"label: found {value!r}, expected a number", code="bad-field", field="label")
    try:
        return float(value)
    except OverflowError as error:
        raise InputError("label: found a number beyond those of 64 bits", code="bad-field", field="label") from error


def _ellipses(agreement: Agreement) -> list[list[list[float] | None]]:
    """Return the half axes in px and the angle in radians of each projection's ellipse."""
    known = np.all(np.isfinite(agreement.covariances), axis=(-2, -1))
    variances, axes = np.linalg.eigh(np.where(known[..., None, None], agreement.covariances, np.eye(2)))
    radii = ELLIPSE_SIGMAS * np.sqrt(np.maximum(variances[..., ::-1], 0))
    angles = np.arctan2(axes[..., 1, 1], axes[..., 0, 1])
    values = np.where(known[..., None], np.concatenate([radii, angles[..., None]], axis=-1), np.nan)
    return [[numbers_json(value, 3) for value in row] for row in values]
